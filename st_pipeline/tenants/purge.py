"""Delete the rows of removed credentials in batches, from where the last purge stopped.

Here: table `purges`, and deleting the rows it lists. Not here: removing the credential (removal). After that, no sync
can write a row under its id again; ids are never reused, so a company that is added again is safe from the purge.
A batch and its figures are one transaction: a kill loses nothing, and two purges at once take turns.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from st_pipeline.entities import LISTS
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import transaction
from st_pipeline.tenants.audit import Entry

ROWS_PER_BATCH = 5_000  # a tenth of a second per batch, so that autovacuum and other writers get their turn
# The tables whose rows belong to a credential and are not deleted with it by a cascade.
TABLES = (*dict.fromkeys(spec.table for spec in LISTS.values()), "seen_ids", "members_stream", "invoices_stream")


@dataclass(frozen=True, slots=True)
class Purge:
    """A row of `purges`. `completed_at` None: rows may be left."""

    credential_id: int
    tenant: str
    requested_at: datetime
    rows_deleted: int
    completed_at: datetime | None


_FIELDS = ", ".join(Purge.__slots__)


def request(connection: Connection, credential_id: int, tenant: str) -> None:
    """Ask for the rows to be purged. Asking twice is harmless; a completed purge begins again."""
    sql = text(
        "INSERT INTO purges (credential_id, tenant) VALUES (:id, :tenant) "
        "ON CONFLICT (credential_id) DO UPDATE SET completed_at = NULL"
    )
    connection.execute(sql, {"id": credential_id, "tenant": tenant})


def request_for_kept_rows(engine: Engine, credential_id: int) -> None:
    """Ask for a purge of rows that a removal kept. Raises ConfigurationError unless the credential was removed."""
    doing = f"purge the rows of credential {credential_id}"
    with transaction(engine, doing) as connection:
        held = text("SELECT partition_key FROM tenants WHERE credential_id = :id")
        tenant = connection.execute(held, {"id": credential_id}).scalar()
        if tenant is not None:
            raise ConfigurationError(
                f"credential {credential_id} belongs to tenant {tenant}, which has not been removed: remove it first, "
                f"with `st-pipeline credentials remove {tenant}`"
            )
        removed = text(
            "SELECT tenant FROM audit_log WHERE credential_id = :id AND action = 'credentials.remove' "
            "AND result = 'done' ORDER BY id DESC LIMIT 1"
        )
        tenant = connection.execute(removed, {"id": credential_id}).scalar()
        if tenant is None:
            raise ConfigurationError(
                f"no removed credential has the id {credential_id}: `st-pipeline audit list --action "
                "credentials.remove --json` shows the ids"
            )
        request(connection, credential_id, tenant)


def waiting(connection: Connection) -> list[Purge]:
    """The purges that are not completed, oldest first."""
    sql = f"SELECT {_FIELDS} FROM purges WHERE completed_at IS NULL ORDER BY requested_at, credential_id"  # noqa: S608
    return [Purge(*row) for row in connection.execute(text(sql))]


def purge_for(engine: Engine, seconds: float) -> int:
    """Purge what is waiting, for about so long: what the sensor does. Returns how many rows were deleted."""
    end = time.monotonic() + seconds
    rows_deleted = 0
    with transaction(engine, "look for rows to purge") as connection:
        left = waiting(connection)
    for one in left:
        if time.monotonic() >= end:
            break
        done = purge_rows(engine, one.credential_id, keep_going=lambda _table, _rows: time.monotonic() < end)
        rows_deleted += done.rows_deleted - one.rows_deleted
    return rows_deleted


def purge_rows(
    engine: Engine,
    credential_id: int,
    *,
    rows_per_batch: int = ROWS_PER_BATCH,
    keep_going: Callable[[str, int], bool] = lambda _table, _rows: True,
) -> Purge:
    """Delete a removed credential's rows batch by batch; `keep_going(table, rows)` is asked after each.

    Returns the purge as it stands. Stopped, killed or failed, it continues when called again. Raises
    DatabaseUnavailable.
    """
    doing = f"purge the rows of credential {credential_id}"
    for table in TABLES:
        while True:
            with transaction(engine, doing) as connection:
                rows = _delete_batch(connection, table, credential_id, rows_per_batch)
            if not keep_going(table, rows):
                return _load(engine, credential_id)
            if rows < rows_per_batch:
                break
    with transaction(engine, doing) as connection:
        sql = text(
            f"UPDATE purges SET completed_at = now() WHERE credential_id = :id AND completed_at IS NULL "  # noqa: S608
            f"RETURNING {_FIELDS}"
        )
        row = connection.execute(sql, {"id": credential_id}).one_or_none()
        if row is not None:
            done = Purge(*row)
            Entry("credentials.purge", done.tenant, credential_id, {"rows_deleted": done.rows_deleted}).write(
                connection, "done"
            )
    return _load(engine, credential_id)


def _delete_batch(connection: Connection, table: str, credential_id: int, rows: int) -> int:
    """Delete some rows of one table, and count them; the lock makes a second purge wait for its turn."""
    lock = text("SELECT completed_at FROM purges WHERE credential_id = :id FOR UPDATE")
    if connection.execute(lock, {"id": credential_id}).scalar_one() is not None:
        return 0
    delete = text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - names of ours
        f"SELECT ctid FROM {table} WHERE credential_id = :id LIMIT :rows)) "
        # Checked again: meanwhile a stream's record may have passed to the company that was added again.
        "AND credential_id = :id"
    )
    deleted = connection.execute(delete, {"id": credential_id, "rows": rows}).rowcount
    if deleted:
        count = text("UPDATE purges SET rows_deleted = rows_deleted + :rows WHERE credential_id = :id")
        connection.execute(count, {"id": credential_id, "rows": deleted})
    return deleted


def _load(engine: Engine, credential_id: int) -> Purge:
    sql = text(f"SELECT {_FIELDS} FROM purges WHERE credential_id = :id")  # noqa: S608
    with transaction(engine, "read how far the purge has got") as connection:
        return Purge(*connection.execute(sql, {"id": credential_id}).one())
