"""Dagster's own database: which one it is, that it exists, and that no other deployment has it.

Here: its name, creating it, the mark that claims it. Not here: Dagster's tables in it (cli/), our tables.

It is named after the main database. Older deployments have one named `dagster` and keep it: they recognise it by their
mark, or by a run that their sync log names, too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import (
    DAGSTER_DRIVER,
    DRIVER,
    database_errors,
    main_url,
    open_engine,
    read_url,
    transaction,
)
from st_pipeline.settings import Settings

SETTING = "ST_PIPELINE_DAGSTER_DATABASE_URL"
STORAGE_VARIABLE = "ST_PIPELINE_DAGSTER_STORAGE"  # from which dagster.yaml takes the address; `up` writes it
SUFFIX = "_dagster"
FORMER_NAME = "dagster"  # of older deployments
LONGEST_NAME_BYTES = 63
# An arbitrary number: one process at a time claims the database and creates Dagster's tables.
LOCK = 7_305_202
MARK = "st_pipeline_deployment"
RUNS_COMPARED = 100

CREATE_MARK = f"""
CREATE TABLE IF NOT EXISTS {MARK} (
    deployment uuid NOT NULL,
    main_database text NOT NULL,
    dagster_version text,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    is_the_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_the_only_row)
)"""


def dagster_url(settings: Settings, engine: Engine) -> URL:
    """The address of Dagster's database: as set, else on the server of our own tables, to which `engine` connects."""
    if settings.dagster_database_url is not None:
        return read_url(SETTING, settings.dagster_database_url.get_secret_value()).set(drivername=DAGSTER_DRIVER)
    main = main_url(settings)
    before = main.set(drivername=DAGSTER_DRIVER, database=FORMER_NAME)
    if _belongs_to(engine, before):
        return before
    name = f"{main.database}{SUFFIX}"
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise ConfigurationError(
            f"the name {name} for the database of Dagster's own storage is longer than {LONGEST_NAME_BYTES} bytes: set "
            f"{SETTING} to a database with a shorter name"
        )
    return before.set(database=name)


def storage_url(settings: Settings, engine: Engine, environment: Mapping[str, str]) -> URL:
    """The address that Dagster's processes use in this environment."""
    written = environment.get(STORAGE_VARIABLE)
    return read_url(STORAGE_VARIABLE, written) if written else dagster_url(settings, engine)


def _belongs_to(engine: Engine, url: URL) -> bool:
    """Does the database exist, and is it this deployment's: by its mark or, without one, by a run of our sync log?"""
    there = open_engine(url.set(drivername=DRIVER))
    try:
        with there.connect() as connection:
            held = owner_of(connection)
            if held is not None:
                return held == deployment_of(engine)
            found = text("SELECT EXISTS (SELECT FROM runs WHERE run_id = ANY(:runs))")
            return bool(connection.execute(found, {"runs": _newest_runs(engine)}).scalar_one())
    except DBAPIError:  # it does not exist, we may not read it, or it has no tables of Dagster's
        return False
    finally:
        there.dispose()


def _newest_runs(engine: Engine) -> list[str]:
    """The newest Dagster runs in the sync log."""
    query = text(
        "SELECT dagster_run_id FROM servicetitan_sync_logs WHERE dagster_run_id IS NOT NULL "
        "ORDER BY id DESC LIMIT :number"
    )
    with transaction(engine, "read the newest runs of the sync log") as connection:
        return list(connection.execute(query, {"number": RUNS_COMPARED}).scalars())


def deployment_of(engine: Engine) -> tuple[str, str]:
    """This deployment's mark: its id, and the main database's name, as a copy of the database has the same id."""
    with transaction(engine, "read the deployment's id") as connection:
        found = connection.execute(text("SELECT id::text FROM deployment")).scalar_one()
    return found, str(engine.url.database)


def owner_of(connection: Connection) -> tuple[str, str] | None:
    """The deployment that owns the database, by its mark; None without a mark."""
    if connection.execute(text("SELECT to_regclass(:mark)"), {"mark": MARK}).scalar() is None:
        return None
    row = connection.execute(text(f"SELECT deployment::text, main_database FROM {MARK}")).one_or_none()  # noqa: S608
    return None if row is None else (row[0], row[1])


def ensure_database(url: URL) -> None:
    """Create the database if it is missing. Raises ConfigurationError: we may not create it."""
    engine = open_engine(url.set(drivername=DRIVER))
    try:
        engine.connect().close()
    except OperationalError:
        _create(url)
    finally:
        engine.dispose()


def _create(url: URL) -> None:
    admin = open_engine(url.set(drivername=DRIVER, database="postgres")).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with database_errors(f"connect to Postgres at {url.host}:{url.port or 5432}"), admin.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
            exists = text("SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name)")
            if not connection.execute(exists, {"name": url.database}).scalar_one():
                connection.exec_driver_sql(f'CREATE DATABASE "{url.database}"')
    except ProgrammingError:
        raise ConfigurationError(
            f"database {url.database} for Dagster's own storage does not exist, and the role of DATABASE_URL may not "
            f"create it: create it, or set {SETTING} to another one"
        ) from None
    finally:
        admin.dispose()


@contextmanager
def claimed(url: URL, engine: Engine) -> Iterator[Connection]:
    """Claim the database for this deployment; other processes that claim it wait until the block ends.

    Raises ConfigurationError: it is another deployment's.
    """
    wanted = deployment_of(engine)
    there = open_engine(url.set(drivername=DRIVER)).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with database_errors(f"claim database {url.database} for Dagster's storage"), there.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
            refuse_other_deployments(connection, wanted)
            connection.exec_driver_sql(CREATE_MARK)
            insert = f"INSERT INTO {MARK} (deployment, main_database) VALUES (:id, :name) ON CONFLICT DO NOTHING"  # noqa: S608
            connection.execute(text(insert), {"id": wanted[0], "name": wanted[1]})
            yield connection
    finally:
        there.dispose()


def check_deployment(url: URL, engine: Engine) -> None:
    """Raise ConfigurationError when the database exists and is another deployment's."""
    wanted = deployment_of(engine)
    there = open_engine(url.set(drivername=DRIVER))
    try:
        with there.connect() as connection:
            refuse_other_deployments(connection, wanted)
    except OperationalError:
        return
    finally:
        there.dispose()


def refuse_other_deployments(connection: Connection, wanted: tuple[str, str]) -> None:
    """Raise ConfigurationError when the database is another deployment's."""
    held = owner_of(connection)
    if held is not None and held != wanted:
        raise ConfigurationError(
            f"database {connection.engine.url.database} holds the Dagster runs of another deployment, whose main "
            f"database is called {held[1]}: set {SETTING} to another database. Only if it is this deployment after a "
            f"move or a new name, drop table {MARK} in database {connection.engine.url.database}"
        )


def dagster_version_of(connection: Connection) -> str | None:
    """The version of Dagster whose tables are in the database, by the mark; None until they are complete."""
    version: str | None = connection.execute(text(f"SELECT dagster_version FROM {MARK}")).scalar_one()  # noqa: S608
    return version


def save_dagster_version(connection: Connection, version: str) -> None:
    """Note that the tables of this version of Dagster are complete."""
    connection.execute(text(f"UPDATE {MARK} SET dagster_version = :version"), {"version": version})  # noqa: S608
