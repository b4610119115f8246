"""Which records a full sync has seen in the list, and which rows are marked as deleted.

Here: seen_ids and deleted_at. Not here: walking the list, asking ServiceTitan which candidates it still knows (sync/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import CREATED, KEY, DeletionSign, EntitySpec
from st_pipeline.protocol import DeletionGuard, PreparedChunk


def forget_seen(connection: Connection, credential_id: int, entity: str) -> None:
    """Start a full sync: nothing is seen yet."""
    connection.execute(
        text("DELETE FROM seen_ids WHERE credential_id = :id AND entity = :entity"),
        {"id": credential_id, "entity": entity},
    )


def remember_seen(connection: Connection, credential_id: int, entity: str, ids: Sequence[int]) -> None:
    """Note ids the list showed. Noting one twice does nothing."""
    connection.execute(
        text(
            "INSERT INTO seen_ids (credential_id, entity, st_id) "
            "SELECT :id, :entity, unnest(CAST(:ids AS bigint[])) ON CONFLICT DO NOTHING"
        ),
        {"id": credential_id, "entity": entity, "ids": list(ids)},
    )


def absent_ids(connection: Connection, spec: EntitySpec, credential_id: int) -> list[int]:
    """Rows not marked as deleted whose ids the list did not show, or that say so themselves where their flag counts."""
    _join_by_hash(connection)
    is_absent = f"(s.st_id IS NULL{' OR NOT t.active' if spec.deletion_sign is DeletionSign.INACTIVE else ''})"
    rows = connection.execute(
        text(
            f"SELECT t.{KEY} FROM {spec.table} t LEFT JOIN seen_ids s ON s.credential_id = t.credential_id "  # noqa: S608
            f"AND s.entity = :entity AND s.st_id = t.{KEY} "
            f"WHERE t.credential_id = :id AND t.deleted_at IS NULL AND {is_absent} ORDER BY t.{KEY}"
        ),
        {"id": credential_id, "entity": spec.name},
    )
    return list(rows.scalars())


@dataclass(frozen=True, slots=True)
class Held:
    """A tenant's rows of an entity. `live`: not marked as deleted; `marked`: the others.

    `withheld`: live rows whose own flag says removed, where it counts. `newest`: when the newest live one was created;
    None where one does not say it.
    """

    live: int
    marked: int
    withheld: int
    newest: datetime | None


def held(connection: Connection, spec: EntitySpec, credential_id: int) -> Held:
    """Count a tenant's rows."""
    withheld = "NOT active AND deleted_at IS NULL" if spec.deletion_sign is DeletionSign.INACTIVE else "false"
    is_told = f"count(*) FILTER (WHERE deleted_at IS NULL AND {CREATED} IS NULL) = 0" if spec.has(CREATED) else "false"
    newest = f"max({CREATED}) FILTER (WHERE deleted_at IS NULL)" if spec.has(CREATED) else "CAST(NULL AS timestamptz)"
    query = (
        "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at), "  # noqa: S608 - names of a spec
        f"count(*) FILTER (WHERE {withheld}), CASE WHEN {is_told} THEN {newest} END "
        f"FROM {spec.table} WHERE credential_id = :id"
    )
    return Held(*connection.execute(text(query), {"id": credential_id}).one())


def inactive_rows(
    connection: Connection, spec: EntitySpec, credential_id: int, written_since: datetime | None
) -> tuple[list[int], set[int]]:
    """Rows written since then (None: ever) that are not active, and which of them are marked as deleted."""
    rows = connection.execute(
        text(
            f"SELECT {KEY}, deleted_at IS NOT NULL FROM {spec.table} "  # noqa: S608 - names of a spec
            "WHERE credential_id = :id AND local_synced_at >= coalesce(CAST(:since AS timestamptz), '-infinity') "
            f"AND active IS NOT TRUE ORDER BY {KEY}"
        ),
        {"id": credential_id, "since": written_since},
    ).all()
    return [st_id for st_id, _ in rows], {st_id for st_id, is_marked in rows if is_marked}


def live_rows(connection: Connection, spec: EntitySpec, credential_id: int) -> int:
    """How many rows of the tenant are not marked as deleted."""
    query = f"SELECT count(*) FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NULL"  # noqa: S608
    return int(connection.execute(text(query), {"id": credential_id}).scalar_one())


def refused_by(
    connection: Connection, spec: EntitySpec, credential_id: int, guard: DeletionGuard | None, more: int
) -> int | None:
    """When the guard does not let `more` rows be marked: how many live rows there are. None: it does.

    Few are marked whatever their share, and the rows need not be counted for them.
    """
    if guard is None or guard.marked + guard.withheld + more <= guard.always:
        return None
    live = live_rows(connection, spec, credential_id)
    return None if guard.allows(more, live) else live


def mark_chunk(connection: Connection, credential_id: int, chunk: PreparedChunk) -> tuple[int, int]:
    """After a chunk's rows are written: mark those that are gone, unmark those that the source does know.

    Where an entity's flag means removed, what the table holds now says who is gone: a row may be newer than the
    chunk's. All are marked, or none when that would be more than the guard allows. Returns how many were marked, and
    how many the guard withheld: they are written all the same and the cursor moves on, so that nothing stands still;
    the next full sync finds them again and decides.
    """
    spec = chunk.spec
    unmark(connection, spec, credential_id, chunk.found)
    if spec.deletion_sign is DeletionSign.INACTIVE:
        gone = unmarked(connection, spec, credential_id, chunk.ids, inactive=True)
    else:
        gone = unmarked(connection, spec, credential_id, chunk.gone) if chunk.gone else []
    if refused_by(connection, spec, credential_id, chunk.guard, len(gone)) is not None:
        return 0, len(gone)
    return mark_deleted(connection, spec, credential_id, gone), 0


def mark_deleted(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> int:
    """Set deleted_at of those of these rows that do not have it. Returns how many."""
    return _mark(connection, spec, credential_id, ids, "NULL", "clock_timestamp()")


def unmark(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> int:
    """Clear deleted_at of those of these rows that have it. Returns how many."""
    return _mark(connection, spec, credential_id, ids, "NOT NULL", "NULL")


def _mark(
    connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int], was: str, becomes: str
) -> int:
    if not ids:
        return 0
    query = (
        f"UPDATE {spec.table} SET deleted_at = {becomes} "  # noqa: S608 - names of a spec
        f"WHERE credential_id = :id AND {KEY} = ANY(:ids) AND deleted_at IS {was}"
    )
    return connection.execute(text(query), {"id": credential_id, "ids": list(ids)}).rowcount


def unmark_returned(connection: Connection, spec: EntitySpec, credential_id: int) -> list[int]:
    """Clear deleted_at of rows whose ids the list showed again, and whose flag agrees where it counts. Their ids."""
    _join_by_hash(connection)
    is_active = " AND t.active" if spec.deletion_sign is DeletionSign.INACTIVE else ""
    query = (
        f"UPDATE {spec.table} t SET deleted_at = NULL FROM seen_ids s "  # noqa: S608 - names of a spec
        f"WHERE t.credential_id = :id AND t.deleted_at IS NOT NULL AND s.credential_id = t.credential_id "
        f"AND s.entity = :entity AND s.st_id = t.{KEY}{is_active} RETURNING t.{KEY}"
    )
    return list(connection.execute(text(query), {"id": credential_id, "entity": spec.name}).scalars())


def _join_by_hash(connection: Connection) -> None:
    """For this transaction: take no nested loop.

    Freshly loaded tables have no statistics yet; the plan Postgres then takes needs 20 s for 13,000 rows, this one 0.1.
    """
    connection.execute(text("SET LOCAL enable_nestloop = off"))


def unmarked(
    connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int], *, inactive: bool = False
) -> list[int]:
    """Those of these rows that are not marked as deleted; with `inactive` only those that say they are."""
    query = (
        f"SELECT {KEY} FROM {spec.table} WHERE credential_id = :id AND {KEY} = ANY(:ids) "  # noqa: S608
        f"AND deleted_at IS NULL{' AND NOT active' if inactive else ''}"
    )
    return list(connection.execute(text(query), {"id": credential_id, "ids": list(ids)}).scalars())
