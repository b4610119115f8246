"""Does a list show as many records as are held? One small request tells whether any record is gone.

Here: the comparison. Not here: what follows when they differ (deletions.py, entity.py).

A list has a total on its first page, whatever that page's size. Right after a read of the feed to its end every record
that the source has is held, as a row or as a reject, so the numbers are equal exactly when nothing else is held.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from st_pipeline.entities.spec import DeletionSign
from st_pipeline.postgres import rejects, soft_deletes
from st_pipeline.servicetitan.pages import fetch_by_ids, total
from st_pipeline.sync.context import EntityContext
from st_pipeline.validation.decode import read_id
from st_pipeline.validation.timestamps import written

# What was created after the newest row is of no interest: it may have come between the read and the question.
AFTER_THE_NEWEST = timedelta(milliseconds=1)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
# More rejects without a row than this are not looked up: reading the list costs less.
REJECTS_LOOKED_UP = 500


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many records the list shows, and how many are held: `most`, if it shows what we hold as deleted, too.

    `agrees`: is every record that is held there, and none that is held as deleted?
    """

    shown: int | None
    held: int
    most: int
    agrees: bool

    @property
    def differs(self) -> bool:
        """Are the numbers certainly not those of the same records?"""
        return self.shown is None or not self.held <= self.shown <= self.most

    def __str__(self) -> str:
        """For people."""
        shown = "tells no total" if self.shown is None else f"shows {self.shown} records"
        return f"the list {shown}, {self.held} are held"


def compare(context: EntityContext, *, gone: int = 0, back: int = 0, trusts_flag: bool = False) -> Comparison:
    """Compare the list's total with the rows, once `gone` of them are marked as deleted and `back` unmarked.

    ServiceTitan: it is not documented whether lists of contacts show inactive ones. We hold these as deleted, so while
    there are any, the total may be anything between two numbers. `trusts_flag`: that is enough; the feed is trusted to
    show deleted contacts as inactive.
    """
    spec, of = context.spec, context.credential_id
    with context.connection.begin():
        rows = soft_deletes.held(context.connection, spec, of)
        rejected = rejects.without_row(context.connection, spec, of)
    is_dated = rows.newest is not None and rows.newest < LATEST
    before = written(rows.newest + AFTER_THE_NEWEST) if rows.newest and is_dated else None
    shown = total(context.client, spec, created_before=before)
    held = rows.live - gone + back + len(rejected)
    most = held + rows.marked if spec.deletion_sign is DeletionSign.INACTIVE else held
    if shown is None or rows.withheld:
        return Comparison(shown, held, most, agrees=False)
    if most > held:
        return Comparison(shown, held, most, agrees=trusts_flag and held <= shown <= most)
    if shown < held and spec.ids_param and 0 < len(rejected) <= REJECTS_LOOKED_UP:
        held -= _rejects_gone(context, rejected)
    return Comparison(shown, held, held, agrees=shown == held)


def _rejects_gone(context: EntityContext, rejected: list[int | None]) -> int:
    """How many rejected records the source no longer knows: nothing marks those, and its total lacks them."""
    ids = [st_id for st_id in rejected if st_id is not None]
    known = {read_id(bytes(record)) for record in fetch_by_ids(context.client, context.spec, ids)}
    return len(set(ids) - known)
