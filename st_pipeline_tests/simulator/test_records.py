"""What a record looks like: keys, order, types, sums, and the same bytes for the same seed."""

from collections.abc import Callable, Iterable
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline.simulator.api_catalogue import Field, catalogue_entries
from st_pipeline.simulator.clock import to_ticks
from st_pipeline_tests.simulator.independent_client import FEEDS, PATHS, IndependentClient

# Documented as never null. Nobody outside has seen it on an e-mail address, where null is likely.
NULL_ALL_THE_SAME = {("customer_contacts", "phoneSettings"), ("location_contacts", "phoneSettings")}
NINE_DIGITS = ("invoices", "jobs", "appointments", "estimates", "payments", "equipment", "location_contacts")
INCLUDE_ALL = dict.fromkeys(
    ("includeDurationBilling", "includeDiscounts", "includeRecurringServices", "includeTags"), "true"
)


def faults_of(fields: Iterable[Field], record: dict[str, Any], where: str, entity: str) -> list[str]:
    """Where a record departs from the documents."""
    fields = tuple(fields)
    if list(record) != [field.name for field in fields]:
        return [f"{where}: keys {list(record)}"]
    return [
        fault for field in fields for fault in value_faults(field, record[field.name], f"{where}.{field.name}", entity)
    ]


def value_faults(field: Field, value: Any, where: str, entity: str) -> list[str]:
    if value is None:
        allowed = field.nullable or field.null_seen_live or (entity, field.name) in NULL_ALL_THE_SAME
        return [] if allowed or field.name == "" else [f"{where}: null"]  # null items of durationBilling are seen live
    if field.kind == "object":
        return faults_of(field.properties, value, where, entity)
    if field.kind == "array":
        assert field.items
        return [fault for item in value for fault in value_faults(field.items, item, where + "[]", entity)]
    return [] if is_of_kind(field, value) else [f"{where}: {value!r} is no {field.kind}"]


def is_of_kind(field: Field, value: Any) -> bool:  # noqa: PLR0911 - a kind a line
    match field.kind:
        case "int32" | "int64":
            return type(value) is int and abs(value) < 2 ** (31 if field.kind == "int32" else 63)
        case "decimal" | "double":
            return type(value) in (int, float)
        case "boolean":
            return type(value) is bool
        case "enum":
            return value in field.values
        case "date-time":
            return isinstance(value, str) and value.endswith("Z") and to_ticks(value) > 0
        case "date":
            return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
        case "duration":
            return isinstance(value, str) and time.fromisoformat(value).isoformat() == value
        case "string":
            return isinstance(value, str) and (not field.values or value in field.values)
    raise AssertionError(field.kind)


@pytest.mark.parametrize("entity", PATHS)
def test_records_of_a_list_have_every_documented_key_in_order_and_type(company: IndependentClient, entity: str):
    entry = catalogue_entries()[entity]
    records = company.walk_list(entity, **(INCLUDE_ALL if entity == "membership_types" else {}))
    assert records
    assert [fault for record in records for fault in faults_of(entry.fields, record, entity, entity)] == []


@pytest.mark.parametrize("entity", FEEDS)
def test_records_of_a_feed_are_those_of_the_list_plus_what_only_feeds_have(company: IndependentClient, entity: str):
    entry = catalogue_entries()[entity]
    records = [record for page in company.walk_feed(entity) for record in page["data"]]
    assert [
        fault for r in records for fault in faults_of(entry.fields + entry.export_only_fields, r, entity, entity)
    ] == []
    listed = {record["id"]: record for record in company.walk_list(entity)}
    more = {field.name for field in entry.export_only_fields} | set(entry.include_flags.values())
    for record in records:
        if record["id"] in listed:
            assert {k: v for k, v in record.items() if k not in more} == {
                k: v for k, v in listed[record["id"]].items() if k not in more
            }


@pytest.mark.parametrize("entity", ["customers", "locations"])
def test_the_nulls_that_tenants_saw_against_the_documents_occur(company: IndependentClient, entity: str):
    records = company.walk_list(entity)
    for part in ("street", "city", "state", "zip", "country"):
        share = sum(record["address"][part] is None for record in records) / len(records)
        assert 0 < share < 0.1, part
    assert any(record["externalData"] is None for record in records)


def test_ids_are_large_numbers_and_unique(company: IndependentClient):
    for entity in ("customers", "locations", "customer_contacts", "memberships", *NINE_DIGITS):
        found = [record["id"] for record in company.walk_list(entity)]
        assert len(set(found)) == len(found)
        assert all(10**8 <= number < 10**12 for number in found)


def test_references_of_customers_lead_to_records(company: IndependentClient):
    customers = {record["id"] for record in company.walk_list("customers")}
    locations = {record["id"]: record["customerId"] for record in company.walk_list("locations")}
    types = {record["id"] for record in company.walk_list("membership_types")}
    invoices = company.walk_list("invoices")
    assert set(locations.values()) <= customers
    reachable = {record["customerId"] for page in company.walk_feed("customer_contacts") for record in page["data"]}
    assert reachable == customers  # deleted contacts counted: everyone has had one
    for membership in company.walk_list("memberships"):
        assert membership["membershipTypeId"] in types
        assert membership["customerId"] in customers
        assert membership["locationId"] is None or locations[membership["locationId"]] == membership["customerId"]
    for invoice in invoices:
        assert locations[invoice["location"]["id"]] == invoice["customer"]["id"]
    adjusted = {invoice["adjustmentToId"] for invoice in invoices} - {None}
    assert adjusted
    assert adjusted <= {invoice["id"] for invoice in invoices}


def test_every_invoice_adds_up_to_the_cent(company: IndependentClient):
    invoices = company.walk_list("invoices")
    for invoice in invoices:
        items = invoice["items"] or []
        for item in items:
            assert Decimal(item["quantity"]) * Decimal(item["price"]) == Decimal(item["total"])
        modifiers = [Decimal(item["total"]) for item in items if item["type"] == "PriceModifier"]
        assert Decimal(invoice["subTotal"]) == sum(Decimal(item["total"]) for item in items)
        assert Decimal(invoice["total"]) == Decimal(invoice["subTotal"]) + Decimal(invoice["salesTax"])
        assert Decimal(invoice["discountTotal"]) == sum(modifiers)
    shapes = {invoice["invoiceConfiguration"] for invoice in invoices}
    assert {"JobInvoice", "MembershipInvoice", "CounterSales"} <= shapes
    assert any(Decimal(invoice["total"]) == 0 for invoice in invoices)
    assert any(Decimal(invoice["discountTotal"]) < 0 for invoice in invoices)
    assert {invoice["syncStatus"] for invoice in invoices} == {"Pending", "Posted", "Exported"}


def test_a_customers_balance_is_what_its_invoices_leave_open(company: IndependentClient):
    owed: dict[int, Decimal] = {}
    for invoice in company.walk_list("invoices"):
        owed[invoice["customer"]["id"]] = owed.get(invoice["customer"]["id"], Decimal(0)) + Decimal(invoice["balance"])
    for customer in company.walk_list("customers"):
        assert Decimal(str(customer["balance"])) == owed.get(customer["id"], Decimal(0))


def test_the_odd_names_are_there(company: IndependentClient):
    names = {record["name"] for record in company.walk_list("customers")}
    assert {"O'Brien, Siobhán", "Smith, John", "王小明", "Zoë 🏠 Keller", "Tab\tBetween", "  Leading Spaces"} <= names
    assert max(map(len, names)) > 200


def test_changes_lie_years_apart_out_of_order_and_sometimes_at_the_same_tick(company: IndependentClient):
    records = company.walk_list("customers", sort="+Id")
    moments = [to_ticks(record["modifiedOn"]) for record in records]
    assert moments != sorted(moments)
    assert len({record["modifiedOn"][:4] for record in records}) >= 4
    assert len(set(moments)) < len(moments)


def test_memberships_come_in_every_state_and_most_expired_ones_stay_active(company: IndependentClient):
    live = company.walk_list("memberships")
    assert {record["status"] for record in live} == {"Active", "Expired", "Canceled", "Suspended"}
    assert all(record["active"] for record in live if record["status"] == "Expired")
    assert any(record["businessUnitId"] == 0 for record in live)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(small: Callable[..., IndependentClient]):
    first, again, other = (small(seed=seed).tenant.truth() for seed in (8, 8, 9))
    assert first == again
    assert first["invoices"]["bytes_checksum"] != other["invoices"]["bytes_checksum"]


def test_times_have_up_to_seven_digits_and_days_are_midnight(company: IndependentClient):
    invoices = company.walk_list("invoices")
    assert any(len(invoice["modifiedOn"]) == len("2026-01-02T16:28:55.8446003Z") for invoice in invoices)
    assert any(len(invoice["modifiedOn"]) < len("2026-01-02T16:28:55.8446003Z") for invoice in invoices)
    assert all(invoice["invoiceDate"].endswith("T00:00:00Z") for invoice in invoices)
