"""Migrations of databases that hold rows and are in use: nothing is lost, nobody waits long, a kill does no harm."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import DatabaseUnavailable
from st_pipeline.postgres.migrations import migrate
from st_pipeline.postgres.schema_version import newest_version, sql_folder
from st_pipeline_tests.acme import Acme

# Versions that released databases may be at; migrating down to it keeps all rows of entities.
FROM = "0010"
INDEX_MIGRATION = """
from st_pipeline.postgres.index_builds import build_index, drop_index
revision = "9000"
down_revision = "{newest}"
def upgrade():
    build_index("st_invoices_made_up", "ON st_invoices (credential_id, job_id)")
def downgrade():
    drop_index("st_invoices_made_up")
"""
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('st_invoices_made_up')"
Scalar = Callable[[str], object]


@pytest.fixture
def with_an_index(tmp_path: Path) -> Path:
    """Our migrations, and one more that builds an index on a table with rows."""
    folder = tmp_path / "sql"
    shutil.copytree(sql_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9000_made_up.py").write_text(INDEX_MIGRATION.format(newest=newest_version()))
    return folder


@pytest.fixture
def scalar(engine: Engine) -> Scalar:
    """The value that a query returns, in a separate transaction."""

    def ask(query: str) -> object:
        with engine.connect() as connection:
            return connection.execute(text(query)).scalar()

    return ask


@pytest.fixture
def busy(engine: Engine) -> Iterator[Connection]:
    """Another session, with an open transaction."""
    with engine.connect() as connection, connection.begin():
        yield connection


def test_a_filled_database_keeps_every_row_and_can_be_synced_further(synced_acme: Acme):
    acme = synced_acme
    migrate(acme.engine, FROM)
    before = acme.typed_rows()
    assert sum(map(len, before.values())) > 500
    assert migrate(acme.engine) == (FROM, newest_version())
    assert acme.typed_rows() == before
    acme.source.advance(changed=10, created=5)
    assert acme.sync().success
    assert acme.differences() == []


def test_a_table_in_use_is_not_waited_for_long_and_the_message_says_who_uses_it(engine: Engine, scalar: Scalar):
    migrate(engine, FROM)
    with engine.connect() as reader, reader.begin():
        reader.execute(text("SET LOCAL application_name = 'a long report'"))
        reader.execute(text("LOCK TABLE servicetitan_credentials IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailable) as refused:
            migrate(engine, lock_timeout_seconds=0.1)
    said = str(refused.value)
    assert "a long report" in said
    assert "run `st-pipeline migrate` again" in said
    version = str(scalar("SELECT version_num FROM alembic_version"))
    assert version > FROM  # what came before the table in use is in place
    assert f"at version {version}, and can be used" in said
    assert migrate(engine)[1] == newest_version()
    assert scalar("SHOW lock_timeout") == "0"


class Building(threading.Thread):
    """The migration that builds the index, held up by a writer whose transaction stays open."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(daemon=True)
        self.engine, self.folder = engine, folder
        self.failed: DatabaseUnavailable | None = None

    def run(self) -> None:
        """Migrate, and keep the error."""
        try:
            migrate(self.engine, folder=self.folder)
        except DatabaseUnavailable as error:
            self.failed = error

    def wait_until_begun(self, scalar: Scalar) -> None:
        """Wait until Postgres has the index, still invalid."""
        while scalar(IS_VALID) is None:
            assert self.is_alive()


def test_an_index_is_built_while_others_write(engine: Engine, busy: Connection, with_an_index: Path, scalar: Scalar):
    """In a transaction it would block every write to the table until it ends."""
    busy.execute(text("LOCK TABLE st_invoices IN ROW EXCLUSIVE MODE"))
    building = Building(engine, with_an_index)
    building.start()
    building.wait_until_begun(scalar)
    with engine.begin() as another:
        another.execute(text("LOCK TABLE st_invoices IN ROW EXCLUSIVE MODE NOWAIT"))
    assert scalar(IS_VALID) is False
    busy.rollback()
    building.join(30)
    assert (building.failed, scalar(IS_VALID)) == (None, True)
    assert migrate(engine, folder=with_an_index) == ("9000", "9000")
    migrate(engine, newest_version(), folder=with_an_index)
    assert scalar(IS_VALID) is None


def test_what_an_interrupted_build_left_is_built_again(
    engine: Engine, busy: Connection, with_an_index: Path, scalar: Scalar
):
    """Its session ends while it waits for a writer: Postgres leaves an invalid index."""
    busy.execute(text("LOCK TABLE st_invoices IN ROW EXCLUSIVE MODE"))
    building = Building(engine, with_an_index)
    building.start()
    building.wait_until_begun(scalar)
    scalar("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query ^@ 'CREATE INDEX CONCURRENTLY'")
    building.join(30)
    assert building.failed is not None
    assert scalar(IS_VALID) is False
    busy.rollback()
    migrate(engine, folder=with_an_index)
    assert scalar(IS_VALID) is True
