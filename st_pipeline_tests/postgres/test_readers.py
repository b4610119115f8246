"""The role that only reads: it can use every view and table of data, and sees no secret."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from st_pipeline.postgres.database import open_engine
from st_pipeline.postgres.migrations import migrate
from st_pipeline.postgres.readers import ROLE
from st_pipeline_tests.documents import PAGES

HIDDEN = ("audit_log", "tenant_leases", "servicetitan_credentials", "sync_rejects", "purges", "alembic_version")


@pytest.fixture
def reader(engine: Engine) -> Iterator[Engine]:
    """The database for a role that the statements in the docs made a reader."""
    page = next(page for page in PAGES if page.name == "operating.md")
    making = next(block for block in page.blocks("text") if ROLE in block)
    with engine.begin() as connection:
        connection.exec_driver_sql(making)
    migrate(engine)
    analyst = open_engine(engine.url.set(username="analyst", password="change-me"))
    yield analyst
    analyst.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {ROLE}; DROP ROLE analyst; DROP ROLE {ROLE}")


def test_a_reader_can_use_every_view_and_every_table_of_data(engine: Engine, reader: Engine):
    found = inspect(engine)
    data = [name for name in found.get_table_names() if name.startswith("st_") or name.endswith("_stream")]
    assert len(data) > 20
    assert len(found.get_view_names()) >= 8
    for name in (*data, *found.get_view_names(), "servicetitan_sync_logs", "sync_log_entities", "sync_cursors"):
        with reader.connect() as connection:
            connection.execute(text(f"SELECT * FROM {name}")).all()  # noqa: S608 - names of the catalogue


def test_a_view_shows_what_its_reader_may_read_and_not_what_its_owner_may(engine: Engine):
    """A role's row policies would not apply in a view that reads with its owner's rights."""
    options = "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace "
    with engine.connect() as connection:
        owners = connection.exec_driver_sql(
            options + "AND NOT 'security_invoker=true' = ANY (coalesce(reloptions, '{}'))"
        )
        assert owners.scalars().all() == []


@pytest.mark.parametrize("table", HIDDEN)
def test_a_reader_sees_no_secret_no_trail_and_no_rejected_record(reader: Engine, table: str):
    with reader.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - a name of ours


def test_a_reader_writes_nothing(reader: Engine):
    with reader.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("DELETE FROM st_invoices"))


def test_a_later_table_is_readable_after_the_next_migration(engine: Engine, reader: Engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE st_made_up AS SELECT 1 AS st_id")
    migrate(engine)
    with reader.connect() as connection:
        assert connection.execute(text("SELECT st_id FROM st_made_up")).scalar() == 1
