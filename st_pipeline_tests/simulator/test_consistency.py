"""The entities fit together: what one names the other has, and their sums agree, before and after a month."""

# ruff: noqa: SIM905 - a table reads better as text

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline.simulator.clock import to_ticks
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline_tests.simulator.independent_client import FEEDS, NO_LIMIT, PATHS, IndependentClient

Record = dict[str, Any]
RECENT = {"includeRecentChanges": "true"}
JOB_STATE = {"Scheduled": "Scheduled", "Dispatched": "Dispatched", "InProgress": "Working", "Hold": "Hold"}


class World:
    """Everything a reader can get: feeds where there are, with deleted rows; `live` are those the lists show."""

    def __init__(self, client: IndependentClient) -> None:
        self.records: dict[str, dict[int, Record]] = {}
        self.live: dict[str, set[int]] = {}
        for entity in PATHS:
            listed = client.walk_list(entity)
            pages = client.walk_feed(entity, **RECENT) if entity in FEEDS else [{"data": listed}]
            self.records[entity] = {record["id"]: record for page in pages for record in page["data"]}
            self.live[entity] = {record["id"] for record in listed}

    def all(self, entity: str) -> list[Record]:
        """Deleted ones too: they go on naming and being named."""
        return list(self.records[entity].values())

    def shown(self, entity: str) -> list[Record]:
        """What lists show."""
        return [self.records[entity][number] for number in sorted(self.live[entity])]


@pytest.fixture(scope="module", params=["made up", "after a month", "made up after a month"])
def world(request: pytest.FixtureRequest, servicetitan_simulator: SimulatorControl) -> Iterator[World]:
    """A company as it is made up; after much happened; and where much happened before anybody asked for its jobs."""
    tenant = servicetitan_simulator.create_tenant(seed=3, customers=150, invoices=500, settings=NO_LIMIT)
    client = IndependentClient(tenant).log_in()
    if request.param == "after a month":
        tenant.truth()
    for _ in range(4 if request.param != "made up" else 0):
        tenant.advance(created=5, changed=60, merged=1, deleted=9, deactivated=6, reactivated=3, undeleted=4)
        tenant.advance(changed={"invoices": 20}, created={"invoices": 5}, deleted={"invoices": 2})
    if request.param == "after a month":
        work = {"jobs": 4, "payments": 9, "appointments": 3, "estimates": 3, "equipment": 3, "location_contacts": 2}
        tenant.advance(created=work, changed=dict.fromkeys(work, 25))
        tenant.advance(deleted={"payments": 8}, deactivated={"payments": 5})
        tenant.advance(undeleted={"payments": 4}, reactivated={"payments": 6})
    yield World(client)
    tenant.remove()


# entity, path of a reference in its records, entity it leads to. 0 and null lead nowhere, and are allowed.
REFERENCES = """
locations.customerId customers
customer_contacts.customerId customers
location_contacts.locationId locations
memberships.customerId customers
memberships.membershipTypeId membership_types
memberships.businessUnitId business_units
memberships.soldById technicians
invoices.customer.id customers
invoices.location.id locations
invoices.businessUnit.id business_units
invoices.job.id jobs
invoices.membershipId memberships
invoices.adjustmentToId invoices
invoices.items.technicianId technicians
invoices.items.businessUnit.id business_units
jobs.customerId customers
jobs.locationId locations
jobs.businessUnitId business_units
jobs.jobTypeId job_types
jobs.campaignId campaigns
jobs.firstAppointmentId appointments
jobs.lastAppointmentId appointments
jobs.recallForId jobs
jobs.warrantyId jobs
jobs.jobGeneratedLeadSource.jobId jobs
jobs.invoiceId invoices
jobs.membershipId memberships
jobs.soldById technicians
jobs.createdFromEstimateId estimates
jobs.estimateIds estimates
jobs.equipmentIds equipment
jobs.tagTypeIds tag_types
customers.tagTypeIds tag_types
locations.tagTypeIds tag_types
membership_types.tagTypeIds tag_types
business_units.tagTypeIds tag_types
job_types.tagTypeIds tag_types
job_types.businessUnitIds business_units
job_types.customFieldTypeIds custom_fields.jobs
technicians.businessUnitId business_units
appointments.jobId jobs
appointments.customerId customers
appointments.appointmentSummaries.technicianId technicians
estimates.jobId jobs
estimates.customerId customers
estimates.locationId locations
estimates.businessUnitId business_units
estimates.soldBy technicians
payments.customer.id customers
payments.businessUnit.id business_units
payments.appliedTo.appliedTo invoices
payments.refundedPaymentId payments
equipment.locationId locations
equipment.customerId customers
equipment.tags.typeId tag_types
""".split()


def values(record: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(record, list):
        for item in record:
            yield from values(item, path)
    elif record is not None and path:
        yield from values(record[path[0]], path[1:])
    elif record:
        yield record


@pytest.mark.parametrize(("source", "target"), list(zip(REFERENCES[::2], REFERENCES[1::2], strict=True)))
def test_a_reference_leads_to_a_record(world: World, source: str, target: str):
    entity, *path = source.split(".")
    named = {value for record in world.all(entity) for value in values(record, path)}
    assert named
    assert named <= set(world.records[target])


@pytest.mark.parametrize(
    ("entity", "owner"),
    [(entity, f".{entity}") for entity in ("jobs", "customers", "locations", "invoices", "payments")],
)
def test_custom_fields_are_of_a_type_of_their_owner(world: World, entity: str, owner: str):
    types = {(r["id"], r["name"]) for r in world.all("custom_fields" + owner)}
    names = {name for _, name in types}
    fields = [field for record in world.all(entity) for field in record["customFields"] or ()]
    assert fields
    assert all((field["typeId"], field["name"]) in types for field in fields if "typeId" in field)
    assert {field["name"] for field in fields} <= names


def test_an_id_is_in_one_list_of_custom_fields_only(world: World):
    found = [number for entity in PATHS if entity.startswith("custom_fields") for number in world.records[entity]]
    assert len(set(found)) == len(found) > 20


def test_an_invoice_and_its_job_agree(world: World):
    jobs, billed = world.records["jobs"], set()
    types = {record["id"]: record["name"] for record in world.all("job_types")}
    for invoice in world.all("invoices"):
        if invoice["job"] is None:
            continue
        job = jobs[invoice["job"]["id"]]
        billed.add(job["id"])
        assert job["invoiceId"] == invoice["id"]
        assert (job["customerId"], job["locationId"]) == (invoice["customer"]["id"], invoice["location"]["id"])
        assert job["businessUnitId"] == (invoice["businessUnit"]["id"] if invoice["businessUnit"] else 0)
        assert (job["jobNumber"], types[job["jobTypeId"]]) == (invoice["job"]["number"], invoice["job"]["type"])
        assert Decimal(str(job["total"])) == Decimal(invoice["total"])
    for job in jobs.values():
        assert (job["id"] in billed) == (job["invoiceId"] != 0)
        assert job["id"] in billed or job["total"] == 0


def test_a_job_and_its_appointments_agree(world: World):
    visits: dict[int, list[Record]] = defaultdict(list)
    for appointment in world.all("appointments"):
        visits[appointment["jobId"]].append(appointment)
        assert to_ticks(appointment["start"]) < to_ticks(appointment["end"])
    assert visits.keys() == world.records["jobs"].keys()
    for job in world.all("jobs"):
        mine = sorted(visits[job["id"]], key=lambda one: one["id"])
        assert [mine[0]["id"], mine[-1]["id"], len(mine)] == [
            job["firstAppointmentId"], job["lastAppointmentId"], job["appointmentCount"],
        ]  # fmt: skip
        assert {one["customerId"] for one in mine} == {job["customerId"]}
        states = {one["status"] for one in mine}
        assert states - {"Done"} <= {JOB_STATE.get(job["jobStatus"], "Canceled")}
        if job["jobStatus"] == "Completed":
            assert states == {"Done"}
            assert all(to_ticks(one["end"]) <= to_ticks(job["completedOn"]) for one in mine if world_is_history(job))


def world_is_history(job: Record) -> bool:
    """Completed when it was made up: what time completed may end before its appointments were due."""
    return job["completedOn"] < "2026-11-01"


def test_a_job_and_its_estimates_agree(world: World):
    options: dict[int, set[int]] = defaultdict(set)
    for estimate in world.all("estimates"):
        job = world.records["jobs"][estimate["jobId"]]
        options[job["id"]].add(estimate["id"])
        keys = ("jobNumber", "customerId", "locationId", "projectId")
        assert [estimate[key] for key in keys] == [job[key] for key in keys]
        assert (estimate["businessUnitId"] or 0) == job["businessUnitId"]
        sold = estimate["status"] == {"value": 1, "name": "Sold"}
        assert sold == (estimate["soldOn"] is not None) == (estimate["soldBy"] is not None)
        items = estimate["items"] or []
        assert Decimal(str(estimate["subtotal"])) == sum(Decimal(str(item["total"])) for item in items)
        assert all(item["qty"] * item["unitRate"] == pytest.approx(item["total"]) for item in items)
    assert all(set(job["estimateIds"]) == options[job["id"]] for job in world.all("jobs"))
    led = {job["createdFromEstimateId"] for job in world.all("jobs")} - {None}
    assert led
    assert {world.records["estimates"][number]["status"]["name"] for number in led} == {"Sold"}


def test_what_payments_apply_is_what_invoices_lack(world: World):
    """Payments that are voided or deleted apply to nothing."""
    applied: dict[int, Decimal] = defaultdict(Decimal)
    for payment in world.all("payments"):
        parts = [(part["appliedTo"], Decimal(part["appliedAmount"])) for part in payment["appliedTo"] or ()]
        assert Decimal(payment["total"]) == sum(a for _, a in parts) + Decimal(payment["unappliedAmount"])
        counts = payment["active"] and payment["id"] in world.live["payments"]
        for number, amount in parts if counts else ():
            applied[number] += amount
            assert world.records["invoices"][number]["customer"] == payment["customer"]
    for invoice in world.all("invoices"):
        assert Decimal(invoice["total"]) - Decimal(invoice["balance"]) == applied[invoice["id"]], invoice["id"]
        assert (invoice["paidOn"] is not None) <= (Decimal(invoice["balance"]) == 0)
    assert applied
    assert any(len(payment["appliedTo"] or ()) > 1 for payment in world.all("payments"))


def test_a_customers_balance_is_still_what_its_invoices_leave_open(world: World):
    owed: dict[int, Decimal] = defaultdict(Decimal)
    for invoice in world.shown("invoices"):
        owed[invoice["customer"]["id"]] += Decimal(invoice["balance"])
    assert all(Decimal(str(customer["balance"])) == owed[customer["id"]] for customer in world.all("customers"))


def test_equipment_is_where_its_customer_has_a_location(world: World):
    for unit in world.all("equipment"):
        assert world.records["locations"][unit["locationId"]]["customerId"] == unit["customerId"]
        assert (unit["status"] == "Replaced") == (unit["actualReplacementDate"] is not None)
    for job in world.all("jobs"):
        places = {world.records["equipment"][number]["locationId"] for number in job["equipmentIds"]}
        assert places <= {job["locationId"]}


def test_nothing_is_changed_before_it_is_created(world: World):
    for entity in ("jobs", "appointments", "estimates", "payments", "equipment", "location_contacts", "technicians"):
        for record in world.all(entity):
            assert to_ticks(record["createdOn"]) <= to_ticks(record["modifiedOn"]), (entity, record["id"])


@pytest.mark.parametrize(
    ("entity", "of", "least", "most"),
    [
        ("jobs", "invoices", 0.9, 1.1),
        ("appointments", "jobs", 1.1, 1.3),
        ("estimates", "jobs", 0.4, 0.8),
        ("payments", "invoices", 0.7, 1.0),
        ("equipment", "locations", 0.35, 0.7),
        ("location_contacts", "locations", 0.9, 1.5),
    ],
)
def test_entities_are_in_proportion(company: IndependentClient, entity: str, of: str, least: float, most: float):
    truth = company.tenant.truth()
    assert least <= truth[entity]["live"] / truth[of]["live"] <= most


@pytest.mark.parametrize(("invoices", "technicians", "units"), [(60, 10, 4), (1_200, 13, 5)])
def test_a_larger_company_has_more_people(
    small: Callable[..., IndependentClient], invoices: int, technicians: int, units: int
):
    truth = small(customers=invoices // 3, invoices=invoices).tenant.truth()
    assert (truth["technicians"]["live"], truth["business_units"]["live"]) == (technicians, units)
    assert (truth["job_types"]["live"], truth["call_reasons"]["live"], truth["campaigns"]["live"]) == (20, 10, 12)


def test_every_state_occurs(company: IndependentClient):
    states = {record["jobStatus"] for record in company.walk_list("jobs")}
    assert states == {"Scheduled", "Dispatched", "InProgress", "Hold", "Completed", "Canceled"}
    assert {r["status"]["name"] for r in company.walk_list("estimates")} == {"Open", "Sold", "Dismissed"}
    assert {r["syncStatus"] for r in company.walk_list("payments")} == {"Pending", "Posted", "Exported"}
    assert {r["status"] for r in company.walk_list("equipment")} == {"Installed", "Replaced"}
    assert {r["businessUnitId"] for r in company.walk_list("jobs")} > {0}  # seen live: 0 for none
    completed = [r for r in company.walk_list("jobs") if r["jobStatus"] == "Completed"]
    assert any(r["total"] == 0 for r in completed)
