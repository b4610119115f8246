"""Which records a full pass has seen in the list, and which rows are therefore gone.

Here: seen_ids and deleted_at. Not here: walking the list, asking again for candidates, the guard (deletions.py).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, DeletionSign, EntitySpec


def forget_seen(connection: Connection, credential_id: int, entity: str) -> None:
    """Start a pass: nothing is seen yet."""
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


def live_rows(connection: Connection, spec: EntitySpec, credential_id: int) -> int:
    """How many rows of the tenant are not marked as deleted."""
    query = f"SELECT count(*) FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NULL"  # noqa: S608
    return int(connection.execute(text(query), {"id": credential_id}).scalar_one())


def mark_deleted(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> int:
    """Set deleted_at on these rows. Returns how many were marked."""
    if not ids:
        return 0
    query = (
        f"UPDATE {spec.table} SET deleted_at = clock_timestamp() "  # noqa: S608 - names of a spec
        f"WHERE credential_id = :id AND {KEY} = ANY(:ids) AND deleted_at IS NULL"
    )
    return connection.execute(text(query), {"id": credential_id, "ids": list(ids)}).rowcount


def unmark(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> int:
    """Clear deleted_at of these rows. Returns how many had it."""
    if not ids:
        return 0
    query = (
        f"UPDATE {spec.table} SET deleted_at = NULL "  # noqa: S608 - names of a spec
        f"WHERE credential_id = :id AND {KEY} = ANY(:ids) AND deleted_at IS NOT NULL"
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
