"""Indexes on tables that hold rows: built while others read and write, and built again after an interruption.

Here: functions for migrations. Not here: indexes of a table that the same migration creates; those are plain SQL.
"""

from alembic import op
from sqlalchemy import text

# Nobody waits behind us here, so it may be long; but a transaction that somebody forgot to end must be reported.
WAIT_SECONDS = 600


def build_index(name: str, definition: str, *, unique: bool = False) -> None:
    """CREATE INDEX CONCURRENTLY. `definition` is what follows the name: `ON st_invoices (credential_id, job_id)`.

    It ends the migration's transaction, so a migration that calls this must do nothing else: if killed, it is run again
    from its start. What an interrupted build left is dropped first; a complete index is kept. Not for partitioned
    tables (st_custom_fields), which Postgres cannot index concurrently.
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        found = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
        is_valid = connection.execute(found, {"name": name}).scalar()
        if is_valid:
            return
        before = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
        connection.exec_driver_sql(f"SET lock_timeout = '{WAIT_SECONDS}s'")
        if is_valid is False:
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
        connection.exec_driver_sql(f"CREATE {kind} CONCURRENTLY {name} {definition}")
        connection.exec_driver_sql(f"SET lock_timeout = '{before}'")


def drop_index(name: str) -> None:
    """DROP INDEX CONCURRENTLY, whatever state it is in; for `downgrade`, under the same rule."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
