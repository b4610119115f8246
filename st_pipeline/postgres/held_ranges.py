"""What the tables hold of a range of an entity's records, to be compared with the source.

Here: numbers, ids, values and sums of a tenant's rows, read only. Not here: what the source shows, what differs
(reconciliation/).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import CREATED, KEY, MODIFIED, EntitySpec, Kind
from st_pipeline.protocol import Range

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Number:
    """Rows of a range. `live`: not marked as deleted; `marked`: the others."""

    live: int
    marked: int


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row: its columns by name, JSON as text, and when it was marked as deleted and written."""

    values: Mapping[str, Any]
    deleted_at: datetime | None
    local_synced_at: datetime


@dataclass(frozen=True, slots=True)
class Month:
    """Live rows created in a month (UTC): how many, and the sums of the columns asked for."""

    month: datetime
    records: int
    sums: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Completeness:
    """Up to when an entity is known to be complete, and when its last full sync ended; None: never."""

    complete_through: datetime | None
    last_full_at: datetime | None


def completeness(connection: Connection, credential_id: int, entity: str) -> Completeness:
    """How complete an entity, or one of its lists, is."""
    row = connection.execute(
        text(
            "SELECT m.complete_through, c.last_full_at FROM sync_cursors c LEFT JOIN completeness m "
            "USING (credential_id, entity) WHERE c.credential_id = :id AND c.entity = :entity"
        ),
        {"id": credential_id, "entity": entity},
    ).one_or_none()
    return Completeness(None, None) if row is None else Completeness(*row)


def number(connection: Connection, spec: EntitySpec, credential_id: int, range_: Range) -> Number:
    """How many rows there are."""
    where, bound = _where(range_)
    query = (
        "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at) "  # noqa: S608 - names of a spec
        f"FROM {spec.table} WHERE credential_id = :id{where}"
    )
    return Number(*connection.execute(text(query), {"id": credential_id, **bound}).one())


@dataclass(frozen=True, slots=True)
class Moments:
    """When rows were created, or modified: microseconds since 1970, in order. `live`: of those not marked as deleted.

    8 bytes a row. Ranges are counted here, as each count in Postgres would read all of the tenant's rows.
    """

    live: "array[int]"
    marked: "array[int]"

    def number(self, first: datetime | None, before: datetime | None) -> Number:
        """How many are in this range: from inclusive, before exclusive, None open."""
        return Number(*(_place(of, before, len(of)) - _place(of, first, 0) for of in (self.live, self.marked)))

    def middle(self, first: datetime | None, before: datetime | None) -> datetime | None:
        """A moment that divides the range's live rows as evenly as can be. None: all are of one moment."""
        start, end = _place(self.live, first, 0), _place(self.live, before, len(self.live))
        if start == end:
            return None
        at = self.live[(start + end) // 2]
        if at == self.live[start]:
            later = bisect_right(self.live, at)
            if later >= end:
                return None
            at = self.live[later]
        return EPOCH + timedelta(microseconds=at)


def _place(moments: "array[int]", moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else bisect_left(moments, (moment - EPOCH) // timedelta(microseconds=1))


def moments(connection: Connection, spec: EntitySpec, credential_id: int, range_: Range) -> dict[str, Moments]:
    """When the range's rows were created and modified, by column. One read of the tenant's rows."""
    where, bound = _where(range_)
    of = [
        f"array_agg((extract(epoch FROM {column}) * 1000000)::bigint ORDER BY {column}) "
        f"FILTER (WHERE {column} IS NOT NULL AND deleted_at IS {state})"
        for column in (CREATED, MODIFIED)
        for state in ("NULL", "NOT NULL")
    ]
    query = f"SELECT {', '.join(of)} FROM {spec.table} WHERE credential_id = :id{where}"  # noqa: S608 - of a spec
    created, created_marked, modified, modified_marked = (
        array("q", found or ()) for found in connection.execute(text(query), {"id": credential_id, **bound}).one()
    )
    return {CREATED: Moments(created, created_marked), MODIFIED: Moments(modified, modified_marked)}


def live_ids(connection: Connection, spec: EntitySpec, credential_id: int, range_: Range) -> list[int]:
    """The ids of the range's live rows."""
    where, bound = _where(range_)
    query = f"SELECT {KEY} FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NULL{where} ORDER BY {KEY}"  # noqa: S608
    return list(connection.execute(text(query), {"id": credential_id, **bound}).scalars())


def newest_marked(connection: Connection, spec: EntitySpec, credential_id: int, limit: int) -> list[datetime]:
    """When the newest rows that are marked as deleted were created."""
    query = (
        f"SELECT {CREATED} FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NOT NULL "  # noqa: S608
        f"AND {CREATED} IS NOT NULL ORDER BY {CREATED} DESC LIMIT :limit"
    )
    return list(connection.execute(text(query), {"id": credential_id, "limit": limit}).scalars())


def undated(connection: Connection, spec: EntitySpec, credential_id: int) -> int:
    """How many live rows do not say when they were created."""
    query = f"SELECT count(*) FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NULL AND {CREATED} IS NULL"  # noqa: S608
    return int(connection.execute(text(query), {"id": credential_id}).scalar_one())


def rows(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> dict[int, HeldRow]:
    """The rows of these ids, marked ones too."""
    names = [column.name for column in spec.columns]
    shown = [f"{one.name}::text AS {one.name}" if one.kind is Kind.JSON else one.name for one in spec.columns]
    found = connection.execute(
        text(
            f"SELECT {', '.join(shown)}, deleted_at, local_synced_at FROM {spec.table} "  # noqa: S608 - of a spec
            f"WHERE credential_id = :id AND {KEY} = ANY(:ids)"
        ),
        {"id": credential_id, "ids": list(ids)},
    ).mappings()
    return {
        one[KEY]: HeldRow({name: one[name] for name in names}, one["deleted_at"], one["local_synced_at"])
        for one in found
    }


def months(
    connection: Connection, spec: EntitySpec, credential_id: int, range_: Range, columns: Sequence[str]
) -> list[Month]:
    """The range's live rows by the month in which they were created, the earliest first."""
    where, bound = _where(range_)
    sums = "".join(f", coalesce(sum({name}), 0)" for name in columns)
    query = (
        f"SELECT date_trunc('month', {CREATED}, 'UTC'), count(*){sums} FROM {spec.table} "  # noqa: S608 - of a spec
        f"WHERE credential_id = :id AND deleted_at IS NULL AND {CREATED} IS NOT NULL{where} GROUP BY 1 ORDER BY 1"
    )
    found = connection.execute(text(query), {"id": credential_id, **bound})
    return [Month(month, records, tuple(sums)) for month, records, *sums in found]


def _where(range_: Range) -> tuple[str, dict[str, datetime]]:
    conditions, bound = "", {}
    for name, column, compares in (
        ("created_from", CREATED, ">="),
        ("created_before", CREATED, "<"),
        ("modified_from", MODIFIED, ">="),
        ("modified_before", MODIFIED, "<"),
    ):
        moment = getattr(range_, name)
        if moment is not None:
            conditions += f" AND {column} {compares} :{name}"
            bound[name] = moment
    return conditions, bound
