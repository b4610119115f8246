"""The lines of an invoice.

Here: quantities, prices, discounts, in whole cents. Not here: tax and totals of the invoice.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.generate.catalogue import Sku
from st_pipeline.simulator.generate.company import Company

DISCOUNTED_SHARE, NO_ITEMS_SHARE = 0.18, 0.3
_HOW_MANY = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6)


@dataclass(slots=True)
class Lines:
    """Items and their sums. `items` is None when the invoice has none."""

    items: list[dict[str, Any]] | None
    total_cents: int
    taxable_cents: int
    discount_cents: int


@lru_cache(maxsize=8192)  # prices repeat, and an invoice needs twenty calls
def money(cents: int) -> str:
    """Cents as the text that accounting serves: `-12.30`."""
    return f"{cents // 100}.{cents % 100:02}" if cents >= 0 else "-" + money(-cents)


def invoice_items(
    company: Company, chance: Random, moments: tuple[str, str], unit: msgspec.Raw | None, *, reverse: bool, free: bool
) -> Lines:
    """`reverse`: negative quantities, for an adjustment. `free`: nothing to bill."""
    lines = Lines([], 0, 0, 0)
    items: list[dict[str, Any]] = []
    if free and chance.random() < NO_ITEMS_SHARE:
        return Lines(None if chance.random() < 0.3 else items, 0, 0, 0)
    made = _Made(company, moments, unit)
    for order in range(1 if reverse or free else _HOW_MANY[int(chance.random() * 12)]):
        sku = company.catalogue.skus[int(chance.random() ** 2 * 12)]
        quarters = 4 * (1 + int(chance.random() * 3)) + (int(chance.random() * 4) if sku.by_quarters else 0)
        quarters = -quarters if reverse else quarters
        price = 0 if free else sku.price_cents
        total = price * quarters // 4
        items.append(made.item(chance, sku, order, quarters, price, total))
        lines.total_cents += total
        lines.taxable_cents += total if sku.taxable else 0
    if not reverse and lines.total_cents > 5000 and chance.random() < DISCOUNTED_SHARE:
        sku = company.catalogue.discounts[int(chance.random() * 3)]
        discount = -2500 if sku.name == "COUPON-25" else -(lines.total_cents // 10)
        items.append(made.item(chance, sku, len(items), 4, discount, discount))
        lines.total_cents += discount
        lines.discount_cents += discount
    lines.items = items
    return lines


@dataclass(slots=True)
class _Made:
    """What the items of one invoice have in common."""

    company: Company
    moments: tuple[str, str]
    unit: msgspec.Raw | None

    def item(self, chance: Random, sku: Sku, order: int, quarters: int, price: int, total: int) -> dict[str, Any]:
        catalogue, (created, modified) = self.company.catalogue, self.moments
        stocked = sku.kind in ("Material", "Equipment")
        dice = chance.random()
        return {
            "id": self.company.new_id("invoice items"),
            "description": None if dice < 0.01 else sku.description,
            "quantity": money(quarters * 25) + "00000000",
            "cost": money(sku.cost_cents),
            "totalCost": money(sku.cost_cents * quarters // 4),
            "budgetCodeId": None,
            "inventoryLocationId": catalogue.tax_zone_ids[1] if stocked else None,
            "inventoryLocation": "Truck 4" if stocked else None,
            "price": money(price),
            "type": sku.kind,
            "skuName": sku.name,
            "skuId": sku.id,
            "total": money(total),
            "inventory": stocked,
            "taxable": sku.taxable,
            "isChargeable": True,
            "generalLedgerAccount": catalogue.income,
            "costOfSaleAccount": catalogue.cost_of_sale if stocked else None,
            "assetAccount": catalogue.asset if stocked else None,
            "membershipTypeId": 0,  # documented as never null
            "itemGroup": {"rootId": sku.id, "name": "Good / Better / Best"} if dice > 0.93 else None,
            "displayName": sku.display_name,
            "soldHours": sku.sold_hours if dice < 0.9 else None,
            "createdOn": created,
            "modifiedOn": modified,
            "serviceDate": created[:10] + "T00:00:00Z" if dice < 0.95 else None,
            "order": order,
            "businessUnit": self.unit,
            "createdById": catalogue.technicians[int(dice * 6)][0],
            "displayInAmount": True if dice < 0.9 else None,
            "importId": None,
            "exportId": None,
            "inventoryStatus": None,
            "addOn": dice > 0.9,
            "memberPrice": money(price - price // 10) if dice < 0.4 else "0.00",
            "technicianId": catalogue.technicians[int(dice * 6)][0] if sku.kind == "Service" else None,
            "installedEquipmentId": None,
            "estimateItemId": None,
        }
