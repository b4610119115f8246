"""One chunk of an entity in one transaction: its rows, and all that must be true together with them.

Here: `write_chunk`, the only way in which a chunk gets into the tables. Not here: what is in a chunk (sync/prepare.py).
It asks nobody and decides nothing. Only what Postgres alone can say is found out inside: which rows are new, which it
refuses, which stream keys a change of columns renews, whether the guard lets rows be marked.

Nothing lost, nothing doubled: when any part fails, all of it is rolled back, and the cursor is still before it.
"""

from sqlalchemy import Connection

from st_pipeline.postgres import chunks, cursors, drift, rejects, soft_deletes, stream_pending
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Counts, PreparedChunk, Reject, WrittenChunk


def write_chunk(connection: Connection, lease: Lease, chunk: PreparedChunk, log: SyncLog) -> WrittenChunk:
    """Write a chunk and commit.

    Raises LeaseLost and SyncStopped; what was compared before may be stale then, and nothing is written.
    """
    with log.forgotten_on_rollback(), connection.begin():
        lease.extend(connection)
        written = _write_rows(connection, lease.credential_id, chunk, log)
        if chunk.cursor:
            cursors.save(connection, lease.credential_id, chunk.spec.name, **chunk.cursor)
        counts = written.counts
        is_told = chunk.always_logged or counts.changed or counts.failed
        if is_told and (chunk.received or chunk.pages):
            total = chunk.counts_before.plus(counts)
            log.progress(connection, chunk.entity, chunk.mode, total, chunk.cursor_before)
    return written


def _write_rows(connection: Connection, credential_id: int, chunk: PreparedChunk, log: SyncLog) -> WrittenChunk:
    """The rows, their rejects, marks, stream keys and drift."""
    spec, of = chunk.spec, (connection, credential_id, chunk.spec.name)
    written, deleted, withheld, ids = Counts(), 0, 0, chunk.ids
    refused: dict[int, str] = {}  # by the row's index, the reason
    if ids:
        with stream_pending.renewed(connection, credential_id, spec, chunk.streams, ids):
            written, refused = chunks.write_rows(connection, credential_id, chunk)
            deleted, withheld = soft_deletes.mark_chunk(connection, credential_id, chunk)
    if chunk.seen:
        soft_deletes.remember_seen(*of, chunk.seen)
    failed = [*chunk.rejects, *(Reject(ids[index], chunk.records[index], (why,)) for index, why in refused.items())]
    refused_ids = frozenset(ids[index] for index in refused)
    if failed or chunk.passed:
        rejects.settle(*of, failed, [st_id for st_id in chunk.passed if st_id not in refused_ids], log.id)
    new_drift = drift.note(*of, chunk.drift) if chunk.drift else []
    counts = Counts(
        processed=chunk.received,
        created=written.created,
        updated=written.updated,
        unchanged=chunk.received - written.created - written.updated - len(failed),
        failed=len(failed),
        deleted=deleted,
        pages=chunk.pages,
        older=chunk.older + written.older,
    )
    return WrittenChunk(counts, new_drift, refused_ids, withheld)
