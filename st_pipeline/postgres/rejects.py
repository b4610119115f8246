"""Rejected records: written with the chunk they came in, gone when they pass.

Here: the table sync_rejects. Not here: why a record fails (validation/).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, EntitySpec
from st_pipeline.protocol import Reject


def without_row(connection: Connection, spec: EntitySpec, credential_id: int) -> list[int | None]:
    """Records that the source has shown and the table does not hold, by id; None where no id can be read."""
    rows = connection.execute(
        text(
            f"SELECT r.st_id FROM sync_rejects r WHERE r.credential_id = :id AND r.entity = :entity AND NOT EXISTS "  # noqa: S608
            f"(SELECT FROM {spec.table} t WHERE t.credential_id = r.credential_id AND t.{KEY} = r.st_id)"
        ),
        {"id": credential_id, "entity": spec.name},
    )
    return list(rows.scalars())


def records_without_row(
    connection: Connection, spec: EntitySpec, credential_id: int, limit: int
) -> list[tuple[int | None, bytes]]:
    """The same with their bytes, up to a number of them."""
    rows = connection.execute(
        text(
            f"SELECT r.st_id, r.record FROM sync_rejects r WHERE r.credential_id = :id AND r.entity = :entity AND "  # noqa: S608
            f"NOT EXISTS (SELECT FROM {spec.table} t WHERE t.credential_id = r.credential_id AND t.{KEY} = r.st_id) "
            "ORDER BY r.id LIMIT :limit"
        ),
        {"id": credential_id, "entity": spec.name, "limit": limit},
    )
    return [(st_id, bytes(record)) for st_id, record in rows]


def settle(
    connection: Connection,
    credential_id: int,
    entity: str,
    failed: Sequence[Reject],
    passed: Sequence[int],
    sync_log_id: int | None,
) -> None:
    """Keep what failed, drop the rejects of what passed."""
    keep(connection, credential_id, entity, failed, sync_log_id)
    drop(connection, credential_id, entity, passed)


def keep(
    connection: Connection, credential_id: int, entity: str, rejects: Sequence[Reject], sync_log_id: int | None
) -> None:
    """Keep rejects with their bytes and reasons.

    One that is kept already is counted again, and is no longer dismissed when its bytes are others.
    """
    if not rejects:
        return
    newest = {reject.key: reject for reject in rejects}
    connection.execute(
        text("""
            INSERT INTO sync_rejects AS r (credential_id, entity, record_key, st_id, record, reasons, sync_log_id)
            VALUES (:credential_id, :entity, :key, :st_id, :record, :reasons, :sync_log_id)
            ON CONFLICT (credential_id, entity, record_key) DO UPDATE SET
                record = excluded.record, reasons = excluded.reasons, sync_log_id = excluded.sync_log_id,
                times = r.times + 1, last_seen_at = now(),
                dismissed_at = CASE WHEN r.record = excluded.record THEN r.dismissed_at END
        """),
        [
            {
                "credential_id": credential_id,
                "entity": entity,
                "key": key,
                "st_id": reject.st_id,
                "record": reject.record,
                "reasons": list(reject.reasons),
                "sync_log_id": sync_log_id,
            }
            for key, reject in newest.items()
        ],
    )


def open_keys(connection: Connection, credential_id: int, entity: str) -> set[int]:
    """The ids of the rejected records; most tenants have none, which spares every chunk a delete."""
    rows = connection.execute(
        text("SELECT st_id FROM sync_rejects WHERE credential_id = :id AND entity = :entity AND st_id IS NOT NULL"),
        {"id": credential_id, "entity": entity},
    )
    return set(rows.scalars())


def drop(connection: Connection, credential_id: int, entity: str, ids: Sequence[int]) -> None:
    """Drop the rejects whose records have now been written."""
    if ids:
        connection.execute(
            text("DELETE FROM sync_rejects WHERE credential_id = :id AND entity = :entity AND st_id = ANY(:ids)"),
            {"id": credential_id, "entity": entity, "ids": list(ids)},
        )
