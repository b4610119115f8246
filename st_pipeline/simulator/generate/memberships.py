"""Membership types and memberships.

Here: those two, and how memberships lapse. Not here: their invoices.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

from st_pipeline.simulator.clock import TICKS_PER_DAY, to_day_text, to_text
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

_TYPES = (
    ("Silver Comfort Plan", "Annual", 189),
    ("Gold Comfort Plan", "Monthly", 19),
    ("Platinum Comfort Plan", "Monthly", 29),
    ("Plumbing Protection", "Annual", 149),
    ("Whole Home", "Quarterly", 99),
    ("Commercial PM - 4 visits", "Quarterly", 420),
    ("Legacy Plan (2019)", "Annual", 129),
    ("Lifetime Club", "OneTime", 499),
)
_STATUSES = ("Active",) * 45 + ("Expired",) * 35 + ("Canceled",) * 12 + ("Suspended",) * 5 + ("Deleted",) * 3


@generates("membership_types", count=lambda _: len(_TYPES))
def membership_types(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """The plans on sale, and one that is inactive."""
    for _ in range(count):
        number = len(company.stores["membership_types"])
        name, frequency, price = _TYPES[number % len(_TYPES)]
        created, modified = company.moments(chance)
        type_id = company.new_id("membership_types")
        yield {
            "name": name if number < len(_TYPES) else f"{name} {number}",
            "displayName": None if number == 3 else name,
            "active": "Legacy" not in name,
            "discountMode": ("Basic", "Units", "Categories")[number % 3],
            "locationTarget": "AllLocations" if number % 4 == 0 else "SingleLocation",
            "revenueRecognitionMode": "Deferred" if frequency == "Annual" else "PointOfSale",
            "autoCalculateInvoiceTemplates": False,
            "useMembershipPricingTable": number % 2 == 0,
            "showMembershipSavings": True,
            "id": type_id,
            "createdOn": to_text(created),
            "createdById": company.catalogue.employees[0][0] if number % 5 else None,
            "modifiedOn": to_text(modified),
            "importId": None,
            "billingTemplateId": company.new_id("invoice templates") if frequency != "OneTime" else None,
            "discount": Decimal("10.0000000000"),
            "durationBilling": _billing(frequency, price, number),
            "discounts": [{"targetId": company.catalogue.business_units[0][0], "discount": Decimal("10.00")}],
            "recurringServices": _services(company, type_id),
            "tagTypeIds": [company.catalogue.tag_type_ids[number % 9]],
        }


def _billing(frequency: str, price: int, number: int) -> list[Any]:
    amount = Decimal(price).quantize(Decimal("0.0000000001"))
    line = {
        "duration": 12 if frequency != "OneTime" else None,
        "billingFrequency": frequency,
        "salePrice": amount,
        "billingPrice": amount,
        "renewalPrice": amount,
    }
    return [line, None] if number == 4 else [line]  # null items have been seen in this array


def _services(company: Company, type_id: int) -> list[dict[str, Any]]:
    service = {"membershipTypeId": type_id, "recurringServiceTypeId": company.new_id("recurring service types")}
    return [{**service, "offset": offset, "offsetType": "Months", "allocation": Decimal("50.0")} for offset in (0, 6)]


@generates(
    "memberships",
    count=lambda sizes: sizes.customers * 9 // 20,
    after=("locations", "membership_types"),
    attached_to="locations",
    per_newcomer=1,
)
def memberships(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Active, expired and suspended memberships. ServiceTitan: `active` stays true on most that expired."""
    for _ in range(count):
        location = company.owner("memberships", "locations", chance)
        plan_row = company.pick_row("membership_types", chance)
        if location is None or plan_row is None:
            return
        plan = plan_row.as_dict()
        created, modified = company.moments(chance, after=location.created)
        status = "Active" if company.now else _STATUSES[int(chance.random() * len(_STATUSES))]
        membership_id = company.new_id("memberships")
        if status == "Deleted":
            company.bury("memberships", membership_id)
        yield _membership(company, chance, membership_id, location.as_dict(), plan, status, created, modified)


def _membership(
    company: Company,
    chance: Random,
    membership_id: int,
    location: Record,
    plan: Record,
    status: str,
    created: int,
    modified: int,
) -> Record:
    billing = plan["durationBilling"][0]
    lasts_days = 365 * (1 if chance.random() < 0.7 else 2)
    today = company.today()
    start = (
        created
        if status != "Active" or company.now
        else max(created, today - int(chance.random() * lasts_days) * TICKS_PER_DAY)
    )
    end = (
        min(start + lasts_days * TICKS_PER_DAY, today - TICKS_PER_DAY)
        if status == "Expired"
        else start + lasts_days * TICKS_PER_DAY
    )
    endless = billing["duration"] is None
    employee = company.catalogue.employees[int(chance.random() * 5)][0]
    return {
        "id": membership_id,
        "createdOn": to_text(created),
        "createdById": employee,
        "modifiedOn": to_text(modified),
        "followUpOn": to_day_text(end),
        "cancellationDate": to_day_text(modified) if status == "Canceled" else None,
        "from": to_day_text(start),
        "nextScheduledBillDate": to_day_text(today + 30 * TICKS_PER_DAY) if status == "Active" else None,
        "to": None if endless else to_day_text(end),
        "billingFrequency": billing["billingFrequency"],
        "renewalBillingFrequency": None if endless else billing["billingFrequency"],
        "status": status,
        "followUpStatus": "Won" if status == "Active" and chance.random() < 0.3 else "NotAttempted",
        "active": status != "Deleted" and not (status == "Canceled" and chance.random() < 0.3),
        "initialDeferredRevenue": 0.0,
        "duration": billing["duration"],
        "renewalDuration": billing["duration"],
        # Seen live: 0 when there is no business unit.
        "businessUnitId": 0
        if chance.random() < 0.03
        else company.catalogue.business_units[int(chance.random() * 4)][0],
        "customerId": location["customerId"],
        "membershipTypeId": plan["id"],
        "activatedById": employee,
        "activatedFromId": None,
        "billingTemplateId": plan["billingTemplateId"],
        "cancellationBalanceInvoiceId": None,
        "cancellationInvoiceId": None,
        "followUpCustomStatusId": None,
        "locationId": None if chance.random() < 0.2 else location["id"],  # ServiceTitan: null means all locations
        "paymentMethodId": None,
        "paymentTypeId": None,
        "recurringLocationId": None,
        "renewalMembershipTaskId": None,
        "renewedById": None,
        "soldById": company.catalogue.technicians[int(chance.random() * 6)][0] if chance.random() < 0.6 else None,
        "customerPo": None,
        "importId": f"LEG-{membership_id % 100000}" if chance.random() < 0.05 else None,
        "memo": None if chance.random() < 0.8 else "Renewed at the door;\tpaid by check",
        "customFields": [],
    }


@changes("memberships")
def _lapsed_or_renewed(company: Company, _: Random, membership: Record) -> Record:
    if membership["status"] == "Active":
        return {"status": "Expired", "to": to_day_text(company.today()), "nextScheduledBillDate": None}
    end = company.today() + 365 * TICKS_PER_DAY
    return {
        "status": "Active",
        "active": True,
        "cancellationDate": None,
        "to": to_day_text(end),
        "followUpStatus": "Won",
    }


@changes("membership_types")
def _renamed_plan(_: Company, chance: Random, plan: Record) -> Record:
    return {"displayName": f"{plan['name']} ({1 + int(chance.random() * 99)})"}
