"""Bring a database to the version this code needs, and refuse one that is not ours or is newer.

Here: running Alembic over sql/. Not here: the SQL itself (sql/versions), comparing versions (schema_version), starting
a server.
"""

import time
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, PendingRollbackError

from st_pipeline.errors import ConfigurationError, DatabaseUnavailable
from st_pipeline.postgres.comments import Comments, set_comments
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.readers import grant_reading
from st_pipeline.postgres.schema_version import check_database, known_versions, sql_folder, version_of

# An arbitrary number: processes that start at once migrate one after the other.
MIGRATION_LOCK = 7_305_201
OTHER_MIGRATION_SECONDS = 1800


def migrate(
    engine: Engine,
    version: str = "head",
    *,
    comments: Comments | None = None,
    folder: Path | None = None,
    lock_timeout_seconds: float = 5,
) -> tuple[str | None, str | None]:
    """Bring the database up (or, named, down) to a version. Returns the versions before and after.

    Versions are numbered, so they compare as text; `head` is the newest, `base` the empty database. Each is a separate
    transaction: when one fails, those before it stay. A table in use is waited for, but not for long: everybody else
    would wait behind us. `comments`: what SQL is to say of tables and columns afterwards.
    Raises ConfigurationError: the database is not ours or is newer than this code, its server is too old, or the
    version is unknown. Raises DatabaseUnavailable: Postgres does not answer, a table stays in use, another migration
    does not end.
    """
    folder = folder or sql_folder()
    known = known_versions(folder)
    if version not in {"head", "base", *known}:
        raise ConfigurationError(f"unknown version {version!r} of the database: use {', '.join(known)}, head or base")
    with database_errors("migrate the database"), engine.connect() as connection:
        _take_lock(connection)
        try:
            before = check_database(connection, folder)
            connection.exec_driver_sql(f"SET lock_timeout = '{lock_timeout_seconds:g}s'")
            connection.commit()
            is_down = version == "base" or (before is not None and version != "head" and version < before)
            _run(connection, folder, version, is_down=is_down)
            grant_reading(connection)
            connection.commit()
            set_comments(connection, comments or {})
            return before, version_of(connection)
        finally:
            connection.invalidate()  # in the pool it would keep the lock and the timeout


def _run(connection: Connection, folder: Path, version: str, *, is_down: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    try:
        (command.downgrade if is_down else command.upgrade)(config, version)
    except PendingRollbackError as error:  # what Alembic raises when the connection is lost
        raise DatabaseUnavailable(
            f"migrate database {connection.engine.url.database} to {version}: the connection to Postgres was lost. Run "
            "`st-pipeline migrate` again: it continues where this one ended"
        ) from error
    except OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise
        connection.rollback()
        raise DatabaseUnavailable(
            f"migrate database {connection.engine.url.database} to {version}: a table stayed in use by another session "
            f"({_open_transactions(connection)}). The database is at version {version_of(connection) or 'none'}, and "
            "can be used. Wait until that session is done, or end it, and run `st-pipeline migrate` again"
        ) from None


def _take_lock(connection: Connection) -> None:
    """One migration at a time. We poll, as waiting inside Postgres would block CREATE INDEX CONCURRENTLY."""
    give_up_at = time.monotonic() + OTHER_MIGRATION_SECONDS
    query = text("SELECT pg_try_advisory_lock(:key)")
    while not connection.execute(query, {"key": MIGRATION_LOCK}).scalar_one():
        connection.commit()
        if time.monotonic() > give_up_at:
            raise DatabaseUnavailable(
                f"another process has been migrating database {connection.engine.url.database} for "
                f"{OTHER_MIGRATION_SECONDS} s: see in pg_stat_activity what it waits for, then try again"
            )
        time.sleep(0.2)
    connection.commit()


def _open_transactions(connection: Connection) -> str:
    """The oldest open transactions of this database: one of them probably uses the table."""
    query = text("""
        SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start) AS seconds
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        ORDER BY xact_start LIMIT 3
    """)
    found = [f"pid {pid}, {name or 'unnamed'}, for {seconds:.0f} s" for pid, name, seconds in connection.execute(query)]
    return "; ".join(found) or "which is gone by now"
