"""Which version a database is at, and which one this code needs.

Here: comparing them, which every command and run does, so Alembic (0.15 CPU seconds) is not imported. Not here:
bringing a database to a version (migrations).
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import transaction

MINIMUM_SERVER_VERSION = 15


def sql_folder() -> Path:
    """sql/ beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "sql", package.parent / "sql") if (folder / "env.py").exists())


def known_versions(folder: Path) -> list[str]:
    """The versions that a folder of migrations leads to, in order: what their files' names begin with."""
    return sorted(file.stem.partition("_")[0] for file in (folder / "versions").glob("[0-9]*.py"))


def newest_version() -> str:
    """The version this code needs."""
    known = known_versions(sql_folder())
    if not known:
        raise ConfigurationError(f"there are no migrations in {sql_folder()}: install st-pipeline again")
    return known[-1]


def version_of(connection: Connection) -> str | None:
    """The database's version; None when it was never migrated."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def check_database(connection: Connection, folder: Path | None = None) -> str | None:
    """The database's version, None when it is empty. Raises ConfigurationError when this code cannot use it."""
    server = connection.dialect.server_version_info
    if server is not None and int(server[0]) < MINIMUM_SERVER_VERSION:
        raise ConfigurationError(f"Postgres {server[0]} is too old: {MINIMUM_SERVER_VERSION} or newer is needed")
    current = version_of(connection)
    database = connection.engine.url.database
    if current is not None and current not in known_versions(folder or sql_folder()):
        raise ConfigurationError(
            f"database {database} is at version {current}, which this version of st-pipeline does not know (its newest "
            f"is {newest_version()}): install a newer st-pipeline, or point DATABASE_URL at the right database"
        )
    tables = set() if current is not None else set(inspect(connection).get_table_names()) - {"alembic_version"}
    if tables:
        raise ConfigurationError(
            f"database {database} holds tables that are not st-pipeline's ({_some_of(tables)}): point DATABASE_URL at "
            "an empty database"
        )
    return current


def _some_of(tables: set[str]) -> str:
    return ", ".join(sorted(tables)[:3]) + (", …" if len(tables) > 3 else "")  # noqa: PLR2004


def check_current(engine: Engine) -> None:
    """Raise ConfigurationError unless the database is at exactly the version this code needs."""
    with transaction(engine, "check the database's version") as connection:
        current = check_database(connection)
    if current != newest_version():
        raise ConfigurationError(
            f"database {engine.url.database} is at version {current or 'none'}, this code needs {newest_version()}: "
            "run `st-pipeline migrate`"
        )
