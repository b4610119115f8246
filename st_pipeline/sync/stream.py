"""Building a tenant's stream: read waiting keys, map, check, write; 2,000 records in one transaction.

Here: the order of these steps, what the first build takes. Not here: which tenants feed streams (stream_owner.py), the
mapping and the write (streams/), which keys wait (postgres/).
"""

import time
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from sqlalchemy import text

from st_pipeline.postgres import cursors, stream_pending
from st_pipeline.postgres.database import database_errors
from st_pipeline.protocol import Mode, Reject
from st_pipeline.streams import tables
from st_pipeline.streams.spec import StreamSpec, in_year
from st_pipeline.streams.tables import Owner
from st_pipeline.streams.write_chunk import PreparedStreamChunk, write_stream_chunk
from st_pipeline.sync.context import EntityResult, StreamContext
from st_pipeline.sync.stream_owner import stream_owners
from st_pipeline.sync.whole_reads import is_turn

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()


def build_stream(context: StreamContext) -> EntityResult:
    """Bring a tenant's stream up to date with its tables.

    Raises the errors of st_pipeline.errors; what was committed before stays, the rest waits for the next build.
    """
    started = time.monotonic()
    with database_errors(context.doing):
        owner = _owner(context)
        if owner is not None:
            _begin(context, owner)
            while _build_chunk(context, owner):
                pass
            with context.connection.begin():
                context.lease.extend(context.connection)
                _save_cursor(context, last_polled_at=cursors.NOW, complete_through=_sources_complete_through(context))
    context.result.seconds = time.monotonic() - started
    return context.result


def _owner(context: StreamContext) -> Owner | None:
    """Whose records they are; None for a tenant that feeds no streams, whose records of earlier go."""
    with context.connection.begin():
        known = stream_owners(context.connection, [context.credential_id])[context.credential_id, context.stream.name]
        why_not = known.why_no_stream(context.settings)
        if why_not is None:
            assert known.intacct_id is not None  # noqa: S101 - why_no_stream would say so
            return Owner(context.credential_id, known.intacct_id, known.trade, known.is_noted)
        context.lease.extend(context.connection)
        dropped = tables.forget_records(context.connection, context.stream, context.credential_id)
        stream_pending.forget(context.connection, context.credential_id, context.stream.name)
        _save_cursor(context, last_full_at=None, last_polled_at=cursors.NOW, complete_through=None)
    context.result.notes.append(f"not built: {why_not}")
    if dropped:
        context.result.notes.append(f"{dropped} records of earlier are dropped")
    return None


def _begin(context: StreamContext, owner: Owner) -> None:
    """Let wait what no chunk has noted: everything at first, and in a full sync whatever is missing."""
    stream, connection = context.stream, context.connection
    with connection.begin():
        context.lease.extend(connection)
        last_full_at = cursors.load(connection, context.credential_id, stream.name).last_full_at
        is_first, nights = last_full_at is None, context.settings.whole_read_nights
        if context.night is not None and not is_turn(context.tenant, stream.name, last_full_at, context.night, nights):
            context.result.mode = context.mode = Mode.INCREMENTAL  # what is missing is looked for in another night
        if is_first or context.mode is Mode.FULL or not owner.is_noted:
            is_first |= _take_over(context, owner)
        if is_first or context.rewrite:
            tables.let_all_wait(connection, stream, context.credential_id)
        elif context.mode is Mode.FULL or not owner.is_noted:  # of an older version of the mapping, too
            tables.let_missing_wait(connection, stream, context.credential_id)
        if is_first or context.mode is Mode.FULL:
            context.result.mode = context.mode = Mode.FULL
            _save_cursor(context, last_full_at=cursors.NOW)  # from here on every chunk notes what it renews


def _take_over(context: StreamContext, owner: Owner) -> bool:
    """Put the records under the company's Intacct id and trade of today. True when all must be built again.

    This reads every record of the tenant, so a poll does it only after the company was changed.
    """
    stream, connection = context.stream, context.connection
    dropped = tables.forget_records(connection, stream, context.credential_id, but_of=owner.tenant)
    if dropped:
        context.result.notes.append("the company has another Intacct id; its records are built again under it")
    tables.adopt_trade(connection, stream, owner)
    tables.note_owner(connection, stream, owner)
    return dropped > 0


def _build_chunk(context: StreamContext, owner: Owner) -> bool:
    """Build up to a chunk of waiting records: map, check, write. False when none waited."""
    chunk = _prepare_chunk(context, owner)
    if chunk is None:
        return False
    from st_pipeline.validation.schema import warnings  # late, as in _checked

    counts = write_stream_chunk(context.connection, context.lease, chunk, context.log)
    context.result.counts.add(counts)
    context.result.warnings += warnings(in_year(context.stream, context.today().year), chunk.records)
    context.after_chunk(context.stream.name, context.result.counts)
    figures = {"records": counts.processed, "created": counts.created, "updated": counts.updated}
    log.info("stream built", tenant=context.tenant, entity=context.stream.name, rejected=counts.failed, **figures)
    return True


def _prepare_chunk(context: StreamContext, owner: Owner) -> PreparedStreamChunk | None:
    """The records of the next waiting keys, read in one transaction and checked after it. None: no key waits."""
    stream, connection = context.stream, context.connection
    with connection.begin():
        rows = context.settings.rows_per_chunk
        keys = stream_pending.waiting(connection, context.credential_id, stream.name, rows)
        mapped = stream.map_records(connection, context.credential_id, keys) if keys else []
    if not keys:
        return None
    records, failed = _checked(in_year(stream, context.today().year), mapped)
    built = {int(record[0]) for record in mapped}
    return PreparedStreamChunk(
        stream=stream,
        owner=owner,
        keys=keys,
        records=records,
        failed=failed,
        gone=[key for key in keys if key not in built],
        mode=context.mode,
        counts_before=context.result.counts,
        always_logged=not context.quiet,
    )


def _checked(stream: StreamSpec, records: list[tuple[Any, ...]]) -> "tuple[pa.Table, list[Reject]]":
    """The records that may be written as a table, and those that break a rule."""
    # Imported with the first record to check: pandas, pandera and pyarrow cost 0.7 CPU s, and most polls find nothing.
    import pyarrow as pa

    from st_pipeline.validation.schema import arrow_schema, failing_rows

    schema = arrow_schema(stream)
    columns = list(zip(*records, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    reasons = failing_rows(stream, table) if records else {}
    if not reasons:
        return table, []
    names = [column.name for column in stream.columns]
    failed = [
        Reject(
            int(records[index][0]),
            msgspec.json.encode(dict(zip(names, records[index], strict=True))),
            tuple(reasons[index]),
        )
        for index in sorted(reasons)
    ]
    good = [index for index in range(len(records)) if index not in reasons]
    return table.take(pa.array(good, type=pa.int64())), failed


def _sources_complete_through(context: StreamContext) -> Any:
    """The moment of the source that lags most; None while one was never read to its end."""
    query = text("""
        SELECT CASE WHEN count(complete_through) = :sources THEN min(complete_through) END FROM completeness
        WHERE credential_id = :id AND entity = ANY(:entities)
    """)
    bound = {"id": context.credential_id, "entities": list(context.stream.after), "sources": len(context.stream.after)}
    return context.connection.execute(query, bound).scalar()


def _save_cursor(context: StreamContext, **changes: object) -> None:
    cursors.save(context.connection, context.credential_id, context.stream.name, **changes)
