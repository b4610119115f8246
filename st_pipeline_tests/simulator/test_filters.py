"""Every documented filter selects what a reader of the whole list would."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.clock import to_ticks
from st_pipeline_tests.simulator.filter_cases import (
    CASES,
    CONTROL,
    DAY,
    FIXED_BY_OTHER_TESTS,
    LOOKS_INTO,
    Keep,
    Record,
    since,
)
from st_pipeline_tests.simulator.independent_client import PATHS, IndependentClient, ids


@pytest.mark.parametrize(
    ("entity", "parameter"), [(entity, parameter) for entity, cases in CASES.items() for parameter in cases]
)
def test_a_filter_selects_what_it_says(
    company: IndependentClient, everything: dict[str, list[Record]], entity: str, parameter: str
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
        entry = catalogue_entries()[entity]
        elsewhere = CONTROL | FIXED_BY_OTHER_TESTS | {name for of, name in LOOKS_INTO if of == entity}
        assert set(entry.list_params) - elsewhere - set(entry.include_flags) == set(cases), entity
    assert [name for name in PATHS if name not in CASES and not name.startswith("custom_fields.")] == []


def test_balance_can_be_compared_in_four_ways(company: IndependentClient, everything: dict[str, list[Record]]):
    compare: dict[str, Keep] = {
        "Equals": lambda r: Decimal(r["balance"]) == 0,
        "NotEquals": lambda r: Decimal(r["balance"]) != 0,
        "Greater": lambda r: Decimal(r["balance"]) > 0,
        "Less": lambda r: Decimal(r["balance"]) < 0,
    }
    for comparer, keep in compare.items():
        found = company.walk_list("invoices", balanceFilter__Balance="0.0", balanceFilter__Comparer=comparer)
        assert {r["id"] for r in found} == {r["id"] for r in everything["invoices"] if keep(r)}


def test_customers_are_found_by_the_phone_of_a_contact(company: IndependentClient, everything: dict[str, list[Record]]):
    contact = next(c for c in everything["customer_contacts"] if c["type"] == "MobilePhone" and len(c["value"]) == 10)
    found = {record["id"] for record in company.walk_list("customers", phone=contact["value"])}
    assert contact["customerId"] in found
    assert len(found) < 5


def test_external_data_that_nobody_stored_finds_nobody(company: IndependentClient):
    assert company.walk_list("customers", externalDataKey="crm", externalDataValues="1") == []


def test_filters_go_together(company: IndependentClient, everything: dict[str, list[Record]]):
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
    company: IndependentClient, everything: dict[str, list[Record]]
):
    sample = everything["customers"][7]
    assert sample["id"] in {r["id"] for r in company.walk_list("customers", modifiedOnOrAfter=sample["modifiedOn"])}
    assert sample["id"] not in {r["id"] for r in company.walk_list("customers", modifiedBefore=sample["modifiedOn"])}


def test_a_balance_change_moves_a_customer_unless_accounting_is_left_out(small: Callable[..., IndependentClient]):
    client = small()
    newest = client.tenant.truth()["customers"]["newest_modified_on"]
    client.tenant.advance(created={"invoices": 3})
    moved = {r["id"] for r in client.walk_list("customers", modifiedOnOrAfter="2026-11-01")}
    assert moved
    assert client.tenant.truth()["customers"]["newest_modified_on"] > newest
    quiet = client.walk_list(
        "customers", modifiedOnOrAfter="2026-11-01", excludeAccountingChangesFromModifiedDateRange="true"
    )
    assert quiet == []


def test_jobs_are_found_by_their_appointments(company: IndependentClient, everything: dict[str, list[Record]]):
    """Two bounds are of the same appointment: one before and one after do not make a job that has one between."""
    every = {job["id"] for job in everything["jobs"]}
    visits: dict[int, list[Record]] = {}
    for visit in everything["appointments"]:
        visits.setdefault(visit["jobId"], []).append(visit)
    until = "2025-07-01T00:00:00Z"

    def jobs_with(keep: Keep) -> set[int]:
        return {number for number, mine in visits.items() if number in every and any(keep(visit) for visit in mine)}

    def between(visit: Record) -> bool:
        return to_ticks(DAY) <= to_ticks(visit["start"]) < to_ticks(until)

    technician = next(v for v in everything["appointments"] if v["appointmentSummaries"])["appointmentSummaries"][0]
    firsts = {job["firstAppointmentId"] for job in everything["jobs"]}
    cases: list[tuple[dict[str, Any], set[int]]] = [
        ({"appointmentStatus": "Working"}, jobs_with(lambda v: v["status"] == "Working")),
        ({"appointmentStartsOnOrAfter": DAY, "appointmentStartsBefore": until}, jobs_with(between)),
        (
            {"firstAppointmentStartsOnOrAfter": DAY, "firstAppointmentStartsBefore": until},
            jobs_with(lambda v: v["id"] in firsts and between(v)),
        ),
        (
            {"technicianId": technician["technicianId"]},
            jobs_with(
                lambda v: technician["technicianId"] in {s["technicianId"] for s in v["appointmentSummaries"] or ()}
            ),
        ),
        ({"hasUnusedAppointments": "true"}, jobs_with(lambda v: v["unused"])),
        ({"hasUnusedAppointments": "false"}, every - jobs_with(lambda v: v["unused"])),
    ]
    for asked, expected in cases:
        assert {record["id"] for record in company.walk_list("jobs", **asked)} == expected, asked
        assert 0 < len(expected) < len(every)


def test_appointments_are_found_by_the_project_of_their_job(
    company: IndependentClient, everything: dict[str, list[Record]]
):
    job = next(job for job in everything["jobs"] if job["projectId"])
    found = company.walk_list("appointments", projectId=job["projectId"])
    assert {record["jobId"] for record in found} == {job["id"]}
    assert len(found) == job["appointmentCount"]


def test_custom_field_types_of_equipment_can_be_had_backwards_and_want_their_three_parameters(
    company: IndependentClient,
):
    paging = {"page": 1, "pageSize": 50}
    upwards, downwards = (
        ids(company.list("custom_fields.equipment", descending=way, **paging)) for way in ("false", "true")
    )
    assert downwards == upwards[::-1] != upwards
    for missing in ("page", "pageSize", "descending"):
        params = {name: value for name, value in {**paging, "descending": "true"}.items() if name != missing}
        assert company.list("custom_fields.equipment", **params).status_code == 400


def test_jobs_can_be_sorted_by_priority_and_campaigns_by_name(company: IndependentClient):
    priorities = [record["priority"] for record in company.walk_list("jobs", sort="+Priority")]
    names = [record["name"] for record in company.walk_list("campaigns", sort="-Name")]
    assert priorities == sorted(priorities)
    assert names == sorted(names, reverse=True)
    assert len(set(priorities)) == 4
