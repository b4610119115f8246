"""From a batch of record bytes to rows that may be written, and rejects.

Here: dropping what the table holds, and the order of the steps: decode, keep the newest copy of a repeated key, build
the table, check it. Not here: the steps themselves, and asking the database what the table holds.
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec
from st_pipeline.protocol import Columns, Drift, Known, Reject, record_hash
from st_pipeline.validation.decode import (
    BIGINTS,
    RecordHead,
    decode_records,
    modified_on_text,
    read_head,
    without_nul,
)
from st_pipeline.validation.drift import drift_of
from st_pipeline.validation.timestamps import OLDEST, epoch_microseconds, later, parse_timestamp


@dataclass(slots=True)
class ValidChunk:
    """`columns`: the entity's columns, one row per key; `records`, `hashes`: of each row, at the same index.

    `shown`: the ids of all records of the batch, where it was compared. `older`: how many of them gave way to a newer
    version. `newest_modified_on`: of all its records, as the source wrote it.
    """

    columns: Columns = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    shown: Sequence[int] = ()
    older: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    drift: Counter[Drift] = field(default_factory=Counter)
    nul_records: int = 0
    newest_modified_on: str | None = None

    @property
    def ids(self) -> list[int]:
        """The ids of its rows."""
        return list(self.columns[KEY])


@dataclass(frozen=True, slots=True)
class Heads:
    """What the records of a batch say of themselves, read without decoding them; None where that does not work."""

    records: Sequence[bytes]
    heads: Sequence[RecordHead | None]

    @property
    def ids(self) -> list[int]:
        """The ids that fit a bigint."""
        return [head.id for head in self.heads if head is not None and head.id in BIGINTS]


def read_heads(records: Sequence[bytes]) -> Heads:
    """The id and the modification time of each record, None where they cannot be read."""
    return Heads(records, [read_head(record) for record in records])


def check_changed(
    spec: EntitySpec, heads: Heads, known: Mapping[int, Known], confirmed: "array[int] | None"
) -> ValidChunk:
    """Decode and check the records that differ from the rows that the table is `known` to hold.

    `confirmed`: in a full sync, the ids that it found unchanged before; those found now are added. A full sync wins
    over what was held before, so an older copy must not win over a version that the same sync has shown. Those it wrote
    tell so by their time; of those that needed no writing the ids are kept, 8 bytes each.
    """
    changed, held = changed_records(spec, heads, known)
    refused: set[int] = set()
    if confirmed is not None:
        confirmed.extend(held)
        older = [(head.id, index) for index in changed if (head := heads.heads[index]) and _is_older(head, known)]
        unchanged = {st_id for st_id, _ in older}.intersection(confirmed if older else ())
        refused = {index for st_id, index in older if st_id in unchanged}
    valid = validate_chunk(spec, [heads.records[index] for index in changed if index not in refused])
    times = [None if head is None else head.modified_on for head in heads.heads]
    valid.newest_modified_on = later(_newest(times, heads.records), valid.newest_modified_on)
    valid.shown, valid.older = heads.ids, len(refused)
    return valid


def validate_chunk(spec: EntitySpec, records: Sequence[bytes]) -> ValidChunk:
    """Decode and check a chunk. Each record ends up in `columns` or `rejects`, or is an older copy of one that does."""
    decoded = decode_records(spec, records)
    keep = newest_of_each_key(decoded.rows)
    rows = [decoded.rows[index] for index in keep]
    kept = [decoded.records[index] for index in keep]
    if not rows:
        nothing: Columns = {column.name: [] for column in spec.columns}
        return ValidChunk(nothing, rejects=decoded.rejects, nul_records=decoded.nul_records)

    # Imported with the first row to check: pandas, pandera and pyarrow cost 0.7 CPU s, and most polls find nothing.
    import pyarrow as pa

    from st_pipeline.validation.frame import build_columns, checked_table
    from st_pipeline.validation.schema import failing_rows, warnings

    columns, reasons = build_columns(spec, rows)
    table = checked_table(spec, columns)
    for index, more in failing_rows(spec, table).items():
        # A value that its column cannot hold is null here; "is missing" would be a second, false reason.
        reasons.setdefault(index, more)
    rejects = decoded.rejects
    if reasons:
        rejects += [Reject(rows[index].id, kept[index], tuple(reasons[index])) for index in sorted(reasons)]
        good = [index for index in range(len(rows)) if index not in reasons]
        columns = {name: [values[index] for index in good] for name, values in columns.items()}
        table, kept = table.take(pa.array(good, type=pa.int64())), [kept[index] for index in good]
    return ValidChunk(
        columns=columns,
        records=kept,
        hashes=[record_hash(record) for record in kept],
        rejects=rejects,
        warnings=warnings(spec, table),
        drift=drift_of(spec, columns, kept),
        nul_records=decoded.nul_records,
        newest_modified_on=_newest(columns[MODIFIED], kept) if spec.has(MODIFIED) else None,
    )


def newest_of_each_key(rows: Sequence[Any]) -> list[int]:
    """The index of the newest `modifiedOn` of each key; of equally new ones, the last.

    Pages shift while they are read, so records repeat, and Postgres refuses to write a key twice in one statement.
    """
    if len({row.id for row in rows}) == len(rows):
        return list(range(len(rows)))
    best: dict[int, int] = {}
    for index, row in enumerate(rows):
        other = best.get(row.id)
        if other is None or _modified(row) >= _modified(rows[other]):
            best[row.id] = index
    return sorted(best.values())


def _modified(row: Any) -> int:
    """The row's modification time. One that cannot be read counts as the oldest, as its record will be rejected."""
    text: str | None = getattr(row, "modifiedOn", None)
    try:
        return OLDEST if text is None else epoch_microseconds(parse_timestamp(text))
    except ValueError:
        return OLDEST


def _newest(times: Sequence[datetime | None], records: Sequence[bytes]) -> str | None:
    """`modifiedOn` of the newest record as the source wrote it, None when no record has one."""
    newest = max((time for time in times if time is not None), default=None)
    return None if newest is None else modified_on_text(records[times.index(newest)])


def changed_records(spec: EntitySpec, heads: Heads, known: Mapping[int, Known]) -> tuple[list[int], list[int]]:
    """Indexes of the records that differ from the table's rows, and ids of those that do not."""
    changed, held = [], []
    for index, (record, head) in enumerate(zip(heads.records, heads.heads, strict=True)):
        if head is not None and _is_held(known.get(head.id), head, record, spec.version):
            held.append(head.id)
        else:
            changed.append(index)
    return changed, held


def _is_older(head: RecordHead, known: Mapping[int, Known]) -> bool:
    """Is the table's version of the record newer?"""
    held = known.get(head.id)
    if head.modified_on is None or held is None or held.modified_on_us is None:
        return False
    return epoch_microseconds(head.modified_on) < held.modified_on_us


def _is_held(held: Known | None, head: RecordHead, record: bytes, version: int) -> bool:
    return (
        held is not None
        and held.spec_version == version
        # The table has the record with its NULs replaced, so that form is compared.
        and held.record_hash == record_hash(without_nul(record)[0])
        and held.modified_on_us == (None if head.modified_on is None else epoch_microseconds(head.modified_on))
    )
