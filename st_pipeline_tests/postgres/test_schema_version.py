"""Versions are read from the names of files, which are what Alembic is told."""

from alembic.script import ScriptDirectory

from st_pipeline.postgres.schema_version import known_versions, newest_version, sql_folder


def test_the_names_of_the_files_are_the_revisions_that_alembic_knows():
    scripts = ScriptDirectory(str(sql_folder()))
    assert known_versions(sql_folder()) == sorted(script.revision for script in scripts.walk_revisions())
    assert newest_version() == scripts.get_current_head()
