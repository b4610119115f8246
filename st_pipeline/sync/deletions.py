"""Which records are gone at the source, and the end of a full sync, which soft-deletes what is missing.

Here: asking for candidates by id, reading the list for ids, the guard. Not here: the marks themselves (postgres/),
reading records (entity.py), the list's total (totals.py).

ServiceTitan: a feed repeats deleted records, as inactive ones. Looking those up by id tells who is gone, and the total
of the list whether anybody else is; only then the list is read for its ids. Its pages shift while they are read, so
what it did not show is asked for by id before it is marked.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from st_pipeline.entities.spec import DeletionSign
from st_pipeline.errors import DeletionRefused, ServiceUnavailable
from st_pipeline.postgres import cursors, soft_deletes, stream_pending
from st_pipeline.protocol import DeletionGuard, Mode
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.servicetitan.pages import IDS_PER_REQUEST, fetch_by_ids, iter_list
from st_pipeline.streams import streams_of
from st_pipeline.sync import totals
from st_pipeline.sync.context import EntityContext, EntityResult
from st_pipeline.validation.chunk import ValidChunk
from st_pipeline.validation.decode import read_id

# Below this many rows a share says little: 1 of 3 membership types may well be deleted.
ROWS_THE_GUARD_LETS_PASS = 10


def finish_full_sync(context: EntityContext, result: EntityResult, began: datetime | None, *, is_first: bool) -> None:
    """Mark rows that the source no longer has, unmark those that it has again, and save that the full sync is over.

    `began`: when it began, also where this is its second part. `is_first`: no full sync of the entity ended before.
    Raises DeletionRefused when more would be marked than the guard allows; the full sync is over, nothing is marked.
    """
    spec, of = context.spec, context.credential_id
    found = None if spec.is_read_from_list else _looked_up(context, result, began, is_first=is_first)
    if found is None:
        candidates = _absent(context)
        _guard(context, len(candidates))
        found = Found(gone=_confirmed(context, candidates))
    else:
        _guard(context, len(found.gone))
    with context.connection.begin():
        context.lease.extend(context.connection)
        soft_deletes.unmark(context.connection, spec, of, found.back)
        returned = [*found.back, *soft_deletes.unmark_returned(context.connection, spec, of)]
        deleted = soft_deletes.mark_deleted(context.connection, spec, of, found.gone)
        result.counts.deleted += deleted
        streams = stream_pending.begun(context.connection, of, streams_of(spec.name))
        stream_pending.put_keys_of(context.connection, of, spec, streams, [*returned, *found.gone])
        soft_deletes.forget_seen(context.connection, of, spec.name)
        _close_pass(context, last_full_at=cursors.NOW, complete_through=result.began_at)
        if deleted or returned:
            counts = context.counts_so_far()
            context.log.progress(context.connection, context.entity, context.mode, counts, result.cursor_before)
    if returned:
        result.notes.append(f"{len(returned)} records that were gone are back")


@dataclass(frozen=True, slots=True)
class Found:
    """Rows to mark as deleted, and rows to unmark."""

    gone: Sequence[int]
    back: Sequence[int] = ()


def _looked_up(context: EntityContext, result: EntityResult, began: datetime | None, *, is_first: bool) -> Found | None:
    """After a feed was read whole: who is gone, by look-ups of what it showed as inactive, and by the list's total.

    None when the total says otherwise: then the list has been read for its ids, and absence from it decides.
    """
    spec, of = context.spec, context.credential_id
    gone: list[int] = []
    back: list[int] = []
    if spec.deletion_sign is DeletionSign.ABSENT:
        with context.connection.begin():
            asked, marked = soft_deletes.inactive_rows(context.connection, spec, of, began)
        missing = set(_not_found_by_id(context, asked))
        gone, back = sorted(missing - marked), sorted(marked - missing)
    compared = totals.compare(context, gone=len(gone), back=len(back), trusts_flag=is_first)
    if compared.agrees:
        return Found(gone, back)
    if compared.differs:
        result.notes.append(f"{compared}: the list was read for its ids")
    _walk_list(context)
    return None


def mark_looked_up(context: EntityContext, gone: Sequence[int], back: Sequence[int]) -> None:
    """Outside a full sync: mark rows that the source no longer has, unmark those that it shows.

    Raises DeletionRefused when more would be marked than the guard allows; then nothing is marked or unmarked.
    """
    spec, of = context.spec, context.credential_id
    with context.connection.begin():
        live = soft_deletes.refused_by(context.connection, spec, of, guard_of(context), len(gone))
    if live is not None:
        raise _refused(context, len(gone), live)
    with context.connection.begin():
        context.lease.extend(context.connection)
        soft_deletes.unmark(context.connection, spec, of, back)
        context.result.counts.deleted += soft_deletes.mark_deleted(context.connection, spec, of, gone)
        streams = stream_pending.begun(context.connection, of, streams_of(spec.name))
        stream_pending.put_keys_of(context.connection, of, spec, streams, [*gone, *back])
        context.log.progress(context.connection, context.entity, context.mode, context.counts_so_far(), None)


def look_up_inactive(context: EntityContext, valid: ValidChunk) -> tuple[list[int], list[int]]:
    """Of a chunk's records that a feed shows as inactive: those that the source no longer knows by id, and the others.

    ServiceTitan: a feed repeats deleted records as inactive ones, so an incremental sync learns of deletions too. Most
    that turn inactive still exist; asking takes one request for 50 of them. A full sync asks at its end, all at once;
    and where a list cannot be asked by ids, only that list tells.
    """
    spec, settings = context.spec, context.settings
    is_asked = spec.feed_path is not None and spec.ids_param and spec.has("active")
    if context.mode is not Mode.INCREMENTAL or not is_asked or spec.deletion_sign is DeletionSign.INACTIVE:
        return [], []
    inactive = [st_id for st_id, active in zip(valid.ids, valid.columns["active"], strict=True) if active is not True]
    if not inactive:
        return [], []
    seconds = settings.request_timeout_seconds * settings.max_attempts
    limit = f"the look-ups of one chunk may take {seconds:g} s"
    gone = _not_found_by_id(context, inactive, Deadline(clock=context.clock).within(seconds, limit))
    return gone, sorted({*inactive} - {*gone})


def guard_of(context: EntityContext) -> DeletionGuard | None:
    """What keeps a sync from marking too many rows; None where a person allowed it, or nothing can be lost yet."""
    if context.allow_deletions:
        return None
    result = context.result
    share = context.settings.deletion_guard_share
    return DeletionGuard(share, ROWS_THE_GUARD_LETS_PASS, marked=result.counts.deleted, withheld=result.withheld)


def refuse_withheld(context: EntityContext) -> None:
    """At the end of a sync that is not full: raise DeletionRefused when the guard kept its chunks from marking rows."""
    if context.result.withheld:
        with context.connection.begin():
            live = soft_deletes.live_rows(context.connection, context.spec, context.credential_id)
        raise _refused(context, context.result.withheld, live)


def _not_found_by_id(context: EntityContext, ids: Sequence[int], deadline: Deadline = NO_DEADLINE) -> list[int]:
    """The ids that the source does not know. Between requests the lease is extended: 2,000 ids are forty of them."""
    there: set[int | None] = set()
    for start in range(0, len(ids), IDS_PER_REQUEST):
        if start:
            if deadline.has_passed:
                raise ServiceUnavailable(
                    f"{context.doing}: {start} of {len(ids)} inactive records were looked up by id when the time was "
                    f"up, as {deadline.limit}; their chunk is not written, and the next sync reads it again"
                )
            context.hold()
        found = fetch_by_ids(context.client, context.spec, ids[start : start + IDS_PER_REQUEST])
        there.update(read_id(bytes(record)) for record in found)
    return [st_id for st_id in ids if st_id not in there]


def _walk_list(context: EntityContext) -> None:
    """Note every id the list shows, page by page. A walk that was cut off starts again: what it saw may be gone."""
    for page in iter_list(context.client, context.spec, prefetch=context.settings.prefetch_pages):
        ids = [st_id for record in page.records if (st_id := read_id(bytes(record))) is not None]
        with context.connection.begin():
            context.lease.extend(context.connection)
            soft_deletes.remember_seen(context.connection, context.credential_id, context.spec.name, ids)


def _absent(context: EntityContext) -> list[int]:
    with context.connection.begin():
        return soft_deletes.absent_ids(context.connection, context.spec, context.credential_id)


def _guard(context: EntityContext, candidates: int) -> None:
    guard = guard_of(context)
    if guard is None:
        return
    guard = dataclasses.replace(guard, withheld=0)  # what it kept the chunks from marking is among the candidates
    with context.connection.begin():
        live = soft_deletes.refused_by(context.connection, context.spec, context.credential_id, guard, candidates)
    if live is None:
        return
    with context.connection.begin():
        context.lease.extend(context.connection)
        soft_deletes.forget_seen(context.connection, context.credential_id, context.spec.name)
        _close_pass(context)
    raise _refused(context, candidates, live)


def _refused(context: EntityContext, gone: int, live: int) -> DeletionRefused:
    return DeletionRefused(
        f"{context.doing}: {gone} of {live} rows are gone at the source, more than the "
        f"{context.settings.deletion_guard_share:.0%} that are marked without a person's word; none was marked. "
        "If that is right, run a full sync that allows deletions"
    )


def _confirmed(context: EntityContext, candidates: list[int]) -> list[int]:
    """The candidates that the source does not know by id either."""
    if not candidates:
        return []
    if context.spec.ids_param:
        return _not_found_by_id(context, candidates)
    _walk_list(context)
    still_absent = set(_absent(context))
    return [st_id for st_id in candidates if st_id in still_absent]


def _close_pass(context: EntityContext, **changes: object) -> None:
    cursors.save(
        context.connection,
        context.credential_id,
        context.spec.name,
        full_started_at=None,
        full_continue_from=None,
        **changes,
    )
