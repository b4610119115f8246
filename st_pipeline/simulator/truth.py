"""What a tenant contains right now: counts, sums and checksums, straight from the records.

Here: the figures that a test compares its tables with. Not here: the control API that serves them.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.filters import narrow
from st_pipeline.simulator.store import EntityStore, Row

# Keys whose exact sums over live records are in the figures.
MONEY = {
    "customers": ("balance",),
    "invoices": ("subTotal", "salesTax", "total", "balance"),
    "payments": ("total", "unappliedAmount"),
    "estimates": ("subtotal", "tax"),
    "jobs": ("total",),
    "equipment": ("cost",),
}


def truth_of(entity: str, stores: Sequence[EntityStore]) -> dict[str, Any]:
    """Figures of one entity, whose records are in `stores`.

    `live`: rows that the list shows with `active=Any`; `active`: how many of them are active; `deleted`: rows that only
    the feed has; the other figures are over live rows. `bytes_checksum` adds up the first eight hex digits of the MD5
    of each record's bytes as the feed serves them.
    """
    live = [row for store in stores for row in store.live()]
    newest = max((row.modified for row in live), default=0)
    return {
        "live": len(live),
        "active": sum(row.active for row in live),
        "deleted": sum(len(store.rows) for store in stores) - len(live),
        "ids_sum": sum(row.key for row in live if row.key > 0),
        "bytes_checksum": sum(row.checksum for row in live),
        "newest_modified_on": to_text(newest) if newest else None,
        "totals": _totals(live, MONEY.get(entity, ())),
    }


def _totals(live: Sequence[Row], keys: tuple[str, ...]) -> dict[str, str]:
    sums = dict.fromkeys(keys, Decimal(0))
    for row in live if keys else ():
        record = narrow(row, *keys)
        for key in keys:
            sums[key] += _amount(getattr(record, key, None))
    return {key: str(value) for key, value in sums.items()}


def _amount(value: object) -> Decimal:
    """Zero for null, and for a value that is not an amount."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)
