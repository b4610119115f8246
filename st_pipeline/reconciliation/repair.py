"""Repair: fetch exactly the records that differ, and write them as a sync would.

Here: fetching them under the tenant's lease, from where a record has all its columns. Not here: which records differ
(entity.py), preparing and writing a chunk (sync/, postgres/), comparing again.

Killed anywhere, it has written whole chunks or nothing; what is left differs still and is found again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import cursors
from st_pipeline.reconciliation.entity import Comparison
from st_pipeline.reconciliation.findings import Difference
from st_pipeline.reconciliation.records import MARKED
from st_pipeline.reconciliation.source import ids_of, is_gone, params
from st_pipeline.servicetitan.pages import begin_feed, fetch_by_ids, iter_list
from st_pipeline.sync import deletions
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext, EntityResult
from st_pipeline.sync.entity import write_batch
from st_pipeline.sync.leased_work import LeasedWork
from st_pipeline.sync.looking_back import as_parameter
from st_pipeline.sync.prepare import Reading
from st_pipeline.validation.decode import read_id

Records = Sequence[msgspec.Raw]
FETCHED_AT_ONCE = 500  # by id, ten requests: what is fetched is written before more is


def repair(work: LeasedWork, comparison: Comparison) -> None:
    """Write what differs anew and mark what is gone.

    Under the lease they are looked up once more, as a sync may have run since. Raises DeletionRefused and the errors of
    requests; what was written before stays.
    """
    still = comparison.look_again(comparison.finding.left)
    context = _context(work, comparison)
    absent = [one.st_id for one in still if is_gone(one)]
    there = [one for one in still if not is_gone(one)]
    with work.connection.begin():
        began = cursors.now(work.connection)
    for records in _fetched(comparison, there):
        # As a full sync writes: also over a row that has the same fingerprint, or a later date than its record.
        reading = Reading(context, pass_began=began)
        for start in range(0, len(records), work.settings.rows_per_chunk):
            chunk = [bytes(one) for one in records[start : start + work.settings.rows_per_chunk]]
            write_batch(reading, Batch(chunk, pages=1))
    back = [one.st_id for one in there if MARKED in one.fields]
    if absent or back:
        deletions.mark_looked_up(context, absent, back)
    if work.log.id is not None:
        with work.connection.begin():
            work.log.entity_ended(work.connection, context.entity)


def _context(work: LeasedWork, comparison: Comparison) -> EntityContext:
    spec = comparison.spec
    entity = next(entity for entity in ENTITIES.values() if spec in entity.read_as)
    common: dict[str, Any] = work.common()
    return EntityContext(
        spec=spec,
        client=comparison.source.client,
        rewrite=True,
        whole=None if entity is spec else EntityResult(entity.name, common["mode"]),
        **common,
    )


def _fetched(comparison: Comparison, differing: Sequence[Difference]) -> Iterator[Records]:
    """These records with all their columns: by id, of the feed where lists lack a column, else of their list."""
    spec, client, ids = comparison.spec, comparison.source.client, ids_of(differing)
    if any(column.feed_only for column in spec.columns):
        for records in _from_feed(comparison, differing):
            yield records
            ids = [st_id for st_id in ids if st_id not in {read_id(bytes(one)) for one in records}]
        if ids:
            comparison.finding.notes.append(
                f"{len(ids)} records are not in the feed: they were taken from the list, which does not say whether "
                "they are active"
            )
    if ids and spec.ids_param:
        for start in range(0, len(ids), FETCHED_AT_ONCE):
            yield fetch_by_ids(client, spec, ids[start : start + FETCHED_AT_ONCE])
    elif ids:
        ranges = [iter_list(client, spec, within=params(one), prefetch=0, complete=True) for one in comparison.ranges]
        yield _with_ids([record for pages in ranges for page in pages for record in page.records], set(ids))


def _from_feed(comparison: Comparison, differing: Sequence[Difference]) -> Iterator[Records]:
    """A page from when each was modified, but for those that a page before has shown.

    ServiceTitan: a feed can be read from a modification time, and has no upper bound.
    """
    waiting = [(one.there.modified_on, one.st_id) for one in differing if one.there and one.there.modified_on]
    shown: set[int | None] = set()
    for modified_on, st_id in sorted(waiting):
        if st_id in shown:
            continue
        page = begin_feed(comparison.source.client, comparison.spec, start=as_parameter(modified_on)).first
        found = _with_ids(page.records, {other for _, other in waiting} - shown)
        shown |= {read_id(bytes(record)) for record in found}
        if found:
            yield found


def _with_ids(records: Records, ids: set[int]) -> Records:
    return [record for record in records if read_id(bytes(record)) in ids]
