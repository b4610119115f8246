"""Bring a database to the version this code was written for, and refuse one that is not ours or is newer.

Here: running Alembic over sql/ and comparing versions. Not here: the SQL itself (sql/versions), starting a server.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import transaction

MINIMUM_SERVER_VERSION = 15
# Any number of our own, so that two processes that start at once migrate one after the other.
MIGRATION_LOCK = 7_305_201


def sql_folder() -> Path:
    """sql/ beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "sql", package.parent / "sql") if (folder / "env.py").exists())


def newest_version() -> str:
    """The version this code needs."""
    head = ScriptDirectory(str(sql_folder())).get_current_head()
    if head is None:
        raise ConfigurationError(f"no migrations in {sql_folder()}: the installation is broken, install it again")
    return head


def migrate(engine: Engine, version: str = "head") -> tuple[str | None, str | None]:
    """Bring the database up (or, named, down) to a version. Returns the versions before and after.

    Versions are numbered, so they compare as text; `head` is the newest, `base` none at all.
    Raises ConfigurationError: the database is not ours, is newer than this code, its server is too old, or the version
    is unknown.
    """
    if version not in {"head", "base", *_known()}:
        raise ConfigurationError(f"no version {version}: take one of {', '.join(sorted(_known()))}, head or base")
    with transaction(engine, "migrate the database") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        before = check_ours(connection)
        config = Config()
        config.set_main_option("script_location", str(sql_folder()))
        config.attributes["connection"] = connection
        is_down = version == "base" or (before is not None and version != "head" and version < before)
        (command.downgrade if is_down else command.upgrade)(config, version)
        return before, _version(connection)


def check_ours(connection: Connection) -> str | None:
    """The database's version, None when it is empty. Raises ConfigurationError when it is not for this code."""
    server = connection.dialect.server_version_info
    if server is not None and int(server[0]) < MINIMUM_SERVER_VERSION:
        raise ConfigurationError(f"Postgres {server[0]} is too old: {MINIMUM_SERVER_VERSION} or newer is needed")
    current = _version(connection)
    database = connection.engine.url.database
    if current is not None and current not in _known():
        raise ConfigurationError(
            f"database {database} is at version {current}, which this code does not know (its newest is "
            f"{newest_version()}): install the newer st-pipeline, or point DATABASE_URL at the right database"
        )
    tables = set() if current is not None else set(inspect(connection).get_table_names()) - {"alembic_version"}
    if tables:
        raise ConfigurationError(
            f"database {database} holds tables that are not ours ({', '.join(sorted(tables)[:3])}…): "
            "point DATABASE_URL at an empty database"
        )
    return current


def check_current(engine: Engine) -> None:
    """Raise ConfigurationError unless the database is at exactly the version this code needs."""
    with transaction(engine, "check the database's version") as connection:
        current = check_ours(connection)
    if current != newest_version():
        raise ConfigurationError(
            f"database {engine.url.database} is at version {current or 'none'}, this code needs {newest_version()}: "
            "run `st-pipeline migrate`"
        )


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory(str(sql_folder())).walk_revisions()}


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
