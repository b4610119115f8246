"""One entity of a tenant, to be asked there and looked up here.

Here: counting and reading ranges, looking up records again, what a poll is about to bring. Not here: which ranges
(ranges.py), what is concluded (entity.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import CursorRejected, InvalidApiResponseFormat
from st_pipeline.postgres import cursors, held_ranges, rejects
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.protocol import Range
from st_pipeline.reconciliation.findings import Difference, Times
from st_pipeline.reconciliation.findings import Kind as How
from st_pipeline.reconciliation.records import Seen, compare_records, gone, times_if_active
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import fetch_by_ids, iter_feed, iter_list, total
from st_pipeline.sync.looking_back import looking_back
from st_pipeline.validation.decode import read_id
from st_pipeline.validation.timestamps import written

PARAMETERS = {
    "created_from": "createdOnOrAfter",
    "created_before": "createdBefore",
    "modified_from": "modifiedOnOrAfter",
    "modified_before": "modifiedBefore",
}
# More rejects than this are not placed in their ranges; ranges that differ only by them are read for nothing.
REJECTS_PLACED = 500


@dataclass(slots=True)
class Source:
    """One entity, or one of its lists. `rejected`: the times of the rejects that have no row."""

    connection: Connection
    client: ServiceTitanClient
    spec: EntitySpec
    tenant: str
    credential_id: int
    rejected: Sequence[Times] = field(default_factory=list)

    @property
    def doing(self) -> str:
        """For error messages."""
        return f"reconciliation of {self.spec.name} for tenant {self.tenant}"

    def load_rejects(self) -> None:
        """Find out which rejects have no row."""
        with self.connection.begin():
            kept = rejects.records_without_row(self.connection, self.spec, self.credential_id, REJECTS_PLACED)
        times = (times_if_active(record) for _, record in kept)
        self.rejected = [one for one in times if one is not None]

    def number(self, range_: Range) -> int:
        """How many live rows of the range there are, and rejects that have none."""
        with self.connection.begin():
            held = held_ranges.number(self.connection, self.spec, self.credential_id, range_)
        return held.live + sum(range_.contains(one.created_on, one.modified_on) for one in self.rejected)

    def total(self, range_: Range) -> int:
        """How many records of the range the list shows. Raises InvalidApiResponseFormat: it does not tell."""
        shown = total(self.client, self.spec, within=params(range_))
        if shown is None:
            raise InvalidApiResponseFormat(f"{self.doing}: the response has no totalCount")
        return shown

    def read(self, range_: Range) -> Seen:
        """Compare every record of the range with its row, and look for rows that the list does not show."""
        seen = Seen()
        prefetch = self.client.settings.prefetch_pages
        for page in iter_list(self.client, self.spec, within=params(range_), prefetch=prefetch, complete=True):
            seen.add(self._compare(page.records))
        shown = set(seen.shown)
        with self.connection.begin():
            live = held_ranges.live_ids(self.connection, self.spec, self.credential_id, range_)
            absent = [st_id for st_id in live if st_id not in shown]
            rows = held_ranges.rows(self.connection, self.spec, self.credential_id, absent)
        seen.differences += gone(self.spec, rows)
        return seen

    def look_up(self, ids: Sequence[int]) -> Seen:
        """Compare these records as they are now."""
        records = fetch_by_ids(self.client, self.spec, ids)
        there = {read_id(bytes(record)) for record in records}
        seen = self._compare(records)
        with self.connection.begin():
            absent = [st_id for st_id in ids if st_id not in there]
            rows = held_ranges.rows(self.connection, self.spec, self.credential_id, absent)
        seen.differences += gone(self.spec, rows)
        return seen

    def cursor(self) -> Cursor:
        """From where the next poll will read."""
        with self.connection.begin():
            return cursors.load(self.connection, self.credential_id, self.spec.name)

    def pending(self, cursor: Cursor) -> dict[int, Times | None]:
        """The records that the next poll will bring from the feed: their times; None where one may be deleted."""
        since = looking_back(cursor, self.client.settings.lookback_minutes)
        try:
            return self._shown_by_feed(cursor.continue_from or since)
        except CursorRejected:
            return self._shown_by_feed(since)

    def _shown_by_feed(self, start: str | None) -> dict[int, Times | None]:
        pages = iter_feed(self.client, self.spec, start=start, prefetch=0)
        records = (bytes(record) for page in pages for record in page.records)
        return {st_id: times_if_active(record) for record in records if (st_id := read_id(record)) is not None}

    def _compare(self, records: Sequence[msgspec.Raw]) -> Seen:
        as_bytes = [bytes(record) for record in records]
        return compare_records(self.connection, self.spec, self.credential_id, as_bytes)


def params(range_: Range) -> dict[str, str]:
    """The range as the parameters of a list."""
    bounds: Iterator[tuple[str, datetime | None]] = ((PARAMETERS[name], getattr(range_, name)) for name in PARAMETERS)
    return {name: written(moment) for name, moment in bounds if moment is not None}


def ids_of(differences: Sequence[Difference]) -> list[int]:
    """Their ids, each once."""
    return sorted({one.st_id for one in differences})


def is_gone(difference: Difference) -> bool:
    """Is it a row that the source does not show?"""
    return difference.kind is How.GONE
