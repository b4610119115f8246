"""What a migrated database says of its tables is what the specs say."""

import re

from sqlalchemy import Engine, inspect, text

from st_pipeline.operations.table_comments import REPORTS, table_comments
from st_pipeline.postgres.migrations import migrate
from st_pipeline_tests.entities.test_meanings import LONGEST

WANTED = table_comments()


def test_every_column_of_every_table_with_data_has_its_comment_from_the_specs(engine: Engine):
    found = inspect(engine)
    tables = [name for name in found.get_table_names() if re.match("st_|.*_stream$", name)]
    assert set(tables) | set(REPORTS) == WANTED.keys()
    assert {table: found.get_table_comment(table)["text"] for table in tables} == {
        table: WANTED[table][""] for table in tables
    }
    for table in WANTED:
        present = {column["name"]: column["comment"] for column in found.get_columns(table)}
        assert present == {column: WANTED[table][column] for column in present}, table


def test_every_table_and_view_says_what_one_of_its_rows_is(engine: Engine):
    query = """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p')
               AND obj_description(oid, 'pg_class') IS NULL AND relname <> 'alembic_version'
    """
    with engine.connect() as connection:
        assert connection.execute(text(query)).scalars().all() == []


def test_migrating_sets_what_differs(engine: Engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("COMMENT ON COLUMN st_jobs.total IS NULL")
    migrate(engine, comments=WANTED)
    columns = {column["name"]: column["comment"] for column in inspect(engine).get_columns("st_jobs")}
    assert columns["total"] == WANTED["st_jobs"]["total"]


def test_what_is_said_of_the_reports_columns_names_no_column_that_is_not_there(engine: Engine):
    found = inspect(engine)
    for view, columns in REPORTS.items():
        assert columns.keys() <= {column["name"] for column in found.get_columns(view)}
    for columns in REPORTS.values():
        assert [text for text in columns.values() if len(text) > LONGEST or text.endswith(".")] == []
