"""invoices_stream: what a record is made of, what renews it, and the rules of both streams."""

import json
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline_tests.streams.conftest import Watched


def test_a_record_is_the_invoice_in_downstreams_words(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    changes = {
        "referenceNumber": "R-17",
        "customer": {"id": acme.customer(), "name": "John & Mary Smith"},
        "customerAddress": {"street": "1 Elm St", "unit": "", "city": "Duluth", "state": "MN", "zip": "55802"},
        "job": {"id": 5, "number": "J-5", "type": "No Heat"},
        "businessUnit": {"id": 6, "name": "HVAC Service"},
        "subTotal": "100.10",
        "salesTax": "7.005",
        "total": "107.105",
        "balance": "0.00",
        "invoiceDate": "2026-02-09T00:00:00Z",
        "dueDate": "2026-03-09T00:00:00Z",
        "summary": "<p>New coil</p>",
        "syncStatus": "Posted",
        "active": True,
    }
    acme.source.patch("customers", acme.customer(), {"type": "Residential"})
    acme.source.patch("invoices", invoice, changes)
    acme.sync()
    expected = {
        "invoice_number": str(invoice),
        "reference_number": "R-17",
        "customer_id": str(acme.customer()),
        "customer_name": "John & Mary Smith",
        "customer_first_name": "John & Mary",
        "customer_last_name": "Smith",
        "customer_address": "1 Elm St",
        "customer_city": "Duluth",
        "customer_state": "MN",
        "customer_zip": "55802",
        "job_number": "J-5",
        "job_type": "No Heat",
        "business_unit": "HVAC Service",
        "subtotal": Decimal("100.10"),
        "tax": Decimal("7.005"),
        "total": Decimal("107.105"),
        "balance": Decimal("0.00"),
        "summary": "<p>New coil</p>",
        "status": "Posted",
        "active": True,
        "still_exists": True,
    }
    record = acme.invoice(invoice)
    assert {name: record[name] for name in expected} == expected
    assert (str(record["invoice_date"]), str(record["due_date"])) == ("2026-02-09", "2026-03-09")


def test_a_deleted_invoice_is_marked_and_not_dropped(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    acme.source.delete("invoices", invoice)
    acme.sync()
    assert acme.invoice(invoice)["still_exists"] is False


def test_an_invoice_that_only_a_full_sync_finds_deleted_is_marked_too(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    # As if the feed had never told: the row is there, the source never had it.
    with acme.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE copy AS SELECT * FROM st_invoices LIMIT 1")
        connection.exec_driver_sql("UPDATE copy SET st_id = 77, full_data = NULL")
        connection.exec_driver_sql("INSERT INTO st_invoices SELECT * FROM copy")
    acme.sync(incremental_only=False)
    assert acme.invoice(77)["still_exists"] is False
    assert acme.invoice(invoice)["still_exists"] is True


def test_an_invoice_of_a_merged_customer_leads_to_the_one_that_survived(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    customer = acme.source.record("invoices", invoice)["customer"]["id"]
    survivor = acme.add("customers", acme.customer(), name="Jane Roe", type="Residential")
    acme.source.patch("customers", customer, {"mergedToId": survivor, "active": False})
    acme.sync()
    record = acme.invoice(invoice)
    assert (record["customer_id"], record["customer_name"]) == (str(survivor), "Jane Roe")
    acme.source.patch("customers", survivor, {"name": "Jane Doe"})
    acme.sync()
    assert acme.invoice(invoice)["customer_last_name"] == "Doe"


def test_a_customer_that_turns_commercial_renews_its_invoices(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    customer = acme.source.record("invoices", invoice)["customer"]["id"]
    acme.source.patch("customers", customer, {"type": "Residential"})
    acme.source.patch("invoices", invoice, {"customer": {"id": customer, "name": "John Smith"}})
    acme.sync()
    assert acme.invoice(invoice)["customer_last_name"] == "Smith"
    acme.source.patch("customers", customer, {"type": "Commercial"})
    acme.sync()
    assert acme.invoice(invoice)["customer_last_name"] == "John Smith"


def test_a_customers_balance_renews_none_of_its_invoices(acme: Watched):
    """A home warranty company has ten thousand invoices, and each new one moves its balance."""
    invoice = acme.source.ids("invoices")[0]
    customer = acme.source.record("invoices", invoice)["customer"]["id"]
    acme.source.patch("customers", customer, {"balance": 123.45})
    assert acme.outcome("invoices_stream").result.counts.processed == 0


REJECTING = [
    ("invoice has no customer", {"customer": None}),
    ("total is not a number", {"total": None}),
    ("invoice date is outside 1990 to next year", {"invoiceDate": "1989-12-31T00:00:00Z"}),
    ("invoice date is outside 1990 to next year", {"invoiceDate": "2199-01-01T00:00:00Z"}),
]


@pytest.mark.parametrize(("rule", "changes"), REJECTING)
def test_a_record_that_breaks_a_rule_is_kept_aside_until_it_passes(acme: Watched, rule: str, changes: dict[str, Any]):
    invoice = acme.source.ids("invoices")[0]
    good = acme.source.record("invoices", invoice)
    new = acme.add("invoices", invoice, **changes)
    counts = acme.outcome("invoices_stream").result.counts
    assert (counts.failed, str(new) in acme.records("invoices_stream")) == (1, False)
    ((reasons, record),) = acme.rows("SELECT reasons, record FROM sync_rejects WHERE entity = 'invoices_stream'")
    assert reasons == [rule]
    assert json.loads(bytes(record))["invoice_number"] == str(new)
    acme.source.patch("invoices", new, {key: good[key] for key in changes})
    acme.sync()
    assert acme.rows("SELECT * FROM sync_rejects") == []
    assert acme.invoice(new)["still_exists"] is True


@pytest.mark.parametrize("day", ["1990-01-01T00:00:00Z", None])
def test_a_date_at_the_edge_and_none_at_all_pass(acme: Watched, day: str | None):
    new = acme.add("invoices", acme.source.ids("invoices")[0], invoiceDate=day)
    assert acme.outcome("invoices_stream").result.counts.failed == 0
    assert str(acme.invoice(new)["invoice_date"]) == str(day)[:10]


def test_rules_that_warn_write_the_record_and_count_it(acme: Watched):
    like = acme.source.ids("invoices")[0]
    acme.add("invoices", like, invoiceDate=None, dueDate="2099-01-01T00:00:00Z", customer={"id": 4, "name": None})
    result = acme.outcome("invoices_stream").result
    assert result.counts.created == 1
    assert result.warnings == {
        "invoice has no date (invoice_date)": 1,
        "due date is outside 1990 to next year (due_date)": 1,
        "customer has no name (customer_name)": 1,
    }


def test_a_membership_that_starts_in_no_real_year_keeps_its_member_aside(acme: Watched):
    customer = acme.add("customers", acme.customer(), name="Jane Roe")
    like = acme.source.ids("memberships")[0]
    held = acme.add("memberships", like, customerId=customer, status="Active", **{"from": "0001-01-01T00:00:00Z"})
    assert acme.outcome("members_stream").result.counts.failed == 1
    acme.source.patch("memberships", held, {"from": "2026-01-01T00:00:00Z", "to": "1980-01-01T00:00:00Z"})
    result = acme.outcome("members_stream").result
    assert (result.counts.failed, result.warnings) == (0, {"membership end is before 1990 (membership_end)": 1})
    assert acme.rows("SELECT * FROM sync_rejects") == []
