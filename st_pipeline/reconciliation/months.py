"""Money by month: sums of what the tables hold, and what they would be with every difference set right.

Here: the sums. Not here: the differences (entity.py). ServiceTitan shows no sums, so those of a month whose records
were not all read rest on what was found: an amount that changed without a new modification time is not in them.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from st_pipeline.postgres import held_ranges
from st_pipeline.protocol import Range
from st_pipeline.reconciliation.findings import Difference, Kind, Month
from st_pipeline.reconciliation.source import Source

WITH_MONEY = ("invoices", "payments")
RECORDS_MORE = {Kind.MISSING: 1, Kind.GONE: -1, Kind.DIFFERENT: 0}


def months_of(source: Source, range_: Range, found: Sequence[Difference], *, is_read: bool) -> list[Month]:
    """Each month's records and money here and there; nothing for an entity without money."""
    spec = source.spec
    if spec.name not in WITH_MONEY:
        return []
    with source.connection.begin():
        held = held_ranges.months(source.connection, spec, source.credential_id, range_, spec.totals)
    records: defaultdict[datetime, int] = defaultdict(int)
    changes: defaultdict[datetime, dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(spec.totals, Decimal(0)))
    for one in found:
        if one.created_on is not None:
            month = one.created_on.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            records[month] += RECORDS_MORE[one.kind]
            of_month = changes[month]
            for name, amount in one.amounts.items():
                of_month[name] += amount
    here = {one.month: (one.records, dict(zip(spec.totals, one.sums, strict=True))) for one in held}
    nothing = (0, dict.fromkeys(spec.totals, Decimal(0)))
    return [
        Month(
            month,
            records_here=number,
            records_there=number + records[month],
            here=sums,
            there={name: amount + changes[month][name] for name, amount in sums.items()},
            is_read=is_read,
        )
        for month in sorted({*here, *changes})
        for number, sums in (here.get(month, nothing),)
    ]
