"""Building a tenant's stream: take waiting keys, map, check, write; 2,000 records in one transaction.

Here: the order of these steps, which tenants feed streams, what the first build takes. Not here: the mapping
(members.py, invoices.py), which keys wait (pending.py).

Nothing lost, nothing doubled: a key leaves stream_pending in the transaction that writes its record.
"""

import time
from typing import Any

import msgspec
import pyarrow as pa
import structlog
from sqlalchemy import text

from st_pipeline.postgres import cursors, rejects, stream_pending
from st_pipeline.postgres.database import database_errors
from st_pipeline.protocol import Counts, Mode, Reject
from st_pipeline.streams import tables
from st_pipeline.streams.spec import StreamSpec, in_year
from st_pipeline.streams.tables import Owner
from st_pipeline.sync.context import EntityResult, StreamWork
from st_pipeline.validation.schema import arrow_schema, failing_rows, warnings

log = structlog.get_logger()


def build_stream(work: StreamWork) -> EntityResult:
    """Bring a tenant's stream up to date with its tables.

    Raises the errors of st_pipeline.errors; what was committed before stays, the rest waits for the next build.
    """
    started = time.monotonic()
    with database_errors(work.doing):
        owner = _owner(work)
        if owner is not None:
            _begin(work, owner)
            while _build_chunk(work, owner):
                pass
            with work.connection.begin():
                work.lease.extend(work.connection)
                _save_cursor(work, last_polled_at="now", complete_through=_sources_complete_through(work))
    work.result.seconds = time.monotonic() - started
    return work.result


def _owner(work: StreamWork) -> Owner | None:
    """Whose records they are; None for a tenant that feeds no streams, whose records of earlier go."""
    query = text("""
        SELECT t.intacct_id, t.trade, t.environment, t.company, EXISTS (
            SELECT FROM tenants p WHERE p.company = t.company AND p.environment = 'production') AS has_production,
            o.tenant IS NOT DISTINCT FROM t.intacct_id AND o.trade IS NOT DISTINCT FROM t.trade AS is_noted
        FROM tenants t LEFT JOIN stream_owners o ON o.credential_id = t.credential_id AND o.stream = :stream
        WHERE t.credential_id = :id
    """)
    with work.connection.begin():
        tenant = work.connection.execute(query, {"id": work.credential_id, "stream": work.stream.name}).one()
        why_not = _why_no_stream(work, tenant)
        if why_not is None:
            return Owner(work.credential_id, tenant.intacct_id, tenant.trade, tenant.is_noted)
        work.lease.extend(work.connection)
        dropped = tables.forget_records(work.connection, work.stream, work.credential_id)
        stream_pending.forget(work.connection, work.credential_id, work.stream.name)
        _save_cursor(work, last_full_at=None, last_polled_at="now", complete_through=None)
    work.result.notes.append(f"not built: {why_not}")
    if dropped:
        work.result.notes.append(f"{dropped} records of earlier are dropped")
    return None


def _why_no_stream(work: StreamWork, tenant: Any) -> str | None:
    if tenant.intacct_id is None:
        command = f"st-pipeline companies update {tenant.company} --intacct-id …"
        return f"the company has no Intacct id, which is the tenant of the stream; set it with `{command}`"
    if tenant.environment == "production":
        return None
    if not work.settings.integration_feeds_streams:
        return "an integration tenant feeds streams only where ST_PIPELINE_INTEGRATION_FEEDS_STREAMS is true"
    if tenant.has_production:
        return "the company's production tenant feeds its streams; two would overwrite each other"
    return None


def _begin(work: StreamWork, owner: Owner) -> None:
    """Let wait what no chunk has noted: everything at first, and in a full sync whatever is missing."""
    stream, connection = work.stream, work.connection
    with connection.begin():
        work.lease.extend(connection)
        is_first = cursors.load(connection, work.credential_id, stream.name).last_full_at is None
        if is_first or work.mode is Mode.FULL or not owner.is_noted:
            is_first |= _take_over(work, owner)
        if is_first or work.rewrite:
            tables.let_all_wait(connection, stream, work.credential_id)
        elif work.mode is Mode.FULL:
            tables.let_missing_wait(connection, stream, work.credential_id)
        if is_first or work.mode is Mode.FULL:
            work.result.mode = work.mode = Mode.FULL
            _save_cursor(work, last_full_at="now")  # from here on every chunk notes what it renews


def _take_over(work: StreamWork, owner: Owner) -> bool:
    """Put the records under the company's Intacct id and trade of today. True when all must be built again.

    This reads every record of the tenant, so a poll does it only after the company was changed.
    """
    stream, connection = work.stream, work.connection
    dropped = tables.forget_records(connection, stream, work.credential_id, but_of=owner.tenant)
    if dropped:
        work.result.notes.append("the company has another Intacct id; its records are built again under it")
    tables.adopt_trade(connection, stream, owner)
    tables.note_owner(connection, stream, owner)
    return dropped > 0


def _build_chunk(work: StreamWork, owner: Owner) -> bool:
    """Build up to a chunk of waiting records in one transaction. False when none waited."""
    connection, result = work.connection, work.result
    with connection.begin(), work.log.forgotten_on_rollback():
        work.lease.extend(connection)
        keys = stream_pending.take(connection, work.credential_id, work.stream.name, work.settings.rows_per_chunk)
        if not keys:
            return False
        counts = _write(work, owner, keys)
        result.counts.add(counts)
        if not work.quiet or work.log.id is not None or counts.changed or counts.failed:
            work.log.progress(connection, work.stream.name, work.mode, result.counts, None)
    work.after_chunk(work.stream.name, result.counts)
    figures = {"records": counts.processed, "created": counts.created, "updated": counts.updated}
    log.info("stream built", tenant=work.tenant, entity=work.stream.name, rejected=counts.failed, **figures)
    return True


def _write(work: StreamWork, owner: Owner, keys: list[int]) -> Counts:
    stream, connection = work.stream, work.connection
    records = stream.map_records(connection, work.credential_id, keys)
    table, failed = _checked(in_year(stream, work.today().year), records)
    import_id = str(work.log.sync_id)
    counts = tables.write_records(connection, stream, owner, table, import_id)
    built = {record[0] for record in records}
    gone = [str(key) for key in keys if str(key) not in built]
    counts.deleted = tables.mark_gone(connection, stream, owner, gone, import_id)
    rejects.keep(connection, work.credential_id, stream.name, failed, work.log.id)
    passed = [*(int(key) for key in table[stream.key].to_pylist()), *(int(key) for key in gone)]
    rejects.passed(connection, work.credential_id, stream.name, passed)
    counts.failed = len(failed)
    counts.unchanged += len(gone)
    counts.processed = len(records) + len(gone)
    work.result.warnings += warnings(in_year(stream, work.today().year), table)
    return counts


def _checked(stream: StreamSpec, records: list[tuple[Any, ...]]) -> tuple[pa.Table, list[Reject]]:
    """The records that may be written as a table, and those that break a rule."""
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


def _sources_complete_through(work: StreamWork) -> Any:
    """The moment of the source that lags most; None while one was never read to its end."""
    query = text("""
        SELECT CASE WHEN count(complete_through) = :sources THEN min(complete_through) END FROM sync_cursors
        WHERE credential_id = :id AND entity = ANY(:entities)
    """)
    bound = {"id": work.credential_id, "entities": list(work.stream.after), "sources": len(work.stream.after)}
    return work.connection.execute(query, bound).scalar()


def _save_cursor(work: StreamWork, **changes: object) -> None:
    cursors.save(work.connection, work.credential_id, work.stream.name, **changes)
