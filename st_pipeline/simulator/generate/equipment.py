"""Installed equipment: the units at customers' locations.

Here: those, and their replacement. Not here: the price book.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from random import Random

from st_pipeline.simulator.clock import TICKS_PER_DAY, to_day_text, to_text
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates
from st_pipeline.simulator.store import Row

EQUIPPED_SHARE, INACTIVE_SHARE, DELETED_SHARE = 0.4, 0.05, 0.01
_MAKERS = (
    ("Trane", "XR16"),
    ("Carrier", "59TP6"),
    ("Rheem", "PROG50"),
    ("Lennox", "ML14XC1"),
    ("A.O. Smith", "GCG-50"),
)
_KINDS = ("Water heater", "Furnace", "Air conditioner")  # in the order of the price book's equipment
_YEAR = 365 * TICKS_PER_DAY


@generates(
    "equipment",
    count=lambda _: 0,
    after=("locations", "tag_types"),
    attached_to="locations",
    follows=True,
    when_asked=True,
)
def equipment(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """One to three units at two of five locations."""
    tags = list(company.records("tag_types"))
    for location, units in _sites(company, chance, count):
        customer_id = location.as_dict()["customerId"]
        for _ in range(units):
            yield _unit(company, chance, location, customer_id, tags)


def _sites(company: Company, chance: Random, count: int) -> Iterator[tuple[Row, int]]:
    store, waiting = company.stores["locations"], company.newcomers["equipment"]
    if company.now is None:
        for row in list(store.rows.values()):
            if row.made and chance.random() < EQUIPPED_SHARE:
                yield row, 1 + int(chance.random() * chance.random() * 3)
        return
    for _ in range(len(waiting)):
        row = store.rows[waiting.popleft()]
        if chance.random() < EQUIPPED_SHARE:
            yield row, 1
    for _ in range(count):
        found = company.pick_row("locations", chance)
        if found is not None:
            yield found, 1


def _unit(company: Company, chance: Random, location: Row, customer_id: int, tags: list[Record]) -> Record:
    created, modified = company.moments(chance, after=location.created)
    number = company.new_id("equipment")
    gone = company.now is None and chance.random() < DELETED_SHARE
    if gone:
        company.bury("equipment", number)
    kind = int(chance.random() * 3)
    sku = [sku for sku in company.catalogue.skus if sku.kind == "Equipment"][kind]
    maker, model = _MAKERS[int(chance.random() * len(_MAKERS))]
    replaced = company.now is None and chance.random() < 0.06
    installed = None if chance.random() < 0.15 else created - int(chance.random() * 300) * TICKS_PER_DAY
    covered = installed is not None and chance.random() < 0.8
    return {
        "id": number,
        "active": not gone and (company.now is not None or chance.random() >= INACTIVE_SHARE),
        "equipmentId": sku.id if chance.random() < 0.7 else None,
        "locationId": location.key,
        "customerId": customer_id,
        "invoiceItemId": 0 if chance.random() < 0.02 else None,
        "name": f"{_KINDS[kind]} – {('basement', 'attic', 'garage', 'roof', 'closet #2')[number % 5]}",
        "type": None
        if chance.random() < 0.2
        else {"id": company.catalogue.tax_zone_ids[1] + kind, "name": _KINDS[kind]},
        "installedOn": None if installed is None else to_day_text(installed),
        "createdOn": to_text(created),
        "modifiedOn": to_text(modified),
        "serialNumber": f"{maker[:2].upper()}{number % 10_000_000:07}" if chance.random() < 0.85 else "",
        "barcodeId": None if chance.random() < 0.9 else str(number),
        "memo": "" if chance.random() < 0.7 else "Flue rusted;\nquote at next visit",
        "manufacturer": maker,
        "model": model,
        "cost": sku.cost_cents / 100 if chance.random() < 0.6 else 0.0,
        "status": "Replaced" if replaced else "Installed",
        "manufacturerWarrantyStart": to_day_text(installed) if covered and installed else None,
        "manufacturerWarrantyEnd": to_day_text(installed + 10 * _YEAR) if covered and installed else None,
        "serviceProviderWarrantyStart": to_day_text(installed) if covered and installed and kind else None,
        "serviceProviderWarrantyEnd": to_day_text(installed + _YEAR) if covered and installed and kind else None,
        "tags": _tags(company, chance, number, tags),
        "actualReplacementDate": _day(modified) if replaced else None,
        "manufacturedOn": _day(installed - 90 * TICKS_PER_DAY) if installed and chance.random() < 0.3 else None,
        "predictedReplacementMonths": None if chance.random() < 0.6 else 12 * (8 + kind * 3),
        "predictedReplacementDate": _day(created + (8 + kind * 3) * _YEAR) if chance.random() < 0.4 else None,
    }


def _day(ticks: int) -> str:
    """ServiceTitan: a date without a time, in this entity only."""
    return to_day_text(ticks)[:10]


def _tags(company: Company, chance: Random, owner_id: int, tags: list[Record]) -> list[Record] | None:
    if not tags or chance.random() < 0.8:
        return None if chance.random() < 0.3 else []
    tag = tags[int(chance.random() * len(tags))]
    return [
        {
            "id": company.new_id("equipment tags"),
            "ownerId": owner_id,
            "typeId": tag["id"],
            "typeName": tag["name"],
            "memo": None,
            "color": tag["color"],
            "textColor": None if chance.random() < 0.5 else "#FFFFFF",
            "code": tag["code"],
        }
    ]


@changes("equipment")
def _replaced_or_noted(company: Company, chance: Random, unit: Record) -> Record:
    if unit["status"] == "Installed" and chance.random() < 0.4:
        return {"status": "Replaced", "actualReplacementDate": _day(company.today())}
    return {"memo": f"Serviced {to_day_text(company.today())[:10]}", "barcodeId": str(unit["id"])}
