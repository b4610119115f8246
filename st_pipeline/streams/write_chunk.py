"""One chunk of a stream in one transaction: its records, and all that must be true together with them.

Here: `write_stream_chunk`, the only way in which records get into a stream's table. Not here: mapping and checking them
(sync/stream.py), the statements (tables.py).

Nothing lost, nothing doubled: a key leaves stream_pending in the transaction that writes its record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from st_pipeline.postgres import rejects, stream_pending
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Counts, Mode, Reject
from st_pipeline.streams import tables
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.streams.tables import Owner

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStreamChunk:
    """`keys`: all that are done with this chunk. `records`: those that passed, as a table; `gone`: keys without a row.

    `mode`, `counts_before`: for the sync log; `always_logged`: also if nothing changed.
    """

    stream: StreamSpec
    owner: Owner
    keys: Sequence[int]
    records: "pa.Table"
    failed: Sequence[Reject]
    gone: Sequence[int]
    mode: Mode
    counts_before: Counts
    always_logged: bool


def write_stream_chunk(connection: Connection, lease: Lease, chunk: PreparedStreamChunk, log: SyncLog) -> Counts:
    """Write a chunk and commit. Raises LeaseLost and SyncStopped; nothing is written then."""
    stream, import_id = chunk.stream, str(log.sync_id)
    with log.forgotten_on_rollback(), connection.begin():
        lease.extend(connection)
        stream_pending.take_out(connection, lease.credential_id, stream.name, chunk.keys)
        counts = tables.write_records(connection, stream, chunk.owner, chunk.records, import_id)
        gone = [str(key) for key in chunk.gone]
        counts.deleted = tables.mark_gone(connection, stream, chunk.owner, gone, import_id)
        passed = [*map(int, chunk.records[stream.key].to_pylist()), *chunk.gone]
        rejects.settle(connection, lease.credential_id, stream.name, chunk.failed, passed, log.id)
        counts.failed = len(chunk.failed)
        counts.unchanged += len(chunk.gone)
        counts.processed = chunk.records.num_rows + len(chunk.failed) + len(chunk.gone)
        if chunk.always_logged or counts.changed or counts.failed:
            log.progress(connection, stream.name, chunk.mode, chunk.counts_before.plus(counts), None)
    return counts
