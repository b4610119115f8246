"""Payments, and which invoices they are applied to.

Here: payments with the right sums: an invoice's total minus its balance is what active payments apply to it. Not here:
invoices. ServiceTitan: money in accounting is text.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from st_pipeline.simulator.clock import TICKS_PER_DAY, TICKS_PER_SECOND, to_day_text, to_text, to_ticks
from st_pipeline.simulator.generate.catalogue import encoded
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.invoice_items import money
from st_pipeline.simulator.generate.ledger import cents, move_balance
from st_pipeline.simulator.generate.registry import Record, generates
from st_pipeline.simulator.store import Row

SPLIT_SHARE, JOINT_SHARE, DEPOSIT_SHARE, VOID_SHARE, DELETED_SHARE = 0.04, 0.06, 0.01, 0.008, 0.005
_TYPES = (("Check", "1"),) * 4 + (("Credit Card", "2"),) * 10 + (("Cash", "3"), ("ACH", "7"), ("Financing", "12"))
_KEYS = (
    "id", "total", "balance", "customer", "businessUnit", "referenceNumber", "adjustmentToId", "createdOn", "paidOn",
)  # fmt: skip
_OFFICE_OPENS = 8 * 3600 * TICKS_PER_SECOND


@dataclass(slots=True)
class _Part:
    """The part of a payment that pays one invoice."""

    invoice: Any
    cents: int


@generates("payments", count=lambda _: 0, after=("invoices",), attached_to="invoices", follows=True, when_asked=True)
def payments(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """In history, the paid amounts of invoices: at once, in two parts, or together with the customer's next invoice.

    Later, what is paid of a new invoice from the start. On demand, each pays an open invoice, in full or half.
    """
    if company.now is None:
        yield from _history(company, chance)
        return
    waiting = company.newcomers["payments"]
    for invoice in company.heads("invoices", *_KEYS, keys=[waiting.popleft() for _ in range(len(waiting))]):
        if invoice.total != invoice.balance:
            yield _payment(company, chance, [_Part(invoice, cents(invoice.total) - cents(invoice.balance))])
    for row in islice(company.suitable("invoices", chance, _is_open), count):
        invoice = next(company.heads("invoices", *_KEYS, keys=[row.key]))
        open_cents = cents(invoice.balance)
        part = open_cents // 2 if chance.random() < 0.2 else open_cents
        yield _payment(company, chance, [_Part(invoice, part)])
        move_balance(company, row.key, -part)


def received(company: Company, chance: Random, invoice: Record) -> None:
    """Add the payment of an invoice. When payments have no history yet, it will include this one."""
    if "payments" in company.made:
        head = next(company.heads("invoices", *_KEYS, keys=[invoice["id"]]))
        company.put("payments", _payment(company, chance, [_Part(head, cents(invoice["balance"]))]))


def _is_open(invoice: Row) -> bool:
    return invoice.active and not invoice.deleted and b'"balance":"0.00"' not in invoice.body


def _history(company: Company, chance: Random) -> Iterator[Record]:
    held: dict[int, _Part] = {}  # by customer: paid together with the next invoice
    paid_by: dict[int, int] = {}  # by invoice: a refund names its payment
    for invoice in company.heads("invoices", *_KEYS):
        paid = cents(invoice.total) - cents(invoice.balance)
        if not paid:
            continue
        parts, dice = [_Part(invoice, paid)], chance.random()
        earlier = held.pop(invoice.customer["id"], None)
        if earlier is not None:
            parts.insert(0, earlier)
        elif dice < JOINT_SHARE and paid > 0:
            held[invoice.customer["id"]] = parts[0]
            continue
        elif dice > 1 - SPLIT_SHARE and paid > 1:
            parts[0].cents -= paid // 2
            yield _payment(company, chance, [_Part(invoice, paid // 2)])
        refunded = paid_by.get(invoice.adjustmentToId) if paid < 0 else None
        payment = _payment(company, chance, parts, refunded=refunded)
        for part in parts:
            paid_by[part.invoice.id] = payment["id"]
        yield payment
        if 0.5 <= dice < 0.5 + DEPOSIT_SHARE + VOID_SHARE + DELETED_SHARE:  # not for joint and split payments
            yield _unapplied(company, chance, invoice, dice - 0.5)
    for part in held.values():
        yield _payment(company, chance, [part])


def _unapplied(company: Company, chance: Random, invoice: Any, dice: float) -> Record:
    """A deposit not used yet; or one entered by mistake, then voided or deleted."""
    payment = _payment(company, chance, [_Part(invoice, 0)], deposit=5000 + int(chance.random() * 20) * 2500)
    if dice > DEPOSIT_SHARE:
        payment["active"] = False
        if dice > DEPOSIT_SHARE + VOID_SHARE:
            company.bury("payments", payment["id"])
    return payment


def _payment(
    company: Company, chance: Random, parts: list[_Part], *, refunded: int | None = None, deposit: int = 0
) -> Record:
    invoice = parts[-1].invoice
    total = deposit + sum(part.cents for part in parts)
    born = max(to_ticks(part.invoice.createdOn) for part in parts)
    day = to_ticks(invoice.paidOn) if invoice.paidOn else born + int(chance.random() * 9) * TICKS_PER_DAY
    paid = max(born, min(day + _OFFICE_OPENS + int(chance.random() * _OFFICE_OPENS), company.today()))
    paid = company.today() if company.now is not None else paid
    created, modified = company.moments_from(chance, paid)
    number = company.new_id("payments")
    kind, type_id = _TYPES[int(chance.random() * len(_TYPES))]
    old = company.today() - created > 30 * TICKS_PER_DAY
    stage = ("Exported" if chance.random() < 0.95 else "Posted") if old else "Pending"
    employee = company.catalogue.employees[int(chance.random() * 5)][1]
    return {
        "active": True,
        "appliedTo": [] if deposit else [_application(company, part, employee, paid) for part in parts],
        "authCode": f"{number % 1_000_000:06}" if kind == "Credit Card" else None,
        "batch": None if stage == "Pending" else batch(company, modified),
        "businessUnit": invoice.businessUnit,
        "checkNumber": str(1000 + number % 9000) if kind == "Check" else None,
        "createdBy": employee,
        "createdOn": to_text(created),
        "customer": invoice.customer,
        "customFields": _custom_fields(chance),
        "date": to_day_text(paid),
        "deposit": None if stage == "Pending" or chance.random() < 0.6 else _deposit(company, paid),
        "generalLedgerAccount": None if chance.random() < 0.1 else company.catalogue.undeposited,
        "id": number,
        "memo": None if chance.random() < 0.6 else "" if chance.random() < 0.5 else "Paid at the door – thank you!",
        "modifiedOn": to_text(modified),
        "referenceNumber": None if chance.random() < 0.3 else str(number)[-6:],
        "refundedPaymentId": refunded,
        "syncStatus": stage,
        "total": money(total),
        "type": kind,
        "typeId": type_id,  # ServiceTitan: text
        "unappliedAmount": money(deposit),
    }


def _application(company: Company, part: _Part, employee: str, paid: int) -> Record:
    return {
        "appliedAmount": money(part.cents),
        "appliedBy": employee,
        "appliedId": company.new_id("payment applications"),
        "appliedOn": to_text(paid),
        "appliedTo": part.invoice.id,
        "appliedToReferenceNumber": part.invoice.referenceNumber,
    }


def batch(company: Company, moment: int) -> Record:
    """One batch of payments a week."""
    week = moment // (7 * TICKS_PER_DAY)
    return {"id": company.catalogue.tax_zone_ids[1] + week, "number": str(week), "name": f"Payments, week {week}"}


def _deposit(company: Company, paid: int) -> Record:
    day = paid // TICKS_PER_DAY
    return {"id": company.catalogue.tax_zone_ids[2] + day, "name": f"Bank deposit {to_day_text(paid)[:10]}"}


def _custom_fields(chance: Random) -> list[Any] | None:
    if chance.random() < 0.9:
        return None if chance.random() < 0.5 else []
    return [_LOCKBOX]


_LOCKBOX = encoded({"name": "Lockbox", "value": "LB-7"})
