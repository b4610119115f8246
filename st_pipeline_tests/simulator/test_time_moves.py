"""Time on demand: what changes is coherent, reported, and the truth afterwards equals a naive read."""

from collections.abc import Callable
from decimal import Decimal
from hashlib import md5

import httpx
import msgspec
import pytest

from st_pipeline.simulator.control import SimulatorError
from st_pipeline_tests.simulator.independent_client import ANY_STATE, FEEDS, PATHS, IndependentClient


def data_of(answer: httpx.Response) -> list[bytes]:
    """The records of a page, byte for byte."""
    envelope = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])
    return [bytes(raw) for raw in msgspec.json.decode(envelope["data"], type=list[msgspec.Raw])]


def assert_truth_equals_a_naive_read(client: IndependentClient) -> None:
    truth = client.tenant.truth()
    assert set(truth) == {path.partition(".")[0] for path in PATHS}
    for entity, told in truth.items():
        lists = [path for path in PATHS if path == entity or path.startswith(entity + ".")]
        listed = {record["id"] for path in lists for record in client.walk_list(path)}
        if entity in FEEDS:
            bodies = data_of(client.feed(entity, includeRecentChanges="true"))
            assert told["deleted"] == len(bodies) - len(listed)
        else:
            state = {"page": 1, "pageSize": 5000}
            bodies = [body for path in lists for body in data_of(client.list(path, **ANY_STATE[path], **state))]
        live = [body for body in bodies if msgspec.json.decode(body)["id"] in listed]
        assert told["live"] == len(listed)
        assert told["ids_sum"] == sum(listed)
        assert told["bytes_checksum"] == sum(int(md5(body, usedforsecurity=False).hexdigest()[:8], 16) for body in live)
        records = [msgspec.json.decode(body) for body in live]
        assert told["active"] == sum(record.get("active", True) for record in records)
        moments = [record["modifiedOn"] for record in records if "modifiedOn" in record]
        assert told["newest_modified_on"] == max(moments, key=lambda moment: moment.rstrip("Z"))
        for key, total in told["totals"].items():
            assert Decimal(total) == sum(Decimal(str(record[key])) for record in records)


def test_the_truth_equals_a_naive_full_read_before_and_after_time_moves(small: Callable[..., IndependentClient]):
    client = small()
    assert_truth_equals_a_naive_read(client)
    client.tenant.advance(created=3, changed=20, merged=2, deleted=6, deactivated=4, reactivated=2, undeleted=2)
    assert_truth_equals_a_naive_read(client)


def test_balances_still_add_up_after_a_month_of_changes(small: Callable[..., IndependentClient]):
    client = small()
    for _ in range(10):
        client.tenant.advance(created=1, changed={"invoices": 12}, deleted={"invoices": 2}, undeleted={"invoices": 1})
    invoices, customers = client.tenant.truth()["invoices"]["totals"], client.tenant.truth()["customers"]["totals"]
    assert Decimal(invoices["balance"]) == Decimal(customers["balance"])


def test_a_new_customer_comes_with_a_location_contacts_a_membership_and_an_invoice(
    small: Callable[..., IndependentClient],
):
    client = small()
    done = client.tenant.advance(created=2)
    assert {entity: len(actions["created"]) for entity, actions in done.items() if "created" in actions} == {
        "customers": 2,
        "locations": 2,
        "customer_contacts": 4,
        "memberships": 2,
        "invoices": 2,
    }
    new = set(done["customers"]["created"])
    for entity in ("locations", "memberships", "customer_contacts"):
        assert {client.tenant.record(entity, i)["customerId"] for i in done[entity]["created"]} <= new
    assert {client.tenant.record("invoices", i)["customer"]["id"] for i in done["invoices"]["created"]} == new


def test_merged_customers_are_inactive_and_name_a_live_survivor(small: Callable[..., IndependentClient]):
    client = small()
    done = client.tenant.advance(merged=3)
    for number in done["customers"]["merged"]:
        record = client.tenant.record("customers", number)
        assert record["active"] is False
        assert client.tenant.record("customers", record["mergedToId"])["id"] != number


def test_an_edited_contact_leaves_its_customer_untouched(small: Callable[..., IndependentClient]):
    client = small()
    contact = client.tenant.advance(changed={"customer_contacts": 1})["customer_contacts"]["changed"][0]
    customer = client.tenant.record("customer_contacts", contact)["customerId"]
    assert client.tenant.record("customers", customer)["modifiedOn"] < "2026-11-01"


def test_rows_can_be_deactivated_and_come_back(small: Callable[..., IndependentClient]):
    client = small()
    live = client.tenant.truth()["customers"]["live"]
    gone = client.tenant.advance(deactivated={"customers": 5})["customers"]["deactivated"]
    assert all(client.tenant.record("customers", number)["active"] is False for number in gone)
    back = client.tenant.advance(reactivated={"customers": 2})["customers"]["reactivated"]
    assert all(client.tenant.record("customers", number)["active"] for number in back)
    assert client.tenant.truth()["customers"]["live"] == live
    gone = client.tenant.advance(deactivated={"memberships": 1})["memberships"]["deactivated"]
    assert gone[0] in client.tenant.advance(reactivated={"memberships": 99})["memberships"]["reactivated"]


def test_deleted_rows_can_come_back(small: Callable[..., IndependentClient]):
    client = small()
    gone = client.tenant.advance(deleted={"memberships": 3})["memberships"]["deleted"]
    assert not set(gone) & set(client.tenant.ids("memberships"))
    back = client.tenant.advance(undeleted={"memberships": 50})["memberships"]["undeleted"]
    assert set(gone) <= set(back) <= set(client.tenant.ids("memberships"))


def test_every_change_has_a_tick_of_its_own(small: Callable[..., IndependentClient]):
    client = small()
    done = client.tenant.advance(changed={"locations": 30})
    moments = [client.tenant.record("locations", number)["modifiedOn"] for number in done["locations"]["changed"]]
    assert len(set(moments)) == len(moments) == 30


def test_asking_for_more_than_there_is_does_what_there_is(small: Callable[..., IndependentClient]):
    client = small(customers=5, invoices=3)
    assert len(client.tenant.advance(deleted={"invoices": 100})["invoices"]["deleted"]) == 3
    assert client.tenant.advance(deleted={"invoices": 1}) == {}


def test_what_cannot_be_done_is_refused_by_name(small: Callable[..., IndependentClient]):
    client = small(customers=0, invoices=0)
    with pytest.raises(SimulatorError, match="exploded"):
        client.tenant.advance(exploded=1)
    with pytest.raises(SimulatorError, match="unicorns"):
        client.tenant.advance(changed={"unicorns": 1})
    assert client.tenant.advance(changed=5, merged=1, deleted=1) == {}


def test_a_raw_request_needs_no_client_of_ours(small: Callable[..., IndependentClient]):
    tenant = small().tenant
    url = f"{tenant.url}/_sim/tenants/production/{tenant.tenant_id}/truth/customers"
    assert httpx.get(url).json() == tenant.truth()["customers"]
