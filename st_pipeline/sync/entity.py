"""The whole path of one tenant and entity: fetch a page, validate a chunk, write it with its position, next.

Here: the three modes, what is read in each, when a position moves. Not here: any single step (servicetitan/,
validation/, postgres/), more than one entity (tenant_sync.py), deletions (deletions.py).

An entity that is several lists (entities/custom_fields.py) is as many such paths, one after the other.

Nothing lost, nothing doubled: a chunk's rows, its rejects, the position they came from, the figures and the lease are
one transaction. A run that dies between two chunks is continued by the next one from the last committed position.
"""

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from st_pipeline.errors import CursorRejected, PipelineError, without_frames
from st_pipeline.postgres import cursors, soft_deletes
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.database import database_errors
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.pages import iter_feed, iter_list
from st_pipeline.sync import deletions
from st_pipeline.sync.batches import ChunkWriter, save_cursor
from st_pipeline.sync.context import EntityResult, EntityWork
from st_pipeline.validation.timestamps import later, parse_timestamp

log = structlog.get_logger()
EARLIEST = datetime.min.replace(tzinfo=UTC)  # also what .NET writes for "no date"


def sync_entity(work: EntityWork) -> EntityResult:
    """Sync one tenant and entity, from where the last sync left it.

    Raises the errors of st_pipeline.errors; what was committed before stays, with the position it belongs to.
    """
    started = time.monotonic()
    if work.spec.lists:
        _read_lists(work)
        work.result.seconds = time.monotonic() - started
        return work.result
    with database_errors(work.doing):
        with work.connection.begin():
            cursor = cursors.load(work.connection, work.credential_id, work.spec.name)
            work.result.began_at = cursors.now(work.connection)
        work.mode = cursor.mode_for(work.mode)
        if cursor.last_full_at is None:
            work.allow_deletions = True  # nothing of ours can be lost before a full pass has ended
        result = work.result
        result.mode, result.cursor_before = work.mode, cursor.value
        READ[work.mode](work, cursor, result)
        if result.counts.older:
            next_step = "the next poll settles it" if work.mode is Mode.FULL else "if that is wrong, sync it in full"
            result.notes.append(
                f"{result.counts.older} records not written: the table has a newer version; {next_step}"
            )
        if work.mode is not Mode.FULL:  # which has asked the guard about all that is gone
            deletions.refuse_withheld(work)
        with work.connection.begin():
            result.cursor_after = cursors.load(work.connection, work.credential_id, work.spec.name).value
    result.seconds = time.monotonic() - started
    return result


def _read_lists(work: EntityWork) -> None:
    """Each list on its own, so that one that is refused costs none of the others.

    Raises the first error after all were tried; it names its list. The entity counts as read when every list was.
    """
    result = work.result
    failed: list[PipelineError] = []
    with database_errors(work.doing), work.connection.begin():
        result.began_at = cursors.now(work.connection)
    for spec in work.spec.lists:
        part = dataclasses.replace(work, spec=spec, whole=result)
        try:
            sync_entity(part)
        except PipelineError as error:
            if error.ends_tenant:
                raise
            failed.append(without_frames(error))
        finally:
            result.add(part.result)
    if failed:
        result.notes.append(f"{len(work.spec.lists) - len(failed)} of {len(work.spec.lists)} lists were read")
        result.notes += [str(error) for error in failed[1:]]
        raise failed[0]
    if work.mode is Mode.WINDOW:
        return
    with database_errors(work.doing), work.connection.begin():
        work.lease.extend(work.connection)
        read = [cursors.load(work.connection, work.credential_id, spec.name) for spec in work.spec.lists]
        lagging = {name: min(getattr(cursor, name) for cursor in read) for name in ("complete_through", "last_full_at")}
        save_cursor(work, last_polled_at="now", **lagging)


def _read_full(work: EntityWork, cursor: Cursor, result: EntityResult) -> None:
    """Everything from the start, on a position of its own; then what the list no longer shows is marked."""
    spec = work.spec
    start, began = None, result.began_at
    if cursor.full_started_at is not None:
        # A list is not resumed: rows deleted meanwhile shift the pages, and what moved up would be skipped. Nor is a
        # pass that left rows as they were which this one writes again.
        resumes = spec.feed_path is not None and not work.rewrite and cursor.full_spec_version == spec.version
        if resumes:
            start, began = cursor.full_continue_from, cursor.full_started_at
        work.rewrite = work.rewrite or cursor.full_rewrites  # whoever finishes a rewriting pass rewrites, too
        result.notes.append(f"{'went on with' if resumes else 'began again'} a full pass that had not finished")
    with work.connection.begin():
        work.lease.extend(work.connection)
        # Also when resumed: what the list showed before the kill may be gone by now, and must not be unmarked for it.
        soft_deletes.forget_seen(work.connection, work.credential_id, spec.name)
        pass_writes = {"full_spec_version": spec.version, "full_rewrites": work.rewrite}
        save_cursor(work, full_started_at=began, full_continue_from=start, **pass_writes)
    if spec.feed_path is None:
        writer = ChunkWriter(work, result, remember_seen=True, pass_began=began)
        writer.write_all(iter_list(work.client, spec, prefetch=work.settings.prefetch_pages, complete=True))
    else:
        writer = ChunkWriter(work, result, position="full_continue_from", pass_began=began)
        _write_feed(work, writer, result, start=start, restart=None)
    with work.connection.begin():
        work.lease.extend(work.connection)
        newest = later(cursor.newest_modified_on, writer.newest_modified_on)
        save_cursor(work, newest_modified_on=newest, last_polled_at="now")
        if writer.token is not None:
            save_cursor(work, continue_from=writer.token)
    deletions.settle(work, result)


def _read_incremental(work: EntityWork, cursor: Cursor, result: EntityResult) -> None:
    """What changed since the stored position."""
    spec = work.spec
    since = _looking_back(cursor, work.settings.lookback_minutes)
    if spec.feed_path is None:
        writer = ChunkWriter(work, result)
        pages = iter_list(work.client, spec, modified_from=since, prefetch=work.settings.prefetch_pages, complete=True)
        writer.write_all(pages)
    else:
        writer = ChunkWriter(work, result, position="continue_from")
        _write_feed(work, writer, result, start=cursor.continue_from or since, restart=since)
    with work.connection.begin():
        work.lease.extend(work.connection)
        newest = later(cursor.newest_modified_on, writer.newest_modified_on)
        save_cursor(work, newest_modified_on=newest, last_polled_at="now")
        if not result.withheld:
            save_cursor(work, complete_through=result.began_at)


def _write_feed(
    work: EntityWork, writer: ChunkWriter, result: EntityResult, *, start: str | None, restart: str | None
) -> None:
    """Write a feed from `start`; where its token is refused, from `restart`, which overlaps what is there already."""
    prefetch = work.settings.prefetch_pages
    try:
        writer.write_all(iter_feed(work.client, work.spec, start=start, prefetch=prefetch))
    except CursorRejected:
        if start == restart:
            raise
        result.notes.append(f"the stored feed token was refused; read again from {restart or 'the beginning'}")
        log.warning("feed token refused", tenant=work.tenant, entity=work.spec.name, restart_from=restart)
        writer.write_all(iter_feed(work.client, work.spec, start=restart, prefetch=prefetch))


def _read_window(work: EntityWork, _cursor: Cursor, result: EntityResult) -> None:
    """A range of modification times. No position moves; nothing is marked but contacts that show as inactive."""
    start, end = _timestamp(work.window.start), _timestamp(work.window.end)
    prefetch = work.settings.prefetch_pages
    if any(column.feed_only for column in work.spec.columns):
        # A list would lose what only the feed shows. It has no upper bound: what is newer is read too, and is true.
        pages = iter_feed(work.client, work.spec, start=start, prefetch=prefetch)
    else:
        pages = iter_list(
            work.client, work.spec, modified_from=start, modified_before=end, prefetch=prefetch, complete=True
        )
    ChunkWriter(work, result).write_all(pages)


READ = {Mode.FULL: _read_full, Mode.INCREMENTAL: _read_incremental, Mode.WINDOW: _read_window}


def _timestamp(value: datetime | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode().strip('"')


def _looking_back(cursor: Cursor, minutes: float) -> str | None:
    """The time to read from again: inclusive, and a while before the newest record seen. None: from the beginning.

    No later than the last complete read began: one record dated in the future would hide all that follow it.
    """
    if cursor.newest_modified_on is None:
        return None
    newest = parse_timestamp(cursor.newest_modified_on)
    if cursor.complete_through is not None:
        newest = min(newest, cursor.complete_through)
    back = timedelta(minutes=minutes)
    return _timestamp(newest - back) if newest > EARLIEST + back else None
