"""Which records are gone at the source, and marking them.

Here: the last part of a full pass (walking the list for ids, asking again for candidates, the guard), and what an
incremental sync learns from a feed. Not here: the marks themselves
(postgres/presence.py), reading records (sync.py).

ServiceTitan: feeds repeat deleted records, so only a complete walk of the list shows absence; and pages shift while
they are read, so what the walk missed is asked for by id before it is marked.
"""

from st_pipeline.errors import DeletionRefused
from st_pipeline.postgres import cursors, soft_deletes
from st_pipeline.servicetitan.pages import fetch_by_ids, iter_list
from st_pipeline.streams import pending
from st_pipeline.sync.context import EntityResult, EntityWork
from st_pipeline.validation.decode import read_id

# Below this many rows a share says little: 1 of 3 membership types may well be deleted.
ROWS_THE_GUARD_LETS_PASS = 10


def settle(work: EntityWork, result: EntityResult) -> None:
    """Finish a full pass: mark rows the source no longer has, unmark those it has again.

    Raises DeletionRefused when more would be marked than the guard allows; the pass is then over, nothing is marked.
    """
    if work.spec.feed_path is not None:
        _walk_list(work)
    candidates = _absent(work)
    _guard(work, len(candidates))
    gone = _confirmed(work, candidates)
    with work.connection.begin():
        work.lease.extend(work.connection)
        returned = soft_deletes.unmark_returned(work.connection, work.spec, work.credential_id)
        deleted = soft_deletes.mark_deleted(work.connection, work.spec, work.credential_id, gone)
        result.counts.deleted += deleted
        pending.note(work.connection, work.credential_id, work.spec, [*returned, *gone])
        soft_deletes.forget_seen(work.connection, work.credential_id, work.spec.name)
        _close_pass(work, last_full_at="now", complete_through=result.began_at)
        if deleted or returned:
            work.note_progress()
    if returned:
        result.notes.append(f"{len(returned)} records that were gone are back")


def mark_inactive(work: EntityWork, ids: list[int]) -> int:
    """Within a chunk's transaction: mark those of its rows that are inactive, which here means removed."""
    gone = soft_deletes.unmarked(work.connection, work.spec, work.credential_id, ids, inactive=True)
    return _mark_within_guard(work, gone)


def mark_gone(work: EntityWork, inactive_ids: list[int]) -> int:
    """Within a chunk's transaction: of rows that a feed shows as inactive, mark those the source no longer knows by id.

    One that it does know is unmarked: it was gone, and is back as it was.

    ServiceTitan: a feed repeats deleted records as inactive ones, so an incremental sync learns of deletions too. Most
    rows that turn inactive still exist; asking takes one request for 50 of them. Where a list cannot be asked by ids,
    only a full pass tells. Returns how many were marked.
    """
    if not work.spec.ids_param:
        return 0
    gone = _not_found_by_id(work, inactive_ids)
    soft_deletes.unmark(work.connection, work.spec, work.credential_id, sorted({*inactive_ids} - {*gone}))
    return _mark_within_guard(work, soft_deletes.unmarked(work.connection, work.spec, work.credential_id, gone))


def _mark_within_guard(work: EntityWork, gone: list[int]) -> int:
    """Mark these rows, unless the sync's chunks would then have marked more than the guard allows.

    Withheld rows are written all the same and the position moves on, so that nothing stands still: the next full pass
    finds them again and decides.
    """
    marked = work.result.counts.deleted
    found = marked + work.result.withheld + len(gone)
    # Few are marked whatever their share, and the rows need not be counted for them.
    if not work.allow_deletions and found > ROWS_THE_GUARD_LETS_PASS:
        live = soft_deletes.live_rows(work.connection, work.spec, work.credential_id)
        if found > _allowed(work, marked + live):
            work.result.withheld += len(gone)
            return 0
    return soft_deletes.mark_deleted(work.connection, work.spec, work.credential_id, gone)


def refuse_withheld(work: EntityWork) -> None:
    """At the end of a sync that is not full: raise DeletionRefused when the guard kept its chunks from marking rows."""
    if work.result.withheld:
        with work.connection.begin():
            live = soft_deletes.live_rows(work.connection, work.spec, work.credential_id)
        raise _refused(work, work.result.withheld, live)


def _not_found_by_id(work: EntityWork, ids: list[int]) -> list[int]:
    found = fetch_by_ids(work.client, work.spec, ids)
    there = {st_id for record in found if (st_id := read_id(bytes(record))) is not None}
    return [st_id for st_id in ids if st_id not in there]


def _walk_list(work: EntityWork) -> None:
    """Note every id the list shows, page by page. A walk that was cut off starts again: what it saw may be gone."""
    for page in iter_list(work.client, work.spec, prefetch=work.settings.prefetch_pages):
        ids = [st_id for record in page.records if (st_id := read_id(bytes(record))) is not None]
        with work.connection.begin():
            work.lease.extend(work.connection)
            soft_deletes.remember_seen(work.connection, work.credential_id, work.spec.name, ids)


def _absent(work: EntityWork) -> list[int]:
    with work.connection.begin():
        return soft_deletes.absent_ids(work.connection, work.spec, work.credential_id)


def _guard(work: EntityWork, candidates: int) -> None:
    with work.connection.begin():
        live = soft_deletes.live_rows(work.connection, work.spec, work.credential_id)
    marked = work.result.counts.deleted  # by the pass's chunks, where the feed's flag says so
    if work.allow_deletions or marked + candidates <= _allowed(work, marked + live):
        return
    with work.connection.begin():
        work.lease.extend(work.connection)
        soft_deletes.forget_seen(work.connection, work.credential_id, work.spec.name)
        _close_pass(work)
    raise _refused(work, candidates, live)


def _allowed(work: EntityWork, live: int) -> float:
    """How many rows a sync may mark without a person's word."""
    return max(ROWS_THE_GUARD_LETS_PASS, live * work.settings.deletion_guard_share)


def _refused(work: EntityWork, gone: int, live: int) -> DeletionRefused:
    return DeletionRefused(
        f"{work.doing}: {gone} of {live} rows are gone at the source, more than the "
        f"{work.settings.deletion_guard_share:.0%} that are marked without a person's word; none was marked. "
        "If that is right, run a full sync that allows deletions"
    )


def _confirmed(work: EntityWork, candidates: list[int]) -> list[int]:
    """The candidates that the source does not know by id either."""
    if not candidates:
        return []
    if work.spec.ids_param:
        return _not_found_by_id(work, candidates)
    _walk_list(work)
    still_absent = set(_absent(work))
    return [st_id for st_id in candidates if st_id in still_absent]


def _close_pass(work: EntityWork, **changes: object) -> None:
    cursors.save(
        work.connection,
        work.credential_id,
        work.spec.name,
        full_started_at=None,
        full_continue_from=None,
        **changes,
    )
