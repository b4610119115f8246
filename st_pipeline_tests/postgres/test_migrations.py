"""Migrations against a real server."""

import pytest
from sqlalchemy import Engine, inspect, text

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.migrations import migrate
from st_pipeline.postgres.schema_version import check_current, newest_version, sql_folder
from st_pipeline.postgres.tables import table_of

# Words that this project's pages and messages no longer use.
OLD_WORDS = r"full pass|under way|leaves? it alone|goes on|\mlook(s|ed)?\M(?!-up)|set aside|kept aside"
COMMENTS = """
    SELECT c.relname, d.description FROM pg_class c
    LEFT JOIN pg_description d ON d.objoid = c.oid AND d.classoid = CAST('pg_class' AS regclass)
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'v', 'p')
"""
VERSIONS = sorted(path.name.split("_")[0] for path in (sql_folder() / "versions").glob("*.py"))


def test_migrations_go_up_and_down_and_up_again(empty_engine: Engine):
    assert migrate(empty_engine) == (None, newest_version())
    for version in reversed(VERSIONS[:-1]):
        assert migrate(empty_engine, version)[1] == version
    migrate(empty_engine, "base")
    assert inspect(empty_engine).get_table_names() == ["alembic_version"]
    assert migrate(empty_engine)[1] == newest_version()
    check_current(empty_engine)


def test_migrating_twice_changes_nothing(engine: Engine):
    assert migrate(engine) == (newest_version(), newest_version())


@pytest.mark.parametrize("entity", ENTITIES)
def test_the_tables_equal_the_entity_specs(engine: Engine, entity: str):
    declared = table_of(ENTITIES[entity])
    found = {column["name"]: column for column in inspect(engine).get_columns(declared.name)}
    # Without their order: a column that is added later stands at the end.
    assert set(found) == {column.name for column in declared.columns}
    for column in declared.columns:
        assert found[column.name]["type"].compile(engine.dialect) == column.type.compile(engine.dialect), column.name
        assert found[column.name]["nullable"] == column.nullable, column.name
    key = inspect(engine).get_pk_constraint(declared.name)["constrained_columns"]
    assert key == [column.name for column in declared.primary_key]


def test_no_entity_table_is_left_over(engine: Engine):
    tables = {name for name in inspect(engine).get_table_names() if name.startswith("st_")}
    declared = {one.table for spec in ENTITIES.values() for one in (spec, *spec.lists)}
    assert tables == declared


def test_no_comment_uses_a_word_that_the_documentation_does_not(engine: Engine):
    query = COMMENTS + "AND d.description ~* :words"
    with engine.connect() as connection:
        assert connection.execute(text(query), {"words": OLD_WORDS}).all() == []


def test_a_database_that_is_not_ours_is_refused_and_not_changed(empty_engine: Engine):
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id int)")
    with pytest.raises(ConfigurationError, match="tables that are not st-pipeline's"):
        migrate(empty_engine)
    assert inspect(empty_engine).get_table_names() == ["orders"]


def test_a_database_newer_than_the_code_is_refused(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="install a newer st-pipeline"):
        check_current(engine)


def test_a_database_that_lags_behind_names_the_command(empty_engine: Engine):
    migrate(empty_engine, VERSIONS[0])
    with pytest.raises(ConfigurationError, match="st-pipeline migrate"):
        check_current(empty_engine)
