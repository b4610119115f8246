"""Dagster's own database: made once, named after the main one, and never another deployment's."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, Engine, make_url, text

from st_pipeline.cli.server.setup import ready_storage
from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.dagster_database import MARK, check_deployment, claimed, dagster_url, deployment_of, owner_of
from st_pipeline.postgres.database import DAGSTER_DRIVER, DRIVER, open_engine
from st_pipeline.settings import Settings

AT_ONCE = 4


@pytest.fixture
def storage(empty_engine: Engine) -> URL:
    """The address of an empty database."""
    return empty_engine.url.set(drivername=DAGSTER_DRIVER)


@contextmanager
def database(server: EmbeddedServer, name: str, template: str = "template0") -> Iterator[Engine]:
    """A database of that name for the block."""
    url = make_url(server.url("postgres")).set(drivername=DRIVER)
    admin = open_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    engine = open_engine(url.set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.dispose()


def test_of_several_that_begin_at_once_each_finds_the_storage_complete(
    engine: Engine, empty_engine: Engine, storage: URL
):
    """Without a lock Dagster's processes make the same tables at the same moment, and some fail."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in [threads.submit(ready_storage, storage, engine) for _ in range(AT_ONCE)]:
            done.result()
    with empty_engine.connect() as connection:
        tables = text(
            "SELECT count(*) FROM information_schema.tables WHERE table_name IN ('runs', 'event_logs', 'jobs')"
        )
        assert connection.execute(tables).scalar_one() == 3
        assert owner_of(connection) == deployment_of(engine)


def test_it_is_named_after_the_main_database(engine: Engine, settings: Settings):
    assert dagster_url(settings, engine).database == f"{engine.url.database}_dagster"


def test_a_deployment_whose_runs_are_in_the_old_one_keeps_it(
    engine: Engine, settings: Settings, postgres_server: EmbeddedServer, change: Callable[[str], None]
):
    change(
        "INSERT INTO companies (slug, name) VALUES ('acme', 'Acme');"
        "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
        "SELECT id, 'production', 1, 'x', 'x' FROM companies;"
        "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, dagster_run_id) "
        "SELECT id, gen_random_uuid(), 'manual', 'full', 'all', 'a run of ours' FROM servicetitan_credentials"
    )
    own = f"{engine.url.database}_dagster"
    assert dagster_url(settings, engine).database == own  # there is no other
    with database(postgres_server, "dagster") as before:
        with before.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE runs (run_id text)")
        assert dagster_url(settings, engine).database == own  # somebody's, without a run of ours
        with before.begin() as connection:
            connection.exec_driver_sql("INSERT INTO runs VALUES ('a run of ours')")
        assert dagster_url(settings, engine).database == "dagster"
        with claimed(before.url, engine):
            change("UPDATE servicetitan_sync_logs SET dagster_run_id = NULL")
        assert dagster_url(settings, engine).database == "dagster"  # our mark is enough
        change("UPDATE servicetitan_sync_logs SET dagster_run_id = 'a run of ours'")
        with before.begin() as connection:
            connection.exec_driver_sql(f"UPDATE {MARK} SET main_database = 'their_own'")  # noqa: S608
        assert dagster_url(settings, engine).database == own  # we shared it, and the other was first to claim it


def test_another_deployment_s_is_refused(
    engine: Engine, storage: URL, postgres_server: EmbeddedServer, change: Callable[[str], None]
):
    """Also to a copy of the main database, which has its id."""
    ready_storage(storage, engine)
    check_deployment(storage, engine)
    engine.dispose()
    with database(postgres_server, "a_copy", template=str(engine.url.database)) as copy:
        for look in (check_deployment, ready_storage):
            with pytest.raises(ConfigurationError, match=f"whose main database is called {engine.url.database}"):
                look(storage, copy)
    change("UPDATE deployment SET id = gen_random_uuid()")
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_DAGSTER_DATABASE_URL"):
        ready_storage(storage, engine)


def test_a_name_that_postgres_would_cut_is_refused(settings: Settings, engine: Engine):
    url = engine.url.set(database="x" * 60).render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="longer than 63 bytes"):
        dagster_url(settings.model_copy(update={"database_url": SecretStr(url)}), engine)


@pytest.fixture
def change(engine: Engine) -> Callable[[str], None]:
    """Change something in our database."""

    def say(statements: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(statements)

    return say
