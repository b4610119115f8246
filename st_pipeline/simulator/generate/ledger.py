"""Balances of invoices and of their customers.

Here: changing them. Not here: invoices and payments themselves.
"""

from st_pipeline.simulator.clock import to_day_text
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.invoice_items import money
from st_pipeline.simulator.generate.registry import Record


def cents(text: str | None) -> int:
    """`-12.30` as -1230."""
    return int((text or "0.00").replace(".", ""))


def close_account(company: Company, invoice: Record) -> None:
    """The customer no longer owes this invoice's balance."""
    company.owe(invoice["customer"]["id"], -cents(invoice["balance"]))


def reopen_account(company: Company, invoice: Record) -> None:
    """A deleted invoice was restored: the customer owes its balance again."""
    company.owe(invoice["customer"]["id"], cents(invoice["balance"]))


def open_balance(company: Company, invoice_id: int) -> int:
    """Cents still to pay; 0 when no generator made the invoice."""
    invoice = company.record("invoices", invoice_id)
    return cents(invoice["balance"]) if invoice else 0


def move_balance(company: Company, invoice_id: int, by_cents: int) -> None:
    """A payment was applied to an invoice, or taken back. Nobody owes a deleted invoice."""
    invoice = company.record("invoices", invoice_id)
    if invoice is None:
        return
    balance = cents(invoice["balance"]) + by_cents
    paid_on = None if balance else to_day_text(company.today())
    company.touch("invoices", invoice_id, {"balance": money(balance), "paidOn": paid_on})
    if not company.stores["invoices"].rows[invoice_id].deleted:
        company.owe(invoice["customer"]["id"], by_cents)
