"""Comments that SQL has on tables and columns are brought to what the code says, and only where they differ."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event, text

from st_pipeline.postgres.comments import set_comments
from st_pipeline.postgres.database import open_engine

WANTED = {
    "st_jobs": {"": "What's done, 100 % of it", "job_number": "number; people's", "total": "what was billed"},
    "report_jobs": {"": "A job's day", "day": "the day"},
}
COMMENT = text("""
    SELECT col_description(c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relname = :table AND a.attname = :column
""")


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """What is sent to Postgres meanwhile."""
    sent: list[str] = []

    def note(_1: object, _2: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def comment_on(connection: Connection, table: str, column: str) -> object:
    found = connection.execute(COMMENT, {"table": table, "column": column}).scalar_one()
    connection.commit()
    return found


def test_what_differs_is_set_on_tables_views_and_columns_and_nothing_when_all_is_right(engine: Engine):
    with engine.connect() as connection, statements_of(engine) as sent:
        assert set_comments(connection, WANTED) == ["report_jobs", "st_jobs"]
        assert comment_on(connection, "st_jobs", "job_number") == "number; people's"
        assert comment_on(connection, "report_jobs", "day") == "the day"
        assert connection.execute(text("SELECT obj_description('st_jobs'::regclass)")).scalar() == WANTED["st_jobs"][""]
        connection.commit()
        sent.clear()
        assert set_comments(connection, WANTED) == []
        assert len(sent) == 1, "one query"


def test_a_comment_that_was_changed_is_brought_up_to_date_and_the_others_are_not_touched(engine: Engine):
    with engine.connect() as connection:
        set_comments(connection, WANTED)
        connection.exec_driver_sql("COMMENT ON COLUMN st_jobs.total IS 'old words'")
        connection.commit()
        with statements_of(engine) as sent:
            assert set_comments(connection, WANTED) == ["st_jobs"]
        assert sent[1:] == ["COMMENT ON COLUMN st_jobs.total IS 'what was billed'"]


def test_what_the_database_does_not_have_is_skipped(engine: Engine):
    with engine.connect() as connection:
        assert set_comments(connection, {"st_later": {"": "x", "y": "z"}, "st_jobs": {"later": "x", "ctid": "y"}}) == []
        assert set_comments(connection, {}) == []


@pytest.fixture
def of_another_role(engine: Engine) -> Iterator[Engine]:
    """The database for a role that owns nothing."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE not_the_owner LOGIN PASSWORD 'change-me'")
    another = open_engine(engine.url.set(username="not_the_owner", password="change-me"))
    yield another
    another.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE not_the_owner")


def test_a_role_that_does_not_own_the_tables_leaves_them_as_they_are(of_another_role: Engine):
    with of_another_role.connect() as connection:
        assert set_comments(connection, WANTED) == []


def test_a_table_that_stays_in_use_is_left_for_the_next_time_and_the_others_get_theirs(engine: Engine):
    with engine.connect() as connection, engine.connect() as other:
        connection.exec_driver_sql("SET lock_timeout = '50ms'")
        connection.commit()
        other.exec_driver_sql("LOCK TABLE st_jobs IN SHARE UPDATE EXCLUSIVE MODE")
        assert set_comments(connection, WANTED) == ["report_jobs"]
        other.rollback()
        assert set_comments(connection, WANTED) == ["st_jobs"]
