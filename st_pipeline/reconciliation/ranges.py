"""From an entity's total to the few records that differ: ranges, halved while their numbers differ.

Here: which ranges are counted, which are read. Not here: reading one (source.py), what a difference means (entity.py).

A range is halved at the middle of our own rows, so a table of n rows takes log2(n) steps whatever its age; of two
halves one is counted, the other is the rest. A range is read once it has few records for each that differs, so that
many differences cost no more than reading them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from st_pipeline.entities.spec import CREATED, MODIFIED, DeletionSign
from st_pipeline.postgres import held_ranges
from st_pipeline.postgres.held_ranges import Moments
from st_pipeline.protocol import Range
from st_pipeline.reconciliation.findings import Times
from st_pipeline.reconciliation.records import times_of
from st_pipeline.reconciliation.source import Source
from st_pipeline.validation.timestamps import MICROSECOND

# As many records as take about as long to read as one to count: 100 invoices are half a megabyte.
RECORDS_READ_AT_ONCE = 100
MARKED_ASKED_FOR = 3  # rows


@dataclass(frozen=True, slots=True)
class Expected:
    """How many records a range should show there. `most`: if the list shows what we hold as deleted, too."""

    least: int
    most: int

    def differs(self, shown: int) -> bool:
        """Is it certain that other records are shown?"""
        return not self.least <= shown <= self.most

    def off_by(self, shown: int) -> int:
        """How many records differ at least."""
        return max(self.least - shown, shown - self.most, 0)


@dataclass(slots=True)
class Search:
    """The search for ranges that differ. `held`: our rows of the widest range; a range narrows one of its two times.

    `known`: differences found before: their times here, and there. `pending`: the same of what the next poll will
    bring; None: nobody has asked yet. `shows_marked`: does the list of contacts show removed ones, which we hold as
    deleted? It is not documented. None: nobody has asked yet.
    """

    source: Source
    held: Mapping[str, Moments]
    records_read_at_once: int = RECORDS_READ_AT_ONCE
    known: Sequence[tuple[Times | None, Times | None]] = ()
    pending: Sequence[tuple[Times | None, Times | None]] | None = None
    shows_marked: bool | None = None

    def learn_pending(self) -> None:
        """Ask once what the next poll will bring, so that ranges do not differ for that."""
        if self.pending is not None:
            return
        source = self.source
        there = {st_id: times for st_id, times in source.pending(source.cursor()).items() if times is not None}
        with source.connection.begin():
            held = held_ranges.rows(source.connection, source.spec, source.credential_id, list(there))
        here = {st_id: times_of(row.values) for st_id, row in held.items() if row.deleted_at is None}
        self.pending = [(here.get(st_id), times) for st_id, times in there.items()]

    def expected(self, range_: Range) -> Expected:
        """What the range should show: our rows, rejects that have none, and the differences that are known."""
        is_by_modification = range_.modified_from is not None or range_.modified_before is not None
        column = MODIFIED if is_by_modification else CREATED
        held = self.held[column].number(*BOUNDS[column](range_))
        number = held.live + sum(_is_in(range_, one) for one in self.source.rejected)
        changes = (*self.known, *(self.pending or ()))
        number += sum(_is_in(range_, there) - _is_in(range_, here) for here, there in changes)
        return Expected(number, number + held.marked if self.shows_marked else number)

    def learn_what_is_shown(self) -> None:
        """Ask once whether the list shows contacts that we hold as deleted: for the newest of them.

        Only the cost rests on the answer. A record whose row is marked is no difference, whatever the list shows.
        """
        source = self.source
        if self.shows_marked is not None or source.spec.deletion_sign is not DeletionSign.INACTIVE:
            return
        with source.connection.begin():
            newest = held_ranges.newest_marked(source.connection, source.spec, source.credential_id, MARKED_ASKED_FOR)
        self.shows_marked = False
        moments = [Range(created, created + MICROSECOND) for created in dict.fromkeys(newest)]
        self.shows_marked = any(source.total(one) > self.expected(one).least for one in moments)

    def to_read(self, range_: Range, shown: int, column: str = CREATED) -> Iterator[Range]:
        """The smallest ranges that differ, of one that shows so many records; halved by `column`."""
        waiting = [(range_, shown)]
        while waiting:
            one, number = waiting.pop()
            expected = self.expected(one)
            if not expected.differs(number):
                continue
            off_by, most = expected.off_by(number), max(number, expected.most)
            at = self.held[column].middle(*BOUNDS[column](one)) if most > self.records_read_at_once * off_by else None
            if at is None:
                yield one
                continue
            left, right = HALVES[column](one, at)
            left_shown = self.source.total(left)
            waiting += [(left, left_shown), (right, number - left_shown)]


def _is_in(range_: Range, times: Times | None) -> bool:
    return times is not None and range_.contains(times.created_on, times.modified_on)


def _by_creation(range_: Range, at: datetime) -> tuple[Range, Range]:
    return replace(range_, created_before=at), replace(range_, created_from=at)


def _by_modification(range_: Range, at: datetime) -> tuple[Range, Range]:
    return replace(range_, modified_before=at), replace(range_, modified_from=at)


BOUNDS: dict[str, Callable[[Range], tuple[datetime | None, datetime | None]]] = {
    CREATED: lambda range_: (range_.created_from, range_.created_before),
    MODIFIED: lambda range_: (range_.modified_from, range_.modified_before),
}
HALVES: dict[str, Callable[[Range, datetime], tuple[Range, Range]]] = {
    CREATED: _by_creation,
    MODIFIED: _by_modification,
}
