"""What is true of a tenant right now: counts, sums, checksums, straight from the records.

Here: figures a test compares its tables with. Not here: how anybody reads them over the API.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.filters import narrow
from st_pipeline.simulator.store import EntityStore, Row

# Keys summed, exactly, over live records.
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

    `live`: rows the list shows with `active=Any`; `active` of them; `deleted`: rows only the feed has; `ids_sum`,
    `bytes_checksum`, `totals` and `newest_modified_on` are over live rows. `bytes_checksum` adds up the first eight hex
    digits of the MD5 of each record's bytes as the feed serves them.
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
    """Zero for null, and for what a test inserted that is no amount."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)
