"""Time moves in every entity: jobs are done, estimates sold, payments made, people leave."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.simulator.independent_client import FEEDS, PATHS, IndependentClient, ids

Small = Callable[..., IndependentClient]
RECENT = {"includeRecentChanges": "true"}
SIX = ("customers", "locations", "customer_contacts", "memberships", "membership_types", "invoices")
HAS_ACTIVE = [
    name
    for name in PATHS
    if "active" in {f.name for f in catalogue_entries()[name].fields + catalogue_entries()[name].export_only_fields}
]


def token_of(client: IndependentClient, entity: str) -> str:
    return str(list(client.walk_feed(entity, **RECENT))[-1]["continueFrom"])


def news(client: IndependentClient, entity: str, token: str) -> dict[int, dict[str, Any]]:
    pages = client.walk_feed(entity, from_=token, **RECENT)
    return {record["id"]: record for page in pages for record in page["data"]}


@pytest.mark.parametrize("entity", PATHS)
def test_records_are_created_and_changed_in_every_entity(small: Small, entity: str):
    client = small(settings={"recent_repeats": 0})
    client.tenant.truth()
    token = token_of(client, entity) if entity in FEEDS else ""
    before = {record["id"]: record for record in client.walk_list(entity)}
    made = client.tenant.advance(created={entity: 2})[entity]["created"]
    assert len(made) == 2
    assert not set(made) & set(before)
    changed = client.tenant.advance(changed={entity: 3})[entity]["changed"]
    after = {record["id"]: record for record in client.walk_list(entity)}
    assert set(made) <= set(after)
    for number in changed:
        record = client.tenant.record(entity, number)
        assert record != before.get(number)
        assert "modifiedOn" not in record or record["modifiedOn"] > "2026-11-01"
    if entity in FEEDS:
        assert {*made, *changed} <= set(news(client, entity, token))


@pytest.mark.parametrize("entity", PATHS)
def test_records_are_deleted_and_come_back_in_every_entity(small: Small, entity: str):
    client = small(settings={"recent_repeats": 0})
    live = set(ids_of(client, entity))
    token = token_of(client, entity) if entity in FEEDS else ""
    gone = client.tenant.advance(deleted={entity: 1})[entity]["deleted"]
    assert len(gone) == 1
    rest = set(ids_of(client, entity))
    assert rest < live if entity == "custom_fields" else rest == live - set(gone)
    if entity in FEEDS:
        assert news(client, entity, token)[gone[0]].get("active", False) is False
    back = client.tenant.advance(undeleted={entity: 99})[entity]["undeleted"]
    assert set(gone) <= set(back)
    assert set(back) <= set(ids_of(client, entity))
    assert set(client.tenant.record(entity, gone[0])) == {
        field.name for field in catalogue_entries()[entity].fields + catalogue_entries()[entity].export_only_fields
    }


def ids_of(client: IndependentClient, entity: str) -> list[int]:
    return [record["id"] for record in client.walk_list(entity)]


@pytest.mark.parametrize("entity", HAS_ACTIVE)
def test_records_are_deactivated_and_come_back_where_they_can_be(small: Small, entity: str):
    client = small()
    live = set(ids_of(client, entity))
    gone = client.tenant.advance(deactivated={entity: 2})[entity]["deactivated"]
    assert [client.tenant.record(entity, number)["active"] for number in gone] == [False, False]
    assert set(ids_of(client, entity)) == live  # the walk asks for every state
    if catalogue_entries()[entity].active_filter == "active":
        assert not set(gone) & set(ids(client.list(entity, pageSize=5000)))
    back = client.tenant.advance(reactivated={entity: 999})[entity]["reactivated"]
    assert set(gone) <= set(back)


def test_what_an_entity_has_no_key_for_does_not_happen_to_it(small: Small):
    client = small()
    before = client.tenant.truth()
    assert client.tenant.advance(deactivated={"custom_fields": 2}, reactivated={"custom_fields": 2}) == {}
    assert client.tenant.advance(merged={"jobs": 2, "payments": 1, "memberships": 1}) == {}
    assert client.tenant.truth() == before


def test_changes_of_custom_fields_are_spread_over_their_owners(small: Small):
    client = small()
    changed = client.tenant.advance(changed={"custom_fields": 8})["custom_fields"]["changed"]
    lists = {name: set(ids_of(client, name)) for name in PATHS if name.startswith("custom_fields")}
    assert len(lists) == 8
    assert all(len(found & set(changed)) == 1 for found in lists.values())


def test_jobs_go_on_until_they_are_completed_and_their_appointments_are_done(small: Small):
    client = small()
    (number,) = client.tenant.advance(created={"jobs": 1})["jobs"]["created"]
    states = [client.tenant.record("jobs", number)["jobStatus"]]
    for _ in range(60):
        if states[-1] in ("Completed", "Canceled"):
            break
        client.tenant.advance(changed={"jobs": 500})
        states.append(client.tenant.record("jobs", number)["jobStatus"])
    assert states[-1] in ("Completed", "Canceled")
    record = client.tenant.record("jobs", number)
    visits = client.walk_list("appointments", jobId=number)
    expected = "Done" if states[-1] == "Completed" else "Canceled"
    assert {visit["status"] for visit in visits} == {expected}
    assert (record["completedOn"] is not None) == (states[-1] == "Completed")
    done = [r for r in client.walk_list("jobs", completedOnOrAfter="2026-11-01") if r["jobStatus"] == "Completed"]
    assert done


def test_an_appointment_that_moves_takes_its_job_along(small: Small):
    client = small()
    client.tenant.truth()
    done = [client.tenant.advance(changed={"appointments": 400}) for _ in range(3)]
    moved = {number for step in done for number in step.get("jobs", {}).get("changed", ())}
    assert moved
    states = {client.tenant.record("jobs", number)["jobStatus"] for number in moved}
    assert states <= {"Dispatched", "InProgress", "Completed", "Canceled", "Hold", "Scheduled"}


def test_estimates_are_sold_and_their_jobs_know_by_whom(small: Small):
    client = small(invoices=300)
    changed = client.tenant.advance(changed={"estimates": 80})["estimates"]["changed"]
    sold = [r for r in client.walk_list("estimates", soldAfter="2026-11-01") if r["id"] in changed]
    assert sold
    people = set(client.tenant.ids("technicians"))
    last = {estimate["jobId"]: estimate["soldBy"] for estimate in sorted(sold, key=lambda one: one["soldOn"])}
    for estimate in sold:
        assert estimate["status"] == {"value": 1, "name": "Sold"}
        assert estimate["soldBy"] in people
    assert {job: client.tenant.record("jobs", job)["soldById"] for job in last} == last


def open_amounts(client: IndependentClient) -> dict[int, Decimal]:
    return {r["id"]: Decimal(r["balance"]) for r in client.walk_list("invoices") if Decimal(r["balance"])}


def test_a_payment_moves_the_balance_of_its_invoice_and_of_its_customer(small: Small):
    client = small(invoices=300)
    due, owed = open_amounts(client), Decimal(client.tenant.truth()["customers"]["totals"]["balance"])
    done = client.tenant.advance(created={"payments": 3})
    payments = [client.tenant.record("payments", number) for number in done["payments"]["created"]]
    assert len(payments) == 3
    for payment in payments:
        (part,) = payment["appliedTo"]
        invoice = client.tenant.record("invoices", part["appliedTo"])
        assert Decimal(invoice["balance"]) == due[invoice["id"]] - Decimal(part["appliedAmount"])
        assert (Decimal(invoice["balance"]) == 0) == (invoice["paidOn"] is not None)
    paid = sum(Decimal(payment["total"]) for payment in payments)
    assert Decimal(client.tenant.truth()["customers"]["totals"]["balance"]) == owed - paid
    assert set(done["invoices"]["changed"]) == {payment["appliedTo"][0]["appliedTo"] for payment in payments}
    assert done["customers"]["changed"]


@pytest.mark.parametrize(("away", "back"), [("deleted", "undeleted"), ("deactivated", "reactivated")])
def test_a_payment_taken_back_opens_its_invoices_and_applies_again_later(small: Small, away: str, back: str):
    client = small(invoices=300)
    before = client.tenant.truth()["invoices"]["totals"]["balance"]
    gone = client.tenant.advance(**{away: {"payments": 5}})["payments"][away]
    amount = sum(
        Decimal(part["appliedAmount"])
        for number in gone
        for part in client.tenant.record("payments", number)["appliedTo"]
    )
    assert amount
    assert Decimal(client.tenant.truth()["invoices"]["totals"]["balance"]) == Decimal(before) + amount
    client.tenant.advance(**{back: {"payments": 999}})
    assert client.tenant.truth()["invoices"]["totals"]["balance"] == before


def test_a_payment_whose_invoice_was_paid_otherwise_comes_back_unapplied(small: Small):
    client = small(invoices=300)
    gone = client.tenant.advance(deleted={"payments": 400})["payments"]["deleted"]
    client.tenant.advance(created={"payments": 400})
    client.tenant.advance(created={"payments": 400})
    back = client.tenant.advance(undeleted={"payments": 400})["payments"]["undeleted"]
    records = [client.tenant.record("payments", number) for number in back]
    assert set(gone) <= set(back)
    loose = [r for r in records if r["appliedTo"] == [] and r["unappliedAmount"] == r["total"]]
    assert len(loose) > len(gone) // 2
    assert all(Decimal(r["balance"]) >= 0 for r in client.walk_list("invoices") if Decimal(r["total"]) > 0)


def test_an_invoice_that_is_paid_has_a_payment_for_it(small: Small):
    client = small(invoices=300)
    client.tenant.truth()
    due = open_amounts(client)
    done = [client.tenant.advance(changed={"invoices": 300}) for _ in range(2)]
    made = {number for step in done for number in step.get("payments", {}).get("created", ())}
    applied = {client.tenant.record("payments", number)["appliedTo"][0]["appliedTo"] for number in made}
    assert applied
    assert applied == set(due) - set(open_amounts(client))


def test_a_technician_who_leaves_is_no_longer_listed(small: Small):
    client = small()
    gone = client.tenant.advance(deactivated={"technicians": 2})["technicians"]["deactivated"]
    assert not set(gone) & set(ids(client.list("technicians")))
    assert set(gone) <= set(ids(client.list("technicians", active="False")))


def test_a_new_invoice_comes_with_its_job_and_the_job_with_appointments_and_estimates(small: Small):
    client = small()
    client.tenant.truth()
    done = client.tenant.advance(created={"invoices": 40})
    jobs = {r["job"]["id"] for r in map(invoice_of(client.tenant), done["invoices"]["created"]) if r["job"]}
    assert jobs == set(done["jobs"]["created"])
    records = [client.tenant.record("jobs", number) for number in jobs]
    assert sum(record["appointmentCount"] for record in records) == len(done["appointments"]["created"])
    assert {n for record in records for n in record["estimateIds"]} == set(done["estimates"]["created"])


def invoice_of(tenant: SimulatedTenant) -> Callable[[int], dict[str, Any]]:
    return lambda number: tenant.record("invoices", number)


MOVES = {"changed": 25, "merged": 2, "deactivated": 6, "deleted": 9, "reactivated": 3, "undeleted": 3}


def test_a_bare_number_means_for_six_entities_what_it_always_meant_and_moves_the_others_besides(small: Small):
    """Whoever counts what arrives of those that are made at once is not surprised by the others."""
    alone, among_others = small(seed=9), small(seed=9)
    among_others.tenant.truth()
    first, second = (one.tenant.advance(**MOVES) for one in (alone, among_others))
    assert set(first) <= set(SIX)
    assert {entity: second[entity] for entity in SIX if entity in second} == first
    others = {entity: actions for entity, actions in second.items() if entity not in SIX}
    assert sum(len(actions.get("changed", ())) for actions in others.values()) >= 25
    assert {"jobs", "appointments", "estimates", "payments"} <= set(others)


def test_history_is_made_up_when_somebody_asks_for_it(small: Small):
    """A test of invoices does not wait for appointments."""
    client = small()

    def made() -> set[str]:
        listed = client.tenant.control.tenants()
        return set(next(one for one in listed if one["tenant_id"] == client.tenant.tenant_id)["records"])

    assert made() == set(SIX)
    client.list("campaigns")
    assert made() == {*SIX, "campaigns", "business_units"}
    client.list("jobs", appointmentStatus="Done")
    assert {"jobs", "appointments"} <= made()
    client.tenant.truth()
    assert {name.partition(".")[0] for name in made()} == set(client.tenant.truth())


def test_what_is_made_up_late_is_the_same_as_early(small: Small):
    """The order in which entities are asked for changes nothing."""
    early, late = small(seed=4), small(seed=4)
    early.tenant.truth()
    for entity in reversed(PATHS):
        late.walk_list(entity)
    assert early.tenant.truth() == late.tenant.truth()


def test_requests_that_come_at_once_find_one_history(small: Small):
    """It is made up in a thread; a second request waits for it, and so does whoever moves time."""
    calm, busy = small(seed=4, invoices=600), small(seed=4, invoices=600)
    asked = ["jobs", "appointments", "jobs", "estimates", "payments", "equipment", "jobs", "appointments"]
    with ThreadPoolExecutor(len(asked)) as threads:
        found = list(threads.map(lambda entity: (entity, len(busy.walk_list(entity))), asked))
    truth = calm.tenant.truth()
    assert busy.tenant.truth() == truth
    assert {(entity, truth[entity]["live"]) for entity in asked} == set(found)
