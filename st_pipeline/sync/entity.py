"""The whole path of one tenant and entity: fetch pages, gather batches, prepare a chunk, write it, next.

Here: the three modes, what is read in each, when a cursor moves. Not here: any single step (batches.py, prepare.py,
deletions.py, postgres/), more than one entity (tenant.py).

An entity that is several lists is as many such paths, one after the other.

Nothing lost, nothing doubled: a chunk's rows, its rejects, the cursor they came from, the figures and the lease are one
transaction. A run that dies between two chunks is continued by the next one from the last committed cursor.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial

import structlog

from st_pipeline.errors import CursorRejected, PipelineError, without_frames
from st_pipeline.postgres import cursors, soft_deletes
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.write_chunk import write_chunk
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.pages import BegunRead, Page, iter_feed, iter_list
from st_pipeline.sync import deletions, totals, whole_reads
from st_pipeline.sync.batches import Batch, batches
from st_pipeline.sync.context import EntityContext, EntityResult
from st_pipeline.sync.looking_back import as_parameter, looking_back
from st_pipeline.sync.prepare import Reading, checked_ahead, collector_paused, prepare_chunk
from st_pipeline.validation.chunk import ValidChunk
from st_pipeline.validation.timestamps import later, written

log = structlog.get_logger()


def sync_entity(context: EntityContext) -> EntityResult:
    """Sync one tenant and entity, from where the last sync left it.

    Raises the errors of st_pipeline.errors; what was committed before stays, with the cursor it belongs to.
    """
    started = time.monotonic()
    if context.spec.lists:
        _read_lists(context)
        context.result.seconds = time.monotonic() - started
        return context.result
    with database_errors(context.doing):
        with context.connection.begin():
            cursor = cursors.load(context.connection, context.credential_id, context.spec.name)
            looked = context.looked_at(cursor)
            context.result.began_at = looked.began_at if looked else cursors.now(context.connection)
        context.mode = cursor.mode_for(context.mode)
        if cursor.last_full_at is None:
            context.allow_deletions = True  # nothing of ours can be lost before a full sync has ended
        result = context.result
        result.mode, result.cursor_before = context.mode, cursor.value
        if looked is not None and looked.error is not None:
            raise looked.error
        if not _is_complete_by_its_total(context, cursor, result):
            READ[context.mode](context, cursor, result)
        if result.counts.older:
            next_step = "the next poll settles it" if context.mode is Mode.FULL else "if that is wrong, sync it in full"
            result.notes.append(
                f"{result.counts.older} records not written: the table has a newer version; {next_step}"
            )
        if context.mode is not Mode.FULL:  # which has asked the guard about all that is gone
            deletions.refuse_withheld(context)
        with context.connection.begin():
            result.cursor_after = cursors.load(context.connection, context.credential_id, context.spec.name).value
    result.seconds = time.monotonic() - started
    return result


def _read_lists(context: EntityContext) -> None:
    """Each list on its own, so that one that is refused costs none of the others.

    Raises the first error after all were tried; it names its list. The entity counts as read when every list was.
    """
    result = context.result
    failed: list[PipelineError] = []
    with database_errors(context.doing), context.connection.begin():
        result.began_at = cursors.now(context.connection)
    for spec in context.spec.lists:
        part = dataclasses.replace(context, spec=spec, whole=result)
        try:
            sync_entity(part)
        except PipelineError as error:
            if error.ends_tenant:
                raise
            failed.append(without_frames(error))
        finally:
            result.add(part.result)
    if failed:
        result.notes.append(f"{len(context.spec.lists) - len(failed)} of {len(context.spec.lists)} lists were read")
        result.notes += [str(error) for error in failed[1:]]
        raise failed[0]
    if context.mode is Mode.WINDOW:
        return
    with database_errors(context.doing), context.connection.begin():
        context.lease.extend(context.connection)
        read = [cursors.load(context.connection, context.credential_id, spec.name) for spec in context.spec.lists]
        lagging = {name: min(getattr(cursor, name) for cursor in read) for name in ("complete_through", "last_full_at")}
        _save_cursor(context, last_polled_at=cursors.NOW, **lagging)


def _read_full(context: EntityContext, cursor: Cursor, result: EntityResult) -> None:
    """Full sync with a cursor of its own, then soft-delete what is missing."""
    spec = context.spec
    start, began = None, result.began_at
    if cursor.full_started_at is not None:
        # A list is not resumed: rows deleted meanwhile shift the pages, and what moved up would be skipped. Nor is a
        # pass that left rows as they were which this one writes again.
        resumes = not spec.is_read_from_list and not context.rewrite and cursor.full_spec_version == spec.version
        if resumes:
            start, began = cursor.full_continue_from, cursor.full_started_at
        context.rewrite = context.rewrite or cursor.full_rewrites  # whoever finishes a rewriting pass rewrites, too
        result.notes.append(f"{'continued' if resumes else 'restarted'} a full sync that had not finished")
    with context.connection.begin():
        context.lease.extend(context.connection)
        # Also when resumed: what the list showed before the kill may be gone by now, and must not be unmarked for it.
        soft_deletes.forget_seen(context.connection, context.credential_id, spec.name)
        pass_writes = {"full_spec_version": spec.version, "full_rewrites": context.rewrite}
        _save_cursor(context, full_started_at=began, full_continue_from=start, **pass_writes)
    if spec.is_read_from_list:
        token = _token_of_feed(context, began) if spec.feed_path is not None and not cursor.continue_from else None
        reading = Reading(context, remember_seen=True, pass_began=began)
        write_pages(reading, iter_list(context.client, spec, prefetch=context.settings.prefetch_pages, complete=True))
        reading.token = token
    else:
        reading = Reading(context, cursor_field="full_continue_from", pass_began=began)
        _write_feed(reading, start=start, restart=None)
    newest = later(cursor.newest_modified_on, reading.newest_modified_on)
    with context.connection.begin():
        context.lease.extend(context.connection)
        moved = {} if reading.token is None else {"continue_from": reading.token}
        _save_cursor(context, newest_modified_on=newest, last_polled_at=cursors.NOW, **moved)
    deletions.finish_full_sync(context, result, began, is_first=cursor.last_full_at is None)


def _token_of_feed(context: EntityContext, began: datetime | None) -> str | None:
    """Before the first read of a list that has a feed, too: the token from which polls will read that feed.

    What it brings is not written: the list shows it, and tells the deleted from the inactive.
    """
    start = None if began is None else written(began - timedelta(minutes=context.settings.lookback_minutes))
    token = None
    for page in iter_feed(context.client, context.spec, start=start, prefetch=0):
        token = page.continue_from
    return token


def _is_complete_by_its_total(context: EntityContext, cursor: Cursor, result: EntityResult) -> bool:
    """In a night between two whole reads: read what changed, then compare the list's total with what is held.

    False: everything is to be read, as it is this entity's night, or the numbers differ.
    """
    night, nights = context.night, context.settings.whole_read_nights
    if context.mode is not Mode.FULL or night is None or context.rewrite:
        return False
    if whole_reads.is_due(context.tenant, context.spec, cursor, night, nights):
        return False
    context.mode = result.mode = Mode.INCREMENTAL
    _read_incremental(context, cursor, result)
    compared = totals.compare(context, trusts_flag=True)
    if compared.agrees and not result.withheld:
        return True
    result.notes.append(f"{compared}: everything was read")
    context.mode = result.mode = Mode.FULL
    return False


def _read_incremental(context: EntityContext, cursor: Cursor, result: EntityResult) -> None:
    """What changed since the stored cursor."""
    spec = context.spec
    since = looking_back(cursor, context.settings.lookback_minutes)
    looked = context.looked_at(cursor)
    begun = looked.begun if looked else None
    if spec.feed_path is None:
        reading, ahead = Reading(context), context.settings.prefetch_pages
        whole = partial(iter_list, context.client, spec, modified_from=since, prefetch=ahead, complete=True)
        write_pages(reading, begun.pages(ahead) if begun else whole())
    else:
        reading = Reading(context, cursor_field="continue_from")
        _write_feed(reading, start=cursor.continue_from or since, restart=since, begun=begun)
    newest = later(cursor.newest_modified_on, reading.newest_modified_on)
    with context.connection.begin():
        context.lease.extend(context.connection)
        complete = {} if result.withheld else {"complete_through": result.began_at}
        _save_cursor(context, newest_modified_on=newest, last_polled_at=cursors.NOW, **complete)


def _write_feed(reading: Reading, *, start: str | None, restart: str | None, begun: BegunRead | None = None) -> None:
    """Write a feed from `start`; where its token is refused, from `restart`, which overlaps what is there already.

    `begun`: the read from `start`, where a look has its first page already.
    """
    context = reading.context
    prefetch = context.settings.prefetch_pages
    try:
        from_start = partial(iter_feed, context.client, context.spec, start=start, prefetch=prefetch)
        write_pages(reading, begun.pages(prefetch) if begun else from_start())
    except CursorRejected:
        if start == restart:
            raise
        context.result.notes.append(f"the stored feed token was refused; read again from {restart or 'the beginning'}")
        log.warning("feed token refused", tenant=context.tenant, entity=context.spec.name, restart_from=restart)
        write_pages(reading, iter_feed(context.client, context.spec, start=restart, prefetch=prefetch))


def write_pages(reading: Reading, pages: Iterator[Page]) -> None:
    """The road of every record: gather a batch, prepare a chunk, write it."""
    source = batches(pages, reading.context.settings.rows_per_chunk)
    with closing(checked_ahead(reading, source)) as ready:  # an error must not leave its thread at work
        for batch, checked in ready:
            write_batch(reading, batch, checked)


def write_batch(reading: Reading, batch: Batch, checked: ValidChunk | None = None) -> None:
    """Prepare a batch and write it."""
    context, name = reading.context, reading.context.spec.name
    with collector_paused():
        chunk = prepare_chunk(reading, batch, checked)
        written = write_chunk(context.connection, context.lease, chunk, context.log)
    reading.note(batch, chunk, written)
    for one in written.new_drift:
        log.warning("drift", tenant=context.tenant, entity=name, seen=str(one))
    if batch.records:
        counts = written.counts
        context.after_chunk(name, context.result.counts)
        figures = {"records": counts.processed, "created": counts.created, "updated": counts.updated}
        log.info("chunk written", tenant=context.tenant, entity=name, rejected=counts.failed, **figures)


def _read_window(context: EntityContext, _cursor: Cursor, _result: EntityResult) -> None:
    """A range of modification times. No cursor moves; nothing is marked but contacts that show as inactive."""
    start, end = as_parameter(context.window.start), as_parameter(context.window.end)
    prefetch = context.settings.prefetch_pages
    if any(column.feed_only for column in context.spec.columns):
        # A list would lose what only the feed shows. It has no upper bound: what is newer is read too, and is true.
        pages = iter_feed(context.client, context.spec, start=start, prefetch=prefetch)
    else:
        pages = iter_list(
            context.client, context.spec, modified_from=start, modified_before=end, prefetch=prefetch, complete=True
        )
    write_pages(Reading(context), pages)


READ = {Mode.FULL: _read_full, Mode.INCREMENTAL: _read_incremental, Mode.WINDOW: _read_window}


def _save_cursor(context: EntityContext, **changes: object) -> None:
    """Set fields of the entity's cursor, as part of the caller's transaction."""
    cursors.save(context.connection, context.credential_id, context.spec.name, **changes)
