"""Every documented filter of the six entities selects what a reader of the whole list would."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline.simulator.clock import to_ticks
from st_pipeline.simulator.facts import all_facts
from st_pipeline_tests.simulator.stranger import PATHS, Stranger

Record = dict[str, Any]
Keep = Callable[[Record], bool]
DAY = "2025-06-01T00:00:00Z"
CONTROL = {"page", "pageSize", "includeTotal", "sort", "orderBy", "orderByDirection", "ids", "active", "activeState"}
FIXED_BY_OTHER_TESTS = {
    "phone",
    "excludeAccountingChangesFromModifiedDateRange",
    "externalDataApplicationGuid",
    "externalDataKey",
    "externalDataValues",
    "customField.Fields",
    "customField.Operator",
    "balanceFilter.Comparer",
}


def since(key: str) -> Keep:
    return lambda record: to_ticks(record[key]) >= to_ticks(DAY)


def before(key: str) -> Keep:
    return lambda record: to_ticks(record[key]) < to_ticks(DAY)


TIMES = {
    "createdOnOrAfter": (DAY, since("createdOn")),
    "createdBefore": (DAY, before("createdOn")),
    "modifiedOnOrAfter": (DAY, since("modifiedOn")),
    "modifiedBefore": (DAY, before("modifiedOn")),
}


def address(part: str) -> Callable[[Record], tuple[Any, Keep]]:
    return lambda sample: (sample["address"][part], lambda record: record["address"][part] == sample["address"][part])


def same(*path: str) -> Callable[[Record], tuple[Any, Keep]]:
    def value(record: Record) -> Any:
        for key in path:
            record = record[key] if record is not None else record
        return record

    return lambda sample: (value(sample), lambda record: value(record) == value(sample))


PLACE = {part: address(part) for part in ("street", "unit", "city", "state", "zip", "country", "latitude", "longitude")}
CASES: dict[str, dict[str, Any]] = {
    "customers": {**TIMES, **PLACE, "name": ("smith", lambda r: "smith" in r["name"].lower())},
    "locations": {
        **TIMES,
        **PLACE,
        "name": ("GARCIA", lambda r: "garcia" in r["name"].lower()),
        "customerId": same("customerId"),
    },
    "customer_contacts": {**TIMES, "customerIds": same("customerId")},
    "memberships": {
        **TIMES,
        "customerIds": same("customerId"),
        "status": ("Suspended", lambda r: r["status"] == "Suspended"),
        "duration": same("duration"),
        "billingFrequency": ("Quarterly", lambda r: r["billingFrequency"] == "Quarterly"),
    },
    "membership_types": {
        **TIMES,
        "duration": (12, lambda r: r["durationBilling"][0]["duration"] == 12),
        "billingFrequency": ("OneTime", lambda r: r["durationBilling"][0]["billingFrequency"] == "OneTime"),
    },
    "invoices": {
        **TIMES,
        "statuses": (["Pending", "Posted"], lambda r: r["syncStatus"] != "Exported"),
        "batchId": same("batch", "id"),
        "batchNumber": same("batch", "number"),
        "jobId": same("job", "id"),
        "jobNumber": same("job", "number"),
        "businessUnitId": same("businessUnit", "id"),
        "customerId": same("customer", "id"),
        "invoicedOnOrAfter": (DAY, since("invoiceDate")),
        "invoicedOnBefore": (DAY, before("invoiceDate")),
        "dueDateOnOrAfter": (DAY, since("dueDate")),
        "dueDateBefore": (DAY, before("dueDate")),
        "adjustmentToId": same("adjustmentToId"),
        "number": same("referenceNumber"),
        "totalGreater": ("1000.00", lambda r: Decimal(r["total"]) > 1000),
        "totalLess": ("0", lambda r: Decimal(r["total"]) < 0),
        "balanceFilter.Balance": ("0", lambda r: Decimal(r["balance"]) == 0),
        "reviewStatuses": (["OnHold", "Reviewed"], lambda r: r["reviewStatus"] in ("OnHold", "Reviewed")),
        "assignedToIds": same("assignedTo", "id"),
        "invoiceConfigurations": ("CounterSales", lambda r: r["invoiceConfiguration"] == "CounterSales"),
    },
}


@pytest.fixture(scope="module")
def everything(company: Stranger) -> dict[str, list[Record]]:
    """The whole of each list, with all parts."""
    flags = dict.fromkeys(all_facts()["membership_types"].include_flags, "true")
    return {entity: company.walk_list(entity, **(flags if entity == "membership_types" else {})) for entity in PATHS}


@pytest.mark.parametrize(
    ("entity", "parameter"), [(entity, parameter) for entity, cases in CASES.items() for parameter in cases]
)
def test_a_filter_selects_what_it_says(
    company: Stranger, everything: dict[str, list[Record]], entity: str, parameter: str
):
    case = CASES[entity][parameter]
    if callable(case):  # built from a record that has the value
        samples = (case(record) for record in everything[entity])
        value, keep = next((value, keep) for value, keep in samples if value not in (None, ""))
    else:
        value, keep = case
    found = {record["id"] for record in company.walk_list(entity, **{parameter.replace(".", "__"): value})}
    expected = {record["id"] for record in everything[entity] if keep(record)}
    assert found == expected
    assert 0 < len(expected) < len(everything[entity])


def test_every_documented_parameter_has_a_case_here():
    for entity, cases in CASES.items():
        facts = all_facts()[entity]
        assert set(facts.list_params) - CONTROL - FIXED_BY_OTHER_TESTS - set(facts.include_flags) == set(cases), entity


def test_balance_can_be_compared_in_four_ways(company: Stranger, everything: dict[str, list[Record]]):
    compare: dict[str, Keep] = {
        "Equals": lambda r: Decimal(r["balance"]) == 0,
        "NotEquals": lambda r: Decimal(r["balance"]) != 0,
        "Greater": lambda r: Decimal(r["balance"]) > 0,
        "Less": lambda r: Decimal(r["balance"]) < 0,
    }
    for comparer, keep in compare.items():
        found = company.walk_list("invoices", balanceFilter__Balance="0.0", balanceFilter__Comparer=comparer)
        assert {r["id"] for r in found} == {r["id"] for r in everything["invoices"] if keep(r)}


def test_customers_are_found_by_the_phone_of_a_contact(company: Stranger, everything: dict[str, list[Record]]):
    contact = next(c for c in everything["customer_contacts"] if c["type"] == "MobilePhone" and len(c["value"]) == 10)
    found = {record["id"] for record in company.walk_list("customers", phone=contact["value"])}
    assert contact["customerId"] in found
    assert len(found) < 5


def test_external_data_that_nobody_stored_finds_nobody(company: Stranger):
    assert company.walk_list("customers", externalDataKey="crm", externalDataValues="1") == []


def test_filters_go_together(company: Stranger, everything: dict[str, list[Record]]):
    found = company.walk_list(
        "invoices", statuses="Exported", totalGreater=500, invoicedOnOrAfter=DAY, activeState="ActiveOnly"
    )
    keep = since("invoiceDate")
    assert {r["id"] for r in found} == {
        r["id"]
        for r in everything["invoices"]
        if r["syncStatus"] == "Exported" and Decimal(r["total"]) > 500 and keep(r) and r["active"]
    }


def test_the_time_bounds_are_inclusive_below_and_exclusive_above(
    company: Stranger, everything: dict[str, list[Record]]
):
    sample = everything["customers"][7]
    assert sample["id"] in {r["id"] for r in company.walk_list("customers", modifiedOnOrAfter=sample["modifiedOn"])}
    assert sample["id"] not in {r["id"] for r in company.walk_list("customers", modifiedBefore=sample["modifiedOn"])}


def test_a_balance_change_moves_a_customer_unless_accounting_is_left_out(small: Callable[..., Stranger]):
    stranger = small()
    newest = stranger.tenant.truth()["customers"]["newest_modified_on"]
    stranger.tenant.advance(created={"invoices": 3})
    moved = {r["id"] for r in stranger.walk_list("customers", modifiedOnOrAfter="2026-11-01")}
    assert moved
    assert stranger.tenant.truth()["customers"]["newest_modified_on"] > newest
    quiet = stranger.walk_list(
        "customers", modifiedOnOrAfter="2026-11-01", excludeAccountingChangesFromModifiedDateRange="true"
    )
    assert quiet == []
