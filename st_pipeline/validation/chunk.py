"""From a chunk of record bytes to rows that may be written, and rejects.

Here: the order of the steps: decode, keep the newest copy of a repeated key, build the table, check it. Not here: the
steps themselves, and the database.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec
from st_pipeline.protocol import Columns, Drift, Known, Reject, record_hash
from st_pipeline.validation.decode import BIGINTS, RecordHead, decode_records, modified_on_text, without_nul
from st_pipeline.validation.drift import drift_of
from st_pipeline.validation.timestamps import OLDEST, epoch_microseconds, parse_timestamp


@dataclass(slots=True)
class ValidChunk:
    """`columns`: the entity's columns, one row per key; `records`, `hashes`: of each row, at the same index."""

    columns: Columns
    records: list[bytes]
    hashes: list[int]
    rejects: list[Reject]
    warnings: Counter[str] = field(default_factory=Counter)
    drift: Counter[Drift] = field(default_factory=Counter)
    nul_records: int = 0
    newest_modified_on: str | None = None

    @property
    def ids(self) -> list[int]:
        """The ids of its rows."""
        return list(self.columns[KEY])


def validate_chunk(spec: EntitySpec, records: Sequence[bytes]) -> ValidChunk:
    """Decode and check a chunk. Each record ends up in `columns` or `rejects`, or is an older copy of one that does."""
    decoded = decode_records(spec, records)
    keep = newest_of_each_key(decoded.rows)
    rows = [decoded.rows[index] for index in keep]
    kept = [decoded.records[index] for index in keep]
    if not rows:
        nothing: Columns = {column.name: [] for column in spec.columns}
        return ValidChunk(nothing, [], [], decoded.rejects, nul_records=decoded.nul_records)

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


def newest_modified_on(heads: Sequence[RecordHead | None], records: Sequence[bytes]) -> str | None:
    """`modifiedOn` of the newest record as the source wrote it, None when no record has one."""
    times = [None if head is None else head.modified_on for head in heads]
    return _newest(times, records)


def readable_ids(heads: Sequence[RecordHead | None]) -> list[int]:
    """The ids that fit a bigint."""
    return [head.id for head in heads if head is not None and head.id in BIGINTS]


def changed_records(
    spec: EntitySpec, records: Sequence[bytes], heads: Sequence[RecordHead | None], known: Mapping[int, Known]
) -> tuple[list[int], list[int]]:
    """Indexes of the records that differ from the table's rows, and ids of those that do not."""
    changed, held = [], []
    for index, (record, head) in enumerate(zip(records, heads, strict=True)):
        if head is not None and _is_held(known.get(head.id), head, record, spec.version):
            held.append(head.id)
        else:
            changed.append(index)
    return changed, held


def is_older(head: RecordHead, known: Mapping[int, Known]) -> bool:
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
