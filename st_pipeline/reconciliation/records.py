"""Records as ServiceTitan shows them beside the rows that hold them, column by column.

Here: which columns differ, and by how much money. Not here: which records are compared (entity.py).

By the columns, not by the fingerprint of the bytes: a row that was altered here has the fingerprint that it always had,
and a list need not write a number as the feed does.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection

from st_pipeline.entities.spec import CREATED, KEY, MODIFIED, Column, DeletionSign, EntitySpec, Kind
from st_pipeline.postgres import held_ranges, rejects
from st_pipeline.postgres.held_ranges import HeldRow
from st_pipeline.reconciliation.findings import Difference, Times
from st_pipeline.reconciliation.findings import Kind as How
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline.validation.timestamps import parse_timestamp

MARKED = "deleted_at"  # the field of a record that is marked as deleted here, and is there


@dataclass(slots=True)
class Seen:
    """Records that were compared with their rows. `shown`: their ids; `rejected`: those that are among our rejects."""

    shown: list[int] = field(default_factory=list)
    rejected: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Add another page's."""
        self.shown += other.shown
        self.rejected += other.rejected
        self.differences += other.differences


def compare_records(connection: Connection, spec: EntitySpec, credential_id: int, records: Sequence[bytes]) -> Seen:
    """Compare these records with the rows that hold them, in a short transaction of its own."""
    valid = validate_chunk(spec, records)
    ids = valid.ids if valid.columns else []
    with connection.begin():
        held = held_ranges.rows(connection, spec, credential_id, ids)
        kept = rejects.open_keys(connection, credential_id, spec.name)
    seen = Seen([*ids, *(one.st_id for one in valid.rejects if one.st_id is not None)])
    for one in valid.rejects:
        if one.st_id is None or one.st_id in kept:
            seen.rejected += 1
        else:  # a repair brings it to the rejects
            seen.differences.append(Difference(one.st_id, How.MISSING, there=times_if_active(one.record)))
    for index, st_id in enumerate(ids):
        there = {name: values[index] for name, values in valid.columns.items()}
        found = _difference(spec, st_id, held.get(st_id), there)
        if found is not None and st_id in kept:
            seen.rejected += 1  # Postgres refused it, or an older version of it
        elif found is not None:
            seen.differences.append(found)
    return seen


def _difference(spec: EntitySpec, st_id: int, row: HeldRow | None, there: dict[str, Any]) -> Difference | None:
    times = times_of(there)
    if row is None:
        return Difference(st_id, How.MISSING, there=times, amounts=_amounts(spec, {}, there))
    if row.deleted_at is not None:
        if spec.deletion_sign is DeletionSign.INACTIVE:
            return None  # whether lists of contacts show removed ones is not documented
        return Difference(st_id, How.MISSING, (MARKED,), there=times, amounts=_amounts(spec, {}, there))
    differing = list(_differing(spec, row, there))
    if not differing:
        return None
    return Difference(
        st_id,
        How.DIFFERENT,
        tuple(one.name for one in differing),
        here=times_of(row.values),
        there=times,
        amounts=_amounts(spec, row.values, there),
        values={one.name: (_plain(one, row.values[one.name]), _plain(one, there[one.name])) for one in differing},
    )


def gone(spec: EntitySpec, rows: dict[int, HeldRow]) -> list[Difference]:
    """Live rows that the source does not show."""
    return [
        Difference(st_id, How.GONE, here=times_of(row.values), amounts=_amounts(spec, row.values, {}))
        for st_id, row in rows.items()
        if row.deleted_at is None
    ]


def times_of(values: Any) -> Times:
    """When a record was created and modified; None where it does not say so."""
    return Times(values.get(CREATED), values.get(MODIFIED))


class _Head(msgspec.Struct, rename="camel"):
    created_on: str | None = None
    modified_on: str | None = None
    active: bool | None = None


def times_if_active(record: bytes) -> Times | None:
    """When a record was created and modified. None: it does not say that, or it is inactive and may be deleted."""
    try:
        head = msgspec.json.decode(record, type=_Head)
        times = Times(
            *(None if text is None else parse_timestamp(text) for text in (head.created_on, head.modified_on))
        )
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return None if head.active is False else times


def _differing(spec: EntitySpec, row: HeldRow, there: dict[str, Any]) -> Iterator[Column]:
    for column in spec.columns:
        if column.feed_only or column.name == KEY:
            continue
        if _comparable(column, row.values[column.name]) != _comparable(column, there[column.name]):
            yield column


def _comparable(column: Column, value: Any) -> Any:
    if value is None:
        return None
    match column.kind:
        case Kind.JSON:
            return json.loads(bytes(value) if not isinstance(value, str) else value, parse_float=Decimal)
        case Kind.DECIMAL:
            return value if isinstance(value, Decimal) else Decimal(str(value))
        case _:
            return value


def _plain(column: Column, value: Any) -> Any:
    """The value as JSON can hold it."""
    if value is not None and column.kind is Kind.JSON:
        return json.loads(value if isinstance(value, str) else bytes(value))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _amounts(spec: EntitySpec, here: Any, there: Any) -> dict[str, Decimal]:
    """There less here; a record that is not there, or not here, has amounts of 0."""
    return {name: _amount(there.get(name)) - _amount(here.get(name)) for name in spec.totals}


def _amount(value: Any) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))
