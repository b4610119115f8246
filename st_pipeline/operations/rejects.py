"""Listing rejected records, and dismissing them.

Here: what an operator does with the table sync_rejects. Not here: what a sync does with it (postgres/).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec
from st_pipeline.errors import ConfigurationError
from st_pipeline.streams import STREAMS
from st_pipeline.suggestions import unknown_name


def names_of(entity: str) -> tuple[str, ...]:
    """The names under which an entity's, a list's or a stream's rejects are kept. Raises ConfigurationError."""
    if entity in ENTITIES:
        return tuple(spec.name for spec in ENTITIES[entity].read_as)
    if entity in LISTS or entity in STREAMS:
        return (entity,)
    raise ConfigurationError(unknown_name("entity", entity, (*ENTITIES, *STREAMS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectFilter:
    """Which rejects; None and empty mean all. `names`: entities, their lists, streams. `dismissed` None: both kinds."""

    credential_ids: Collection[int] = ()
    names: Collection[str] = ()
    keys: Collection[str] = ()
    dismissed: bool | None = False

    @property
    def bound(self) -> dict[str, Any]:
        """The queries' parameters."""
        lists = {"credentials": self.credential_ids, "names": self.names, "keys": self.keys}
        return {name: list(values) or None for name, values in lists.items()} | {"dismissed": self.dismissed}


WHERE = """
    (CAST(:credentials AS bigint[]) IS NULL OR r.credential_id = ANY(:credentials))
    AND (CAST(:names AS text[]) IS NULL OR r.entity = ANY(:names))
    AND (CAST(:keys AS text[]) IS NULL OR r.record_key = ANY(:keys))
    AND (CAST(:dismissed AS boolean) IS NULL OR (r.dismissed_at IS NOT NULL) = :dismissed)
"""
FIELDS = """
    t.partition_key AS tenant, r.entity, r.record_key AS key, r.st_id, r.reasons, r.times, r.first_seen_at,
    r.last_seen_at, r.dismissed_at, r.sync_log_id, octet_length(r.record) AS bytes
"""
FROM = "FROM sync_rejects r JOIN tenants t ON t.credential_id = r.credential_id"


def listed(connection: Connection, chosen: RejectFilter, limit: int) -> list[dict[str, Any]]:
    """The rejects, the last seen first, without their bytes."""
    query = text(f"SELECT {FIELDS} {FROM} WHERE {WHERE} ORDER BY r.last_seen_at DESC, r.id DESC LIMIT :limit")
    return [dict(row) for row in connection.execute(query, {**chosen.bound, "limit": limit}).mappings()]


def counted(connection: Connection, chosen: RejectFilter) -> list[dict[str, Any]]:
    """How many rejects there are by tenant, entity and reason; the most first. One with two reasons counts in both."""
    query = text(f"""
        SELECT t.partition_key AS tenant, r.entity, reason, count(*) AS records, max(r.last_seen_at) AS last_seen_at
        {FROM} CROSS JOIN LATERAL unnest(r.reasons) AS reason WHERE {WHERE}
        GROUP BY 1, 2, 3 ORDER BY records DESC, 1, 2, 3
    """)
    return [dict(row) for row in connection.execute(query, chosen.bound).mappings()]


def number(connection: Connection, chosen: RejectFilter) -> int:
    """How many rejects there are."""
    query = text(f"SELECT count(*) {FROM} WHERE {WHERE}")
    return int(connection.execute(query, chosen.bound).scalar_one())


def record_of(connection: Connection, chosen: RejectFilter) -> bytes | None:
    """The bytes of the chosen reject, as received: a customer's data, to show to a person and never to log."""
    query = text(f"SELECT r.record {FROM} WHERE {WHERE}")
    found: bytes | None = connection.execute(query, chosen.bound).scalars().first()
    return None if found is None else bytes(found)


def dismiss(connection: Connection, chosen: RejectFilter, *, undo: bool = False) -> int:
    """Mark rejects as dismissed, or with `undo` as open again. Returns how many changed."""
    moment = "NULL" if undo else "now()"
    query = text(f"""
        UPDATE sync_rejects SET dismissed_at = {moment} WHERE id IN (SELECT r.id {FROM} WHERE {WHERE})
    """)  # noqa: S608 - constants
    return connection.execute(query, chosen.bound).rowcount


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A reject to replay."""

    id: int
    key: str
    st_id: int | None
    record: bytes
    last_seen_at: datetime


def chunk(connection: Connection, chosen: RejectFilter, after_id: int, limit: int) -> list[StoredReject]:
    """The next rejects, in the order in which they were first stored."""
    query = text(f"""
        SELECT r.id, r.record_key, r.st_id, r.record, r.last_seen_at {FROM}
        WHERE {WHERE} AND r.id > :after ORDER BY r.id LIMIT :limit
    """)
    rows = connection.execute(query, {**chosen.bound, "after": after_id, "limit": limit})
    return [StoredReject(id_, key, st_id, bytes(record), seen) for id_, key, st_id, record, seen in rows]


def forget(connection: Connection, ids: Sequence[int]) -> None:
    """Delete rejects whose record is in its table by now, or which are older than the row there."""
    connection.execute(text("DELETE FROM sync_rejects WHERE id = ANY(:ids)"), {"ids": list(ids)})


def still_fails(connection: Connection, id_: int, reasons: Sequence[str]) -> None:
    """Update the reasons to today's rules. The record was not received again, so nothing else changes."""
    query = text("UPDATE sync_rejects SET reasons = :reasons WHERE id = :id")
    connection.execute(query, {"id": id_, "reasons": list(reasons)})


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The row that a reject would replace."""

    modified_on: datetime | None
    local_synced_at: datetime
    deleted_at: datetime | None


def held_rows(connection: Connection, spec: EntitySpec, credential_id: int, ids: Collection[int]) -> dict[int, HeldRow]:
    """The rows of these ids."""
    modified = MODIFIED if spec.has(MODIFIED) else "CAST(NULL AS timestamptz)"
    query = text(
        f"SELECT {KEY}, {modified}, local_synced_at, deleted_at FROM {spec.table} "  # noqa: S608 - names of a spec
        f"WHERE credential_id = :credential_id AND {KEY} = ANY(:ids)"
    )
    rows = connection.execute(query, {"credential_id": credential_id, "ids": list(ids)})
    return {st_id: HeldRow(*rest) for st_id, *rest in rows}
