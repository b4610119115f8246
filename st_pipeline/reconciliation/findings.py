"""What a reconciliation found: by record, entity and tenant, and the verdict.

Here: the values. Not here: finding it (entity.py), keeping it (postgres/), showing it (cli/, report.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a record differs."""

    MISSING = "missing here"
    GONE = "gone there"
    DIFFERENT = "different"


class Compared(StrEnum):
    """How closely an entity was compared."""

    TOTALS = "totals"  # numbers of records, and the records of the ranges whose numbers differ
    RECORDS = "records"  # every record, column by column
    NOTHING = "not comparable"


class Verdict(StrEnum):
    """Of an entity or a tenant."""

    EQUAL = "equal"
    REPAIRED = "repaired"  # it differed, was repaired, and was equal when it was compared again
    DIFFERS = "differs"
    INCOMPLETE = "incomplete"  # nothing differs in what was compared, but something could not be compared


@dataclass(frozen=True, slots=True)
class Times:
    """When a record was created and modified."""

    created_on: datetime | None
    modified_on: datetime | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that is not here as it is there.

    `here`, `there`: its times, None where it is not live. `fields`: the columns that differ. `values`: both values of
    each, here and there: customers' data, for a report that a person asked for, and never kept. `amounts`: there less
    here, of the columns with money.
    """

    st_id: int
    kind: Kind
    fields: tuple[str, ...] = ()
    here: Times | None = None
    there: Times | None = None
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    @property
    def created_on(self) -> datetime | None:
        """When it was created, as the source says if it shows it."""
        of = self.there or self.here
        return None if of is None else of.created_on


@dataclass(frozen=True, slots=True)
class Month:
    """Records and money by the month (UTC) of creation. `there`: here, corrected by every difference that was found.

    `is_read`: was every record of it read there? Otherwise an amount that was changed without a new modification time
    is in neither sum.
    """

    month: datetime
    records_here: int
    records_there: int
    here: Mapping[str, Decimal]
    there: Mapping[str, Decimal]
    is_read: bool

    @property
    def differs(self) -> bool:
        """Do records or amounts differ?"""
        return self.records_here != self.records_there or dict(self.here) != dict(self.there)


@dataclass(slots=True)
class EntityFinding:
    """What was found of an entity, or of one of its lists.

    `here`, `there`: records in the period. `before`: only records created before that were compared. `recent`: records
    that changed while this ran or that a poll has not brought yet; `rejected`: records that stand among the rejects.
    `found`: what differed at first; `left`: what differs now. `error`: why it could not be compared to the end.
    """

    entity: str
    compared: Compared = Compared.TOTALS
    here: int = 0
    there: int | None = None
    before: datetime | None = None
    recent: int = 0
    rejected: int = 0
    found: Sequence[Difference] = ()
    left: Sequence[Difference] = ()
    repaired: int = 0
    months: Sequence[Month] = ()
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What is wrong with it now."""
        if self.left:
            return Verdict.DIFFERS
        if self.error is not None or self.compared is Compared.NOTHING:
            return Verdict.INCOMPLETE
        return Verdict.REPAIRED if self.found else Verdict.EQUAL

    def number(self, kind: Kind) -> int:
        """How many records differed in this way at first."""
        return sum(one.kind is kind for one in self.found)


@dataclass(slots=True)
class TenantFinding:
    """What was found of a tenant. `entities`: in the order in which they were compared."""

    tenant: str
    credential_id: int
    started_at: datetime
    asked: Mapping[str, Any]
    entities: list[EntityFinding] = field(default_factory=list)
    ended_at: datetime | None = None
    error: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of its entities'; without an error that is more than that some cannot be compared at all."""
        verdicts = {one.verdict for one in self.entities if one.compared is not Compared.NOTHING}
        if Verdict.DIFFERS in verdicts:
            return Verdict.DIFFERS
        if self.error is not None or Verdict.INCOMPLETE in verdicts or not verdicts:
            return Verdict.INCOMPLETE
        return Verdict.REPAIRED if Verdict.REPAIRED in verdicts else Verdict.EQUAL
