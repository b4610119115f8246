"""Pages to chunks, and one chunk to Postgres in one transaction.

Here: gathering rows, what belongs into the transaction, how far the position moves with it. Not here: which pages are
read (sync.py), how rows are validated (validation/) and written (postgres/chunks.py).
"""

import gc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec
import structlog

from st_pipeline.entities.spec import DeletionSign
from st_pipeline.errors import OutOfTime, PipelineError, TransientApiError
from st_pipeline.postgres import chunks, cursors, drift, rejects, soft_deletes
from st_pipeline.protocol import Columns, Counts, Mode, Reject
from st_pipeline.servicetitan.pages import Page
from st_pipeline.streams import pending
from st_pipeline.sync import deletions
from st_pipeline.sync.context import EntityResult, EntityWork
from st_pipeline.validation.chunk import (
    ValidChunk,
    changed_records,
    is_older,
    newest_modified_on,
    readable_ids,
    validate_chunk,
)
from st_pipeline.validation.decode import RecordHead, read_head
from st_pipeline.validation.timestamps import later

log = structlog.get_logger()


class ChunkWriter:
    """Gathers pages to chunks and writes each in one transaction.

    `position`: the field of the cursor that holds the feed's token; it moves to the last page all of whose rows are
    committed. Lists have none: their order is not known, so their position moves when the walk is complete.
    `pass_began`: when the full pass began; what it shows wins over rows held before (postgres/chunks.py).
    """

    def __init__(
        self,
        work: EntityWork,
        result: EntityResult,
        *,
        position: str | None = None,
        remember_seen: bool = False,
        pass_began: datetime | None = None,
    ) -> None:
        self.work = work
        self.result = result
        self.position = position
        self.remember_seen = remember_seen
        self.pass_began = pass_began
        self._confirmed = array("q")
        self.newest_modified_on: str | None = None
        self.token: str | None = None
        self._pending: list[msgspec.Raw] = []
        self._received = 0
        self._tokens: list[tuple[int, str | None]] = []
        with work.connection.begin():
            chunks.compress_quickly(work.connection)
            self._was_empty = not chunks.holds_rows(work.connection, work.spec, work.credential_id)
            self._compare = not work.rewrite and not self._was_empty
            self._open_rejects = rejects.open_keys(work.connection, work.credential_id, work.spec.name)

    def write_all(self, pages: Iterator[Page]) -> None:
        """Write every page. Rows of a last, smaller chunk are written too, and the last page's token.

        Also when no further page comes: a tenant with slow pages would else read the same ones in each of its turns.
        """
        size, cut = self.work.settings.rows_per_chunk, Cut()
        for page in cut.short(pages):
            self.result.counts.pages += 1
            self._pending += page.records
            self._received += len(page.records)
            self._tokens.append((self._received, page.continue_from))
            if page.has_more and len(self._pending) < size:
                self._hold_on()
            while len(self._pending) >= size:
                # Copied here and not with the page: 21 MB less for a page of 5,000 invoices.
                self._write([bytes(record) for record in self._pending[:size]])
                del self._pending[:size]
        if self._pending or self._tokens:
            self._write([bytes(record) for record in self._pending])
            self._pending = []
        if cut.error is not None:
            raise cut.error

    def _hold_on(self) -> None:
        """Extend the lease, and see a stop, with a page that fills no chunk: pages may be small, empty and many."""
        with self.work.connection.begin():
            self.work.lease.extend(self.work.connection)

    def _write(self, records: list[bytes]) -> None:
        work, connection = self.work, self.work.connection
        with collector_paused(), connection.begin(), work.log.forgotten_on_rollback():
            work.lease.extend(connection)
            counts, valid = self._write_rows(records)
            committed = self.result.counts.processed + len(records)
            while self._tokens and self._tokens[0][0] <= committed:
                self.token = self._tokens.pop(0)[1] or self.token
            if self.position is not None and self.token is not None:
                save_cursor(work, **{self.position: self.token})
            self.result.counts.add(counts)
            if self._worth_a_row(counts):
                work.note_progress()
        if valid is not None:
            self.result.warnings += valid.warnings
            self.result.drift += valid.drift
            self.result.nul_records += valid.nul_records
        if records:
            work.after_chunk(work.spec.name, self.result.counts)
            figures = {"records": len(records), "created": counts.created, "updated": counts.updated}
            log.info("chunk written", tenant=work.tenant, entity=work.spec.name, rejected=counts.failed, **figures)

    def _write_rows(self, records: list[bytes]) -> tuple[Counts, ValidChunk | None]:
        """Write what is new or different, keep what fails, note what was seen."""
        work, spec, connection = self.work, self.work.spec, self.work.connection
        counts = Counts(processed=len(records))
        if not records:
            return counts, None
        if self._compare or self.remember_seen:
            heads = [read_head(record) for record in records]
            ids = readable_ids(heads)
            self.newest_modified_on = later(self.newest_modified_on, newest_modified_on(heads, records))
            if self.remember_seen:
                soft_deletes.remember_seen(connection, work.credential_id, spec.name, ids)
            if self._compare:
                records, counts.older = self._changed(records, heads, ids)
        valid = validate_chunk(spec, records)
        self.newest_modified_on = later(self.newest_modified_on, valid.newest_modified_on)
        kept = valid.records if work.settings.keeps_full_data(work.entity) else None
        rows = chunks.with_bookkeeping(valid.columns, valid.hashes, kept)
        ids = valid.ids
        with pending.noted(connection, work.credential_id, spec, ids):
            written, refused = self._write_columns(rows)
            counts.deleted = self._mark_deleted(ids, valid)
        failed = valid.rejects + [Reject(ids[index], valid.records[index], (why,)) for index, why in refused.items()]
        rejects.keep(connection, work.credential_id, spec.name, failed, work.log.id)
        passed = self._open_rejects.intersection(ids) - {ids[index] for index in refused}
        rejects.passed(connection, work.credential_id, spec.name, sorted(passed))
        new = drift.note(connection, work.credential_id, spec.name, valid.drift)
        for one in new:
            self.result.notes.append(f"seen for the first time: {one}")
            log.warning("drift", tenant=work.tenant, entity=spec.name, seen=str(one))
        self._open_rejects |= {reject.st_id for reject in failed if reject.st_id is not None}
        counts.created, counts.updated, counts.failed = written.created, written.updated, len(failed)
        counts.older += written.older
        counts.unchanged = counts.processed - counts.created - counts.updated - counts.failed
        return counts, valid

    def _changed(self, records: list[bytes], heads: list[RecordHead | None], ids: list[int]) -> tuple[list[bytes], int]:
        """The records to write, without those the table holds already, and how many of the others are too old.

        A full pass wins over what was held before it, so an older copy must not win over a version that the same pass
        has shown. Those it wrote tell so by their time; of those that needed no writing the ids are kept, 8 bytes each.
        """
        # One with a reject is looked at again: the source may be back at the version that the table holds.
        asked = [st_id for st_id in ids if st_id not in self._open_rejects]
        known = chunks.known_rows(self.work.connection, self.work.spec, self.work.credential_id, asked)
        changed, held = changed_records(self.work.spec, records, heads, known)
        if self.pass_began is None:
            return [records[index] for index in changed], 0
        self._confirmed.extend(held)
        older = [(head.id, index) for index in changed if (head := heads[index]) and is_older(head, known)]
        confirmed = {st_id for st_id, _ in older}.intersection(self._confirmed if older else ())
        refused = {index for st_id, index in older if st_id in confirmed}
        return [records[index] for index in changed if index not in refused], len(refused)

    def _write_columns(self, rows: Columns) -> tuple[Counts, dict[int, str]]:
        work = self.work
        if self._was_empty:
            first = chunks.copy_first_rows(work.connection, work.spec, work.credential_id, rows)
            if first is not None:
                return first, {}
        return chunks.upsert_or_name_the_refused(
            work.connection, work.spec, work.credential_id, rows, rewrite=work.rewrite, pass_began=self.pass_began
        )

    def _mark_deleted(self, ids: list[int], valid: ValidChunk) -> int:
        """Mark what these rows say is gone. A full pass does so at its end, from the list."""
        work, spec = self.work, self.work.spec
        if spec.deletion_sign is DeletionSign.INACTIVE:
            return deletions.mark_inactive(work, ids)
        if work.mode is not Mode.INCREMENTAL or spec.feed_path is None or not spec.has("active"):
            return 0
        flags = valid.columns["active"]
        inactive = [st_id for st_id, active in zip(ids, flags, strict=True) if active is not True]
        return deletions.mark_gone(work, inactive) if inactive else 0

    def _worth_a_row(self, counts: Counts) -> bool:
        """A poll that found nothing new leaves no row in the sync log."""
        return not self.work.quiet or self.work.log.id is not None or counts.changed > 0 or counts.failed > 0


class Cut:
    """What ended the pages before their end, if anything did."""

    error: PipelineError | None = None

    def short(self, pages: Iterator[Page]) -> Iterator[Page]:
        """The pages that came."""
        try:
            yield from pages
        except (OutOfTime, TransientApiError) as error:
            self.error = error


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without Python's search for cycles: a chunk makes 300,000 objects and no cycle. 8 % of a load's client CPU."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def save_cursor(work: EntityWork, **changes: object) -> None:
    """Set fields of the entity's cursor, as part of the caller's transaction."""
    cursors.save(work.connection, work.credential_id, work.spec.name, **changes)
