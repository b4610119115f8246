"""Steering: verbatim records, patches, settings, the clock, counters, and clear refusals."""

import json
from collections.abc import Callable

import httpx
import pytest

from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl, SimulatorError
from st_pipeline_tests.simulator.independent_client import PATHS, IndependentClient

RECENT = {"includeRecentChanges": "true"}


def test_an_inserted_record_keeps_its_bytes(small: Callable[..., IndependentClient]):
    client = small(customers=0, invoices=0)
    odd = rb'{"id":99,"name":"caf\u00e9 \u0000","balance":1e2,"unknown":[1.10],"modifiedOn":"0001-01-01T00:00:00Z"}'
    assert client.tenant.insert("customers", odd) == 99
    assert odd in client.feed("customers", **RECENT).content
    assert odd in client.list("customers").content


@pytest.mark.parametrize(
    "body", [b'{"name":"no id"}', b'{"id":"12"}', b'{"id":null}', b"[1]", b'"text"', b'{"id":1.5}']
)
def test_a_record_without_an_id_is_served_all_the_same(small: Callable[..., IndependentClient], body: bytes):
    client = small(customers=0, invoices=0)
    assert client.tenant.insert("invoices", body) < 0
    assert client.tenant.insert("invoices", body) < -1
    assert client.feed("invoices", **RECENT).json()["data"] == [json.loads(body)] * 2
    assert client.list("invoices", number="5", totalGreater=1).json()["data"] == []


def test_an_inserted_record_replaces_the_one_with_its_id(small: Callable[..., IndependentClient]):
    client = small()
    number = client.tenant.ids("customers")[0]
    live = client.tenant.truth()["customers"]["live"]
    client.tenant.insert("customers", {"id": number, "active": True, "name": "New"})
    assert client.tenant.record("customers", number) == {"id": number, "active": True, "name": "New"}
    assert client.tenant.truth()["customers"]["live"] == live


def test_records_can_be_inserted_into_an_empty_company(small: Callable[..., IndependentClient]):
    client = small(customers=0, invoices=0)
    client.tenant.insert("jobs", {"id": 5, "jobNumber": "5", "active": True})
    assert client.path("jpm/v2/tenant/{}/jobs").json()["data"] == [{"id": 5, "jobNumber": "5"}]
    fed = client.path("jpm/v2/tenant/{}/export/jobs?includeRecentChanges=true").json()["data"]
    assert fed == [{"id": 5, "jobNumber": "5", "active": True}]


def test_a_patch_moves_the_record_in_the_feed_unless_it_must_not(small: Callable[..., IndependentClient]):
    client = small()
    token = client.feed("customers", **RECENT).json()["continueFrom"]
    quiet, loud = client.tenant.ids("customers")[:2]
    before = client.tenant.record("customers", quiet)
    assert client.tenant.patch("customers", quiet, {"name": "Quiet"}, touch=False) == {**before, "name": "Quiet"}
    after = client.tenant.patch("customers", loud, {"name": "Loud"})
    assert after["modifiedOn"] > before["modifiedOn"]
    assert [r["name"] for r in client.feed("customers", from_=token, **RECENT).json()["data"]] == ["Loud"]


def test_a_patch_may_name_the_time_itself(small: Callable[..., IndependentClient]):
    client = small()
    number = client.tenant.ids("customers")[0]
    moment = "2024-02-29T12:00:00.0000001Z"
    client.tenant.patch("customers", number, {"modifiedOn": moment})
    found = client.list(
        "customers", active="Any", modifiedOnOrAfter=moment, modifiedBefore="2024-02-29T12:00:00.0000002Z"
    )
    assert [record["id"] for record in found.json()["data"]] == [number]


def test_one_record_can_be_deleted(small: Callable[..., IndependentClient]):
    client = small()
    number = client.tenant.ids("invoices")[0]
    client.tenant.delete("invoices", number)
    assert number not in client.tenant.ids("invoices")
    assert client.tenant.record("invoices", number)["active"] is False
    assert client.path(f"accounting/v2/tenant/{{}}/invoices/{number}").status_code == 404


def test_time_moves_around_records_that_break_the_contract(small: Callable[..., IndependentClient]):
    client = small(customers=20, invoices=20)
    for number in client.tenant.ids("customers"):
        client.tenant.insert("customers", {"id": number})
    client.tenant.truth()
    for entity in ("jobs", "payments", "estimates", "equipment", "technicians", "location_contacts"):
        client.tenant.insert(entity, {"id": client.tenant.ids(entity)[0]})
    for entity in PATHS:
        client.tenant.insert(entity, b'{"id":77,"active":true}')
        client.tenant.insert(entity, b"null")
    done = client.tenant.advance(created=2, changed=40, merged=5, deleted=10, deactivated=5, undeleted=5)
    assert 77 not in {number for actions in done.values() for numbers in actions.values() for number in numbers}
    assert len(done["invoices"]["created"]) == 2
    work = {"jobs": 30, "payments": 30, "estimates": 30, "equipment": 30, "appointments": 30, "custom_fields": 30}
    done = client.tenant.advance(created=work, changed=work, deleted=work, undeleted=work)
    assert 77 not in {number for actions in done.values() for numbers in actions.values() for number in numbers}


def test_counters_tell_what_was_asked(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.requests(reset=True)
    client.list("customers")
    client.feed("invoices")
    client.list("customers", page="x")
    counted = client.tenant.requests()
    assert counted["by_operation"] == {"customers.list": 2, "invoices.export": 1}
    assert (counted["by_status"], counted["total"], counted["max_concurrent"]) == ({"200": 2, "400": 1}, 3, 1)
    assert counted["max_per_second"] == 3
    assert client.tenant.requests(reset=True)["total"] == 0


def test_settings_are_the_process_s_and_may_be_a_tenant_s(
    small: Callable[..., IndependentClient], servicetitan_simulator: SimulatorControl
):
    mine, other = small(), small()
    mine.tenant.settings(export_page_size=7)
    assert len(mine.feed("customers").json()["data"]) == 7
    assert len(other.feed("customers").json()["data"]) == 60
    try:
        servicetitan_simulator.settings(export_page_size=9)
        assert len(mine.feed("customers").json()["data"]) == 7
        assert len(other.feed("customers").json()["data"]) == 9
    finally:
        servicetitan_simulator.settings(export_page_size=5000)
    with pytest.raises(SimulatorError, match="export_page_count"):
        servicetitan_simulator.settings(export_page_count=1)
    with pytest.raises(SimulatorError, match="page_size_over_maximum"):
        mine.tenant.settings(page_size_over_maximum="ignore")


def test_the_clock_can_be_set(servicetitan_simulator: SimulatorControl):
    try:
        assert servicetitan_simulator.set_clock(now="2031-05-06T07:08:09Z")["now"].startswith("2031-05-06T07:08:")
        assert servicetitan_simulator.health()["now"].startswith("2031-05-06T07:08:")
    finally:
        servicetitan_simulator.set_clock(offset_seconds=0)
    assert not servicetitan_simulator.health()["now"].startswith("2031")


def test_tenants_are_listed_and_removed(
    small: Callable[..., IndependentClient], servicetitan_simulator: SimulatorControl
):
    client = small()
    listed = {tenant["tenant_id"]: tenant for tenant in servicetitan_simulator.tenants()}
    assert listed[client.tenant.tenant_id]["records"]["customers"] == 60
    gone = servicetitan_simulator.create_tenant(customers=1)
    guest = IndependentClient(gone).log_in()
    gone.remove()
    assert guest.list("customers").status_code == 401
    assert guest.token().json() == {"error": "invalid_client"}


def test_both_environments_can_hold_the_same_tenant_number(servicetitan_simulator: SimulatorControl):
    pair = [
        servicetitan_simulator.create_tenant(4242, environment, customers=n)
        for environment, n in (("production", 3), ("integration", 4))
    ]
    assert [
        IndependentClient(t).log_in().list("customers", active="Any", includeTotal="true").json()["totalCount"]
        for t in pair
    ] == [3, 4]
    for tenant in pair:
        tenant.remove()


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"customers": "many"}, "customers"),
        ({"scope": []}, "scope"),
        ({"settings": {"x": 1}}, "x"),
        ({"as_of": "soon"}, "soon"),
    ],
)
def test_a_wrong_tenant_is_refused_by_name(servicetitan_simulator: SimulatorControl, spec: dict, named: str):
    with pytest.raises(SimulatorError, match=named):
        servicetitan_simulator.create_tenant(**spec)


def test_a_client_id_belongs_to_one_tenant(servicetitan_tenant: Callable[..., SimulatedTenant]):
    taken = servicetitan_tenant()
    with pytest.raises(SimulatorError, match=str(taken.tenant_id)):
        servicetitan_tenant(client_id=taken.client_id)


def test_unknown_addresses_and_tenants_are_404s(servicetitan_simulator: SimulatorControl):
    for path in ("nothing", "tenants/production/1/truth", "tenants/staging/1"):
        answer = httpx.get(f"{servicetitan_simulator.production_url}/_sim/{path}")
        assert answer.status_code == 404
        assert "error" in answer.json()


def test_a_simulator_that_is_not_there_is_said_so_in_one_line():
    with (
        SimulatorControl("http://127.0.0.1:1") as control,
        pytest.raises(SimulatorError, match="no simulator responds"),
    ):
        control.health()


def test_a_factory_makes_tenants_with_keys_of_their_own(servicetitan_tenant: Callable[..., SimulatedTenant]):
    one, other = servicetitan_tenant(), servicetitan_tenant()
    assert one.tenant_id != other.tenant_id
    assert one.client_id != other.client_id
    assert one.client_secret != other.client_secret


def test_a_tenant_is_put_back_to_what_it_was_as_often_as_asked(small: Callable[..., IndependentClient]):
    """Records, feeds, settings, faults and keys; a token from before stays good."""
    client = small()
    tenant = client.tenant
    with pytest.raises(SimulatorError, match="was not asked to remember"):
        tenant.restore()
    tenant.remember()
    before, feed, faults = tenant.truth(), client.feed("customers", **RECENT).content, tenant.faults()
    for _ in range(2):
        tenant.advance(created=3, deleted=2)
        tenant.insert("customers", {"id": 5, "name": "New"})
        tenant.settings(export_page_size=7)
        tenant.fault("status", status=500)
        tenant.change(client_secret="cs.another")
        assert tenant.truth() != before
        tenant.restore()
        assert (tenant.truth(), tenant.faults()) == (before, faults)
        assert client.feed("customers", **RECENT).content == feed
        assert client.token().status_code == 200
