"""One entity of a tenant: totals first, then ranges whose numbers differ, then records.

Here: the order of the steps, and what counts as a difference. Not here: any single step (ranges.py, source.py,
records.py), a whole tenant (tenant.py), repair (repair.py).

Nothing that is changing is reported as wrong. Only records created before a moment up to which the entity is known to
be complete are compared; whatever seems to differ is looked up again; and what the next poll will bring is no loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from st_pipeline.entities.spec import CREATED, MODIFIED, EntitySpec
from st_pipeline.postgres import held_ranges
from st_pipeline.protocol import Range
from st_pipeline.reconciliation.findings import Compared, Difference, EntityFinding
from st_pipeline.reconciliation.months import months_of
from st_pipeline.reconciliation.ranges import RECORDS_READ_AT_ONCE, Search
from st_pipeline.reconciliation.source import Source, ids_of, is_gone

# ServiceTitan: a feed shows a change up to 15 minutes later.
NEWEST_LEFT_OUT = timedelta(minutes=15)
# A record that changed and was not brought is in another of these ranges of modification times there than here.
RECENTLY_MODIFIED = (timedelta(days=1), timedelta(days=7), timedelta(days=28))
EVERYTHING = Range()
LOOKED_UP_BY_ID = 2_000  # records: forty requests


@dataclass(frozen=True, slots=True)
class Period:
    """When the records to compare were created: from inclusive, before exclusive, None open. `deep`: read them all."""

    created_from: datetime | None = None
    created_before: datetime | None = None
    deep: bool = False
    records_read_at_once: int = RECORDS_READ_AT_ONCE


ALL_TIME = Period()


@dataclass(slots=True)
class Comparison:
    """One entity's. `ranges`: those that were read. `is_read`: was every record of the period?"""

    source: Source
    period: Period
    finding: EntityFinding
    range_: Range = EVERYTHING
    ranges: list[Range] = field(default_factory=list)
    is_read: bool = False

    @property
    def spec(self) -> EntitySpec:
        """What is compared."""
        return self.source.spec

    def read_all(self, ranges: Sequence[Range], before: Sequence[Difference] = ()) -> list[Difference]:
        """Read these ranges, and return what differs besides what was found before, once it was looked up again."""
        candidates: dict[int, Difference] = {}
        rejected = 0
        for range_ in ranges:
            seen = self.source.read(range_)
            rejected += seen.rejected
            candidates |= {one.st_id: one for one in seen.differences}
            if self.is_read:
                self.finding.there = len(set(seen.shown))
        self.ranges += ranges
        self.finding.rejected += rejected
        known = {one.st_id for one in before}
        return self.confirmed([one for st_id, one in candidates.items() if st_id not in known])

    def confirmed(self, candidates: Sequence[Difference]) -> list[Difference]:
        """Those that still differ when they are looked up again, and that no poll is about to bring.

        The cursor is loaded first: what the source changed before a record was looked up is in its row, or in what
        the feed shows from that cursor.
        """
        if not candidates:
            return []
        cursor = self.source.cursor()
        still = {one.st_id: one for one in self.look_again(candidates)}
        if self.spec.is_read_from_list:
            recent = {st_id for st_id, one in still.items() if is_gone(one) or self._is_recent(one)}
        else:
            recent = set(self.source.pending(cursor)) & still.keys() if still else set()
        self.finding.recent += len(recent)
        return [one for st_id, one in sorted(still.items()) if st_id not in recent]

    def look_again(self, differences: Sequence[Difference]) -> list[Difference]:
        """Those of these records that differ now: asked for by id, or, if they are many, read in their ranges again."""
        ids = set(ids_of(differences))
        if self.spec.ids_param and len(ids) <= LOOKED_UP_BY_ID:
            return self.source.look_up(sorted(ids)).differences
        found = [one for range_ in self.ranges for one in self.source.read(range_).differences]
        return [one for one in found if one.st_id in ids]

    def compare_again(self) -> None:
        """After a repair: what is left of what was found, and the total. Raises the errors of requests."""
        finding = self.finding
        finding.left = self.confirmed(finding.found)
        finding.repaired = len(finding.found) - len(finding.left)
        finding.here = self.source.number(self.range_)
        finding.months = months_of(self.source, self.range_, finding.left, is_read=self.is_read)

    def _is_recent(self, one: Difference) -> bool:
        """In a list without a feed: may a poll not have brought it yet? What has no date may always be new."""
        modified = None if one.there is None else one.there.modified_on
        return modified is None or self.finding.before is None or modified >= self.finding.before


def compare_entity(comparison: Comparison) -> None:
    """Compare an entity, and note what was found. Raises the errors of st_pipeline.errors."""
    source, period, finding = comparison.source, comparison.period, comparison.finding
    spec, connection = source.spec, source.connection
    with connection.begin():
        complete = held_ranges.completeness(connection, source.credential_id, spec.name)
        undated = held_ranges.undated(connection, spec, source.credential_id)
    if complete.complete_through is None or complete.last_full_at is None:
        finding.compared = Compared.NOTHING
        finding.notes.append("its first sync has not ended")
        return
    source.load_rejects()
    finding.before = complete.complete_through - NEWEST_LEFT_OUT
    if spec.is_read_from_list:
        # Small, and without a feed that would tell what a poll is about to bring: read whole, in one request or two.
        comparison.is_read = True
        finding.here = source.number(EVERYTHING)
        found = comparison.read_all([EVERYTHING])
    else:
        if period.created_before is not None:
            finding.before = min(finding.before, period.created_before)
        comparison.range_ = Range(period.created_from, finding.before)
        found = _by_ranges(comparison)
        if undated:
            finding.notes.append(f"{undated} rows do not say when they were created, and were not compared")
    finding.found = finding.left = found
    finding.compared = Compared.RECORDS if comparison.is_read else Compared.TOTALS
    finding.months = months_of(source, comparison.range_, found, is_read=comparison.is_read)


def _by_ranges(comparison: Comparison) -> list[Difference]:
    """Totals, halves and records of creation times, then of modification times."""
    source, period, whole = comparison.source, comparison.period, comparison.range_
    with source.connection.begin():
        held = held_ranges.moments(source.connection, source.spec, source.credential_id, whole)
    search = Search(source, held, period.records_read_at_once)
    expected = search.expected(whole)
    comparison.finding.here = expected.least
    if period.deep or expected.most <= period.records_read_at_once:
        comparison.is_read = True
        return comparison.read_all([whole])
    shown = comparison.finding.there = source.total(whole)
    found: list[Difference] = []
    for range_, column in ((whole, CREATED), *((one, MODIFIED) for one in _recently_modified(whole))):
        number = shown if range_ is whole else source.total(range_)
        if search.expected(range_).differs(number):
            search.learn_pending()
            search.learn_what_is_shown()
        found += comparison.read_all(list(search.to_read(range_, number, column)), found)
        search.known = [(one.here, one.there) for one in found]
    if search.shows_marked:
        comparison.finding.notes.append(
            "its list shows contacts that the feed shows as removed, so totals say less: --deep compares every record"
        )
    return found


def _recently_modified(whole: Range) -> list[Range]:
    """What was modified in the last day, in the week before it, and in the three weeks before that."""
    assert whole.created_before is not None  # noqa: S101 - its caller set it
    ends = (None, *(whole.created_before - one for one in RECENTLY_MODIFIED))
    return [replace(whole, modified_from=first, modified_before=end) for end, first in pairwise(ends)]
