"""Estimates: what a technician offers, one for each option shown.

Here: new estimates, and selling them. ServiceTitan: `subtotal` and `tax` are numbers, and there is no total. Not
here: the work after that.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.clock import TICKS_PER_DAY, TICKS_PER_SECOND, to_text, to_ticks
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

DELETED_SHARE, INACTIVE_SHARE = 0.01, 0.01
OPEN, SOLD, DISMISSED = ({"value": value, "name": name} for value, name in enumerate(("Open", "Sold", "Dismissed")))
_OPTIONS = ("Good", "Better", "Best", "Repair only")
_KEYS = ("id", "jobNumber", "customerId", "locationId", "businessUnitId", "projectId", "createdOn", "estimateIds")
_DAY_OF_WORK = 8 * 3600 * TICKS_PER_SECOND


@lru_cache(maxsize=8192)
def number(cents: int) -> msgspec.Raw:
    """Money as a JSON number. Seen live: ten digits after the point."""
    return msgspec.Raw(f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}00000000".encode())


@generates("estimates", count=lambda _: 0, after=("jobs",), attached_to="jobs", follows=True, when_asked=True)
def estimates(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """The options of a third of the jobs, which name them; on demand, another one of any job."""
    units = {head.id: head.name for head in company.heads("business_units", "id", "name")}
    led_to_jobs = {head.createdFromEstimateId for head in company.heads("jobs", "createdFromEstimateId")}
    waiting = company.newcomers["estimates"]
    keys = None if company.now is None else [waiting.popleft() for _ in range(len(waiting))]
    for job in company.heads("jobs", *_KEYS, keys=keys):
        wanted = int(chance.random() * len(job.estimateIds) * 2)  # above the last: nothing is sold
        for place, estimate_id in enumerate(job.estimateIds):
            sold = estimate_id in led_to_jobs or (company.now is None and place == wanted)
            yield _estimate(company, chance, job, units, estimate_id, place, sold=sold)
    for row in islice(company.suitable("jobs", chance, lambda job: job.active and not job.deleted), count):
        job = next(company.heads("jobs", *_KEYS, keys=[row.key]))
        estimate_id, place = company.new_id("estimates"), len(job.estimateIds)
        yield _estimate(company, chance, job, units, estimate_id, place, sold=False)
        company.touch("jobs", row.key, {"estimateIds": [*job.estimateIds, estimate_id]})


def _estimate(
    company: Company, chance: Random, job: Any, units: dict[int, str], estimate_id: int, place: int, *, sold: bool
) -> Record:
    booked = to_ticks(job.createdOn)
    shown = max(booked, min(booked + int(chance.random() * _DAY_OF_WORK), company.today()))
    created, modified = company.moments_from(chance, shown)
    sold_on = min(created + int(chance.random() ** 2 * 10 * TICKS_PER_DAY), modified) if sold else None
    items, subtotal, taxable = _items(company, chance, place, to_text(created), to_text(modified))
    dismissed = not sold and company.now is None and chance.random() < 0.25
    gone = company.now is None and not sold and chance.random() < DELETED_SHARE
    if gone:
        company.bury("estimates", estimate_id)
    technicians = company.catalogue.technicians
    return {
        "id": estimate_id,
        "jobId": job.id,
        "projectId": job.projectId,
        "locationId": job.locationId,
        "customerId": job.customerId,
        "name": None if chance.random() < 0.05 else f"{_OPTIONS[place % 4]} – {job.jobNumber}",
        "jobNumber": job.jobNumber,
        "status": SOLD if sold else DISMISSED if dismissed else OPEN,
        "reviewStatus": "None" if chance.random() < 0.9 else "Approved" if sold else "NeedsApproval",
        "summary": None if chance.random() < 0.4 else "Includes removal of the old unit\n10-year parts warranty",
        "createdOn": to_text(created),
        "modifiedOn": to_text(modified),
        "soldOn": None if sold_on is None else to_text(sold_on),
        "soldBy": technicians[int(chance.random() * len(technicians))][0] if sold else None,
        "active": not gone and (sold or chance.random() >= INACTIVE_SHARE),
        "items": items,
        "externalLinks": None if chance.random() < 0.6 else [],
        "subtotal": number(subtotal),
        "tax": number(round(taxable * 0.0575)),
        "businessUnitId": job.businessUnitId or None,
        "businessUnitName": units.get(job.businessUnitId),
        "isRecommended": place == 1,
        "budgetCodeId": None,
        "isChangeOrder": chance.random() < 0.01,
        "proposalTagName": None if chance.random() < 0.7 else "Options",
        **_deposit(chance, subtotal),
    }


def _deposit(chance: Random, subtotal: int) -> Record:
    asked = subtotal > 100_000 and chance.random() < 0.3
    return {
        "depositAmount": number(subtotal // 4) if asked else None,
        "depositPercent": 25.0 if asked else None,
        "requireDepositOnSignature": asked if chance.random() < 0.8 else None,
    }


def _items(
    company: Company, chance: Random, place: int, created: str, modified: str
) -> tuple[list[Record] | None, int, int]:
    """The lines; in cents, their sum and its taxable part."""
    if chance.random() < 0.02:
        return None, 0, 0
    items: list[Record] = []
    subtotal = taxable = 0
    skus = company.catalogue.skus
    for _ in range(1 + int(chance.random() * (1.5 + place))):
        sku = skus[int(chance.random() * len(skus))]
        quantity = 1 + int(chance.random() * chance.random() * 4)
        total = sku.price_cents * quantity
        subtotal, taxable = subtotal + total, taxable + (total if sku.taxable else 0)
        items.append(_item(company, chance, sku, quantity, created, modified))
    return items, subtotal, taxable


def _item(company: Company, chance: Random, sku: Any, quantity: int, created: str, modified: str) -> Record:
    income = company.catalogue.income_account
    return {
        "id": company.new_id("estimate items"),
        "sku": {
            "id": sku.id,
            "name": sku.name,
            "displayName": sku.display_name,
            "type": sku.kind,
            "soldHours": sku.sold_hours,
            "generalLedgerAccountId": income[0],
            "generalLedgerAccountName": income[1],
            "modifiedOn": created,
        },
        "skuAccount": income[1],
        "description": sku.description,
        "membershipTypeId": None,
        "qty": number(quantity * 100),
        "unitRate": number(sku.price_cents),
        "total": number(sku.price_cents * quantity),
        "unitCost": number(sku.cost_cents),
        "totalCost": number(sku.cost_cents * quantity),
        "itemGroupName": "" if chance.random() < 0.8 else "Good / Better / Best",
        "itemGroupRootId": None,
        "createdOn": created,
        "modifiedOn": modified,
        "chargeable": None if chance.random() < 0.3 else True,
        "invoiceItemId": None,
        "budgetCodeId": None,
    }


@changes("estimates")
def _sold_or_dismissed(company: Company, chance: Random, estimate: Record) -> Record:
    """An open one is dismissed, or sold, and then its job names who sold it. Others get a new summary."""
    if estimate["status"]["name"] != "Open":
        return {"summary": "Customer called to confirm."}
    if chance.random() < 0.3:
        return {"status": DISMISSED}
    technicians = company.ids("technicians")
    seller = technicians[int(chance.random() * len(technicians))] if technicians else None
    company.touch("jobs", estimate["jobId"], {"soldById": seller})
    return {"status": SOLD, "soldOn": to_text(company.today()), "soldBy": seller}
