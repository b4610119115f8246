"""A batch of records to a chunk that is ready to be written: nothing is left to ask when its transaction opens.

Here: comparing with what is held, decoding and checking, asking ServiceTitan which inactive records it still knows.
Not here: which records come (batches.py), any single one of these steps (validation/, postgres/), the write.

No transaction is open while a record is decoded or a request is sent. What is compared here stays true until the chunk
is written: the lease makes this process the tenant's only writer, and the write fails when the lease is lost.
"""

import gc
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, Lock

from sqlalchemy import Connection

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres import chunks, rejects, stream_pending
from st_pipeline.protocol import Known, PreparedChunk, Source, WrittenChunk
from st_pipeline.servicetitan.prefetch import prefetched
from st_pipeline.streams import streams_of
from st_pipeline.sync import deletions
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext
from st_pipeline.validation.chunk import ValidChunk, changed_records, check_changed, read_heads, validate_chunk
from st_pipeline.validation.timestamps import later


@dataclass(slots=True)
class Reading:
    """One read of an entity: what its chunks have in common, and what a chunk must know of those before it.

    `cursor_field`: the field of the cursor that holds the feed's token; it moves to the last page all of whose rows are
    committed. Lists have none: their order is not known, so their cursor moves when the walk is complete.
    `remember_seen`: note the ids, as this is a complete walk of the list. `pass_began`: when the full sync began; what
    it shows wins over rows held before. `confirmed`: ids of the rows that it found unchanged.
    """

    context: EntityContext
    cursor_field: str | None = None
    remember_seen: bool = False
    pass_began: datetime | None = None
    token: str | None = None
    newest_modified_on: str | None = None
    is_open: bool = False
    table_was_empty: bool = False
    streams: Sequence[tuple[str, Source]] = ()
    open_rejects: set[int] = field(default_factory=set)
    confirmed: "array[int]" = field(default_factory=lambda: array("q"))

    def open(self) -> None:
        """Ask once, with the first records, what the tenant's tables hold of the entity. A quiet poll never does."""
        if self.is_open:
            return
        context, spec, of = self.context, self.context.spec, self.context.credential_id
        with context.connection.begin():
            chunks.compress_quickly(context.connection)
            self.table_was_empty = not chunks.holds_rows(context.connection, spec, of)
            self.open_rejects = rejects.open_keys(context.connection, of, spec.name)
            self.streams = stream_pending.begun(context.connection, of, streams_of(spec.name))
        self.is_open = True

    @property
    def compares(self) -> bool:
        """Are records compared with the table? Then a chunk can be prepared only after the last one is committed."""
        return not self.context.rewrite and not self.table_was_empty

    def note(self, batch: Batch, chunk: PreparedChunk, written: WrittenChunk) -> None:
        """After a chunk is committed."""
        result = self.context.result
        result.counts.add(written.counts)
        result.warnings += chunk.warnings
        result.drift += chunk.drift
        result.nul_records += chunk.nul_records
        result.withheld += written.withheld
        result.notes += [f"seen for the first time: {one}" for one in written.new_drift]
        self.token = batch.token or self.token
        self.newest_modified_on = later(self.newest_modified_on, chunk.newest_modified_on)
        self.open_rejects |= {reject.st_id for reject in chunk.rejects if reject.st_id is not None}
        self.open_rejects |= written.refused

    def known(self, ids: Sequence[int]) -> dict[int, Known]:
        """What the table holds of these records; nothing where it is not compared with."""
        if not self.compares:
            return {}
        context = self.context
        # One with a reject is compared by its bytes: the source may be back at the version that the table holds.
        asked = [st_id for st_id in ids if st_id not in self.open_rejects]
        with context.connection.begin():
            return chunks.known_rows(context.connection, context.spec, context.credential_id, asked)


def differs(connection: Connection, spec: EntitySpec, credential_id: int, records: Sequence[bytes]) -> bool:
    """Is there a record that a chunk would write, and not only count? Compared as `check` does it."""
    heads = read_heads(records)
    open_rejects = rejects.open_keys(connection, credential_id, spec.name)
    asked = [st_id for st_id in heads.ids if st_id not in open_rejects]
    known = chunks.known_rows(connection, spec, credential_id, asked)
    return bool(changed_records(spec, heads, known)[0])


def check(reading: Reading, records: Sequence[bytes]) -> ValidChunk:
    """Decode and check what is not held already. Without comparing it touches neither database nor API."""
    spec = reading.context.spec
    if not records:
        return ValidChunk()
    if not reading.compares and not reading.remember_seen:
        return validate_chunk(spec, records)
    heads = read_heads(records)
    confirmed = None if reading.pass_began is None else reading.confirmed
    return check_changed(spec, heads, reading.known(heads.ids), confirmed)


def prepare_chunk(reading: Reading, batch: Batch, checked: ValidChunk | None = None) -> PreparedChunk:
    """All that is to be written for a batch. `checked`: where that was done ahead.

    Raises the errors of a request, LeaseLost and SyncStopped; nothing is written then.
    """
    context, spec = reading.context, reading.context.spec
    if batch.records:
        reading.open()
    valid = checked or check(reading, batch.records)
    rows = {}
    if valid.records:
        kept = valid.records if context.settings.keeps_full_data(context.entity) else None
        rows = chunks.with_bookkeeping(valid.columns, valid.hashes, kept)
    gone, found = deletions.look_up_inactive(context, valid) if rows else ([], [])
    cursor = {reading.cursor_field: batch.token} if reading.cursor_field and batch.token is not None else {}
    return PreparedChunk(
        spec=spec,
        received=len(batch.records),
        pages=batch.pages,
        older=valid.older,
        rows=rows,
        records=valid.records,
        table_was_empty=reading.table_was_empty,
        rewrite=context.rewrite,
        pass_began=reading.pass_began,
        rejects=valid.rejects,
        passed=sorted(reading.open_rejects.intersection(valid.ids)) if rows else (),
        seen=valid.shown if reading.remember_seen else (),
        gone=gone,
        found=found,
        guard=deletions.guard_of(context),
        streams=reading.streams,
        drift=valid.drift,
        warnings=valid.warnings,
        nul_records=valid.nul_records,
        newest_modified_on=valid.newest_modified_on,
        cursor=cursor,
        entity=context.entity,
        mode=context.mode,
        cursor_before=context.result.cursor_before,
        counts_before=context.counts_so_far(),
        always_logged=not context.quiet,
    )


def checked_ahead(reading: Reading, source: Iterator[Batch]) -> Generator[tuple[Batch, ValidChunk | None]]:
    """Batches and, where nothing is compared with the table, what a thread has checked of them.

    It checks the next batch while Postgres writes this one, no further: a batch of invoices takes 40 MB. What compares
    begins after the last chunk is committed, or it would compare with what that chunk has not written yet.
    """
    for batch in source:
        if batch.records:
            reading.open()
        yield batch, None
        if batch.records and not reading.compares:
            break
    else:
        return
    del batch  # or the first one would stay in memory to the end
    is_writing = Event()

    def checked(stop: Event) -> Iterator[tuple[Batch, ValidChunk]]:
        while not stop.is_set() and (batch := next(source, None)) is not None:
            if batch == Batch([]) and is_writing.is_set():
                continue  # it only says that the source is at work; the chunk being written extends the lease, too
            with collector_paused():
                done = check(reading, batch.records)
            yield batch, done

    for item in prefetched(checked, 1):
        is_writing.set()
        yield item
        is_writing.clear()


class _Pauses:
    """How many threads have paused the collector, and whether it was on before the first of them."""

    def __init__(self) -> None:
        self.lock, self.number, self.was_on = Lock(), 0, True


_pauses = _Pauses()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without Python's search for cycles: a chunk makes 300,000 objects and no cycle. 8 % of a load's client CPU.

    It is one switch for all threads, so the last one to end its pause turns it on again.
    """
    with _pauses.lock:
        if _pauses.number == 0:
            _pauses.was_on = gc.isenabled()
            gc.disable()
        _pauses.number += 1
    try:
        yield
    finally:
        with _pauses.lock:
            _pauses.number -= 1
            if _pauses.number == 0 and _pauses.was_on:
                gc.enable()
