"""Invoices and their items.

Here: invoices whose sums are right to the cent: `subTotal` is the sum of the items' `total`, `total` is `subTotal` plus
`salesTax`, `discountTotal` the sum of the price modifiers, and a customer's balance that of open invoices. Not here:
payments.
ServiceTitan: money in accounting is text.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.clock import TICKS_PER_DAY, to_day_text, to_text, to_ticks
from st_pipeline.simulator.generate.catalogue import encoded
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.invoice_items import invoice_items, money
from st_pipeline.simulator.generate.registry import Record, generates
from st_pipeline.simulator.store import Row

DELETED_SHARE, INACTIVE_SHARE = 0.006, 0.01
_CONFIGURATIONS = (
    ("JobInvoice",) * 84 + ("MembershipInvoice",) * 9 + ("CounterSales",) * 3 + ("ProjectInvoice",) * 2
) + ("InterestChargeInvoice", "ARImportInvoice")
JOB_TYPES = ("AC Repair", "No Heat", "Tune-up", "Drain Clog", "Water Heater", "Estimate", "Warranty Call")
_SUMMARIES = (
    "<p>Replaced capacitor, system cooling at 18&deg; split.</p>",
    "Tech found <b>no issues</b>.\nCustomer advised to change the filter.",
    "<div>Main line cleared to 85 ft.\tRoots present</div><ul><li>recommend camera</li></ul>",
    "Seasonal tune-up completed – all readings within range ✓",
    None,
    "",
)
_REVIEWS = ("NeedsReview", "Reviewed", "ReadyForBilling", "OnHold", "PendingApproval")
_ROYALTY = encoded({"status": "Pending", "date": None, "sentOn": None, "memo": None})


@generates(
    "invoices",
    count=lambda sizes: sizes.invoices,
    after=("locations", "memberships"),
    attached_to="locations",
    per_newcomer=1,
)
def invoices(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Most for jobs; some for memberships, some adjustments of earlier ones, some with a total of 0."""
    corrected: tuple[Record, Row] | None = None
    sites: dict[int, _Site] = {}  # for this call only: customers may change before the next
    for _ in range(count):
        row = company.owner("invoices", "locations", chance)
        correcting = corrected if chance.random() < 0.2 else None  # a tenth are candidates, so 2 % adjust another
        row = correcting[1] if correcting else row
        if row is None:
            return
        site = sites.get(row.key) or _Site.of(company, row)
        if site is None:
            continue
        sites[row.key] = site
        invoice = _invoice(company, chance, site, correcting[0] if correcting else None)
        if (
            company.now is None
            and correcting is None
            and chance.random() < DELETED_SHARE
            and invoice["balance"] == "0.00"
        ):
            company.bury("invoices", invoice["id"])
            invoice["active"] = False
        else:
            company.owe(site.customer_id, _cents(invoice["balance"]))
            corrected = (invoice, row) if chance.random() < 0.1 else None if correcting else corrected
        yield invoice
    company.settle()


@dataclass(frozen=True, slots=True)
class _Site:
    """What is the same in every invoice of a location, encoded once."""

    created: int
    customer_id: int
    tax_exempt: bool
    tax_zone_id: int | None
    customer: msgspec.Raw
    customer_address: msgspec.Raw
    location: msgspec.Raw
    location_address: msgspec.Raw

    @classmethod
    def of(cls, company: Company, row: Row) -> "_Site | None":
        """None when a test inserted the customer, as any key may be missing then."""
        location = row.as_dict()
        owner = company.stores["customers"].rows.get(location["customerId"])
        if owner is None or not owner.made:
            return None
        customer = owner.as_dict()
        return cls(
            row.created,
            customer["id"],
            location["taxExempt"],
            location["taxZoneId"],
            encoded({"id": customer["id"], "name": customer["name"]}),
            _address(customer["address"]),
            encoded({"id": location["id"], "name": location["name"]}),
            _address(location["address"]),
        )


def _cents(text: str) -> int:
    return int(text.replace(".", ""))


def _address(address: dict[str, Any]) -> msgspec.Raw:
    return encoded({key: address[key] for key in ("street", "unit", "city", "state", "zip", "country")})


def _stage(company: Company, chance: Random, created: int) -> str:
    """The stage of bookkeeping, which takes some weeks."""
    age_days = (company.today() - created) / TICKS_PER_DAY
    if age_days > 30:
        return "Exported" if chance.random() < 0.9 else "Posted"
    return "Pending" if age_days < 3 or chance.random() < 0.5 else "Posted"


def _balance(company: Company, chance: Random, total: int, created: int, due: int) -> tuple[int, str | None]:
    """The open amount, and the day it was paid."""
    if total == 0:
        return 0, None
    overdue = company.today() > due
    dice = chance.random()
    if company.now is None and dice < (0.93 if overdue else 0.5):
        return 0, to_day_text(min(created + int(chance.random() * 20) * TICKS_PER_DAY, company.today()))
    return (total // 2 if dice > 0.98 else total), None


def _invoice(company: Company, chance: Random, site: _Site, correcting: Record | None) -> Record:
    after = to_ticks(correcting["createdOn"]) if correcting else site.created
    created, modified = company.moments(chance, after)
    created_text, modified_text = to_text(created), to_text(modified)
    catalogue = company.catalogue
    configuration = _CONFIGURATIONS[int(chance.random() * 100)]
    sales_tax = catalogue.taxes[2 if site.tax_exempt else int(chance.random() * 2)]
    unit = None if chance.random() < 0.02 else catalogue.named_units[int(chance.random() * 4)]
    lines = invoice_items(
        company,
        chance,
        (created_text, modified_text),
        unit,
        reverse=correcting is not None,
        free=chance.random() < 0.08,
    )
    tax = round(lines.taxable_cents * round(sales_tax.rate * 100_000) / 100_000)
    total = lines.total_cents + tax
    _, term, days = catalogue.payment_terms[int(chance.random() * 3)]
    due = created + days * TICKS_PER_DAY
    balance, paid_on = _balance(company, chance, total, created, due)
    invoice_id = company.new_id("invoices")
    stage = _stage(company, chance, created)
    staff = int(chance.random() * 5)
    employee_id, employee = catalogue.employees[staff]
    number = str(invoice_id)[-8:]
    return {
        "id": invoice_id,
        "syncStatus": stage,
        "budgetCodeId": None,
        "referenceNumber": number,
        "invoiceDate": to_day_text(created),
        "dueDate": to_day_text(due),
        "subTotal": money(lines.total_cents),
        "salesTax": money(tax),
        "salesTaxCode": sales_tax.code,
        "taxZoneId": site.tax_zone_id,
        "total": money(total),
        "balance": money(balance),
        "invoiceType": None
        if chance.random() < 0.5
        else {"id": catalogue.tax_zone_ids[2], "name": "Residential Service"},
        "customer": site.customer,
        "customerAddress": site.customer_address,
        "location": site.location,
        "locationAddress": site.location_address,
        "businessUnit": unit,
        "termName": term,
        "createdBy": employee,
        "batch": None if stage == "Pending" else _batch(company, modified),
        "depositedOn": None,
        "createdOn": created_text,
        "modifiedOn": modified_text,
        "adjustmentToId": correcting["id"] if correcting else None,
        "job": _job(company, chance) if configuration == "JobInvoice" else None,
        "projectId": company.new_id("projects") if configuration == "ProjectInvoice" else None,
        "royalty": _ROYALTY,
        "employeeInfo": catalogue.employee_infos[staff],
        "commissionEligibilityDate": to_day_text(created) if chance.random() < 0.3 else None,
        "sentStatus": "NotSent" if chance.random() < 0.4 else "Sent" if chance.random() < 0.7 else "Opened",
        "reviewStatus": "Invoiced" if stage == "Exported" else _REVIEWS[int(chance.random() * len(_REVIEWS))],
        "assignedTo": None if chance.random() < 0.8 else {"id": employee_id, "name": employee},
        "summary": _SUMMARIES[int(chance.random() * len(_SUMMARIES))],
        "items": lines.items,
        "customFields": None
        if chance.random() < 0.5
        else [{"name": "PO Number", "value": number if number[-1] == "7" else ""}],
        "active": chance.random() >= INACTIVE_SHARE or balance != 0 or company.now is not None,
        "discountTotal": money(lines.discount_cents),
        "importId": f"IMP{number}" if configuration == "ARImportInvoice" else None,
        "exportId": f"QB-{number}" if stage == "Exported" else None,
        "materialSkuId": 0 if chance.random() < 0.02 else None,
        "membershipId": _membership_id(company, chance) if configuration == "MembershipInvoice" else None,
        "paidOn": paid_on,
        "invoiceConfiguration": configuration,
    }


def _job(company: Company, chance: Random) -> dict[str, Any]:
    job_id = company.new_id("jobs")
    return {"id": job_id, "number": str(job_id)[-7:], "type": JOB_TYPES[int(chance.random() * len(JOB_TYPES))]}


def _membership_id(company: Company, chance: Random) -> int | None:
    row = company.pick_row("memberships", chance)
    return row.key if row else None


def _batch(company: Company, moment: int) -> dict[str, Any]:
    """One batch a week."""
    week = moment // (7 * TICKS_PER_DAY)
    return {
        "id": company.catalogue.tax_zone_ids[0] + week,
        "number": str(week),
        "name": f"Week of {to_day_text(moment)[:10]}",
    }
