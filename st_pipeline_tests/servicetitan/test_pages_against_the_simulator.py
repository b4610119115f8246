"""Complete feeds and lists over real HTTP: each record arrives at least once, whatever network and server do."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.errors import (
    CursorRejected,
    InvalidApiResponseFormat,
    InvalidCredentials,
    PipelineError,
    ScopeMissing,
    TokenRefreshFailed,
)
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import Page, count, fetch_by_ids, iter_feed, iter_list
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.servicetitan.conftest import make_authentication

Simulated = Callable[..., SimulatedTenant]
INVOICES, CUSTOMERS, CONTACTS = ENTITIES["invoices"], ENTITIES["customers"], ENTITIES["customer_contacts"]
WALKS = {
    "feed": lambda client: iter_feed(client, INVOICES, start=None),
    "list": lambda client: iter_list(client, INVOICES),
}


@pytest.fixture
def tenant(servicetitan_tenant: Simulated) -> SimulatedTenant:
    """A company of some pages; the simulator's own rate limit is for the tests that ask for it."""
    simulated = servicetitan_tenant(customers=120, invoices=330)
    simulated.settings(export_page_size=50, rate_limit_per_second=None)
    return simulated


@pytest.fixture
def connect() -> Iterator[Callable[..., ServiceTitanClient]]:
    """Real clients of a simulated tenant, with short back-offs."""
    made: list[ServiceTitanClient] = []

    def connect(simulated: SimulatedTenant, keys: dict[str, Any] | None = None, **changed: Any) -> ServiceTitanClient:
        names = ("environment", "client_id", "client_secret", "app_key")
        values = {name: getattr(simulated, name) for name in names}
        values |= {"servicetitan_tenant_id": simulated.tenant_id, **(keys or {})}
        authentication = make_authentication(simulated.url, f"{simulated.url}/connect/token", **values)
        quick = {"retry_initial_seconds": 0.001, "list_page_size": 50, "rate_limit": Rate(100_000, 1)}
        made.append(ServiceTitanClient(authentication, Settings(**(quick | changed))))
        return made[-1]

    yield connect
    for client in made:
        client.close()


Connect = Callable[..., ServiceTitanClient]


def _ids(pages: Iterator[Page]) -> list[int]:
    return [json.loads(bytes(record))["id"] for page in pages for record in page.records]


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_feed_and_list_show_every_record_of_the_source(tenant: SimulatedTenant, connect: Connect, prefetch: int):
    client, truth = connect(tenant), tenant.truth()
    for spec in (INVOICES, CUSTOMERS):
        listed = _ids(iter_list(client, spec, prefetch=prefetch))
        fed = _ids(iter_feed(client, spec, start=None, prefetch=prefetch))
        assert sorted(listed) == sorted(tenant.ids(spec.name))
        assert set(listed) <= set(fed)
        assert len(fed) == len(set(fed))
        assert count(client, spec) == len(listed) == truth[spec.name]["live"]
    assert client.statistics.token_requests == 1


def test_every_entity_answers_on_every_path_it_names(tenant: SimulatedTenant, connect: Connect):
    """The areas in paths are easy to mistake (`sales`, `jpm`, `jbce`), and a scripted server accepts a wrong one."""
    client = connect(tenant)
    for spec in LISTS.values():
        assert count(client, spec) >= 0
        if spec.feed_path is not None:
            next(iter_feed(client, spec, start=None, prefetch=0))
        if spec.ids_param:
            assert fetch_by_ids(client, spec, [1]) == []


FAULTS: dict[str, dict[str, Any]] = {
    "429": {"every_nth": 2, "wait_seconds": 0},
    "status": {"every_nth": 2, "status": 502, "body": "html"},
    "cut_body": {"every_nth": 2},
    "html_200": {"every_nth": 2},
    "not_json": {"every_nth": 2},
    "drop_connection": {"every_nth": 2},
    "revoke_tokens": {"every_nth": 3},
}


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("kind", FAULTS)
def test_paging_survives_a_fault_in_every_second_request(
    tenant: SimulatedTenant, connect: Connect, kind: str, walk: str
):
    """Not a record is lost or doubled: the same page is asked for again."""
    calm = _ids(WALKS[walk](connect(tenant)))
    tenant.fault(kind, path="/invoices", **FAULTS[kind])
    assert _ids(WALKS[walk](connect(tenant))) == calm
    assert tenant.faults()[0]["struck"] >= 2


def test_a_body_whose_connection_closes_midway_is_read_again(tenant: SimulatedTenant, connect: Connect):
    tenant.fault("cut_body", path="/invoices", every_nth=2, how="close")
    client = connect(tenant)
    assert sorted(_ids(iter_list(client, INVOICES))) == sorted(tenant.ids("invoices"))
    assert client.statistics.retries >= 2


@pytest.mark.parametrize("header", [True, False])
def test_the_wait_a_429_states_is_sat_out(tenant: SimulatedTenant, connect: Connect, header: bool):
    """One second, in the header or only in the title: the client that ignored it would be refused again."""
    client = connect(tenant)
    waits = []
    client._sleep = lambda _stop, seconds: waits.append(seconds)
    tenant.fault("429", path="/invoices", times=2, wait_seconds=17, header=header)
    count(client, INVOICES)
    assert waits == [17.0, 17.0]


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(tenant: SimulatedTenant, connect: Connect):
    tenant.fault("slow", path="/invoices", times=1, seconds=3)
    client = connect(tenant, request_timeout_seconds=0.3)
    assert count(client, INVOICES) == tenant.truth()["invoices"]["live"]
    assert client.statistics.retries >= 1


def test_our_own_limit_keeps_a_tenant_below_the_vendors(tenant: SimulatedTenant, connect: Connect):
    """The simulator refuses the 61st request of a second, as the vendor does."""
    tenant.settings(rate_limit_per_second=60)
    client = connect(tenant, rate_limit=Settings().rate_limit, list_page_size=3)
    assert len(_ids(iter_list(client, INVOICES, prefetch=1))) == tenant.truth()["invoices"]["live"]
    assert client.statistics.requests > 60
    assert client.statistics.rate_limited == 0


def test_a_repeated_page_ends_paging(tenant: SimulatedTenant, connect: Connect):
    tenant.fault("repeat_page", path="/invoices", times=1, after_requests=1)
    with pytest.raises(InvalidApiResponseFormat, match="same as an earlier one"):
        _ids(iter_list(connect(tenant), INVOICES))
    tenant.clear_faults()
    tenant.fault("repeat_page", path="/export/invoices", after_requests=1)
    with pytest.raises(InvalidApiResponseFormat, match="continueFrom repeats"):
        _ids(iter_feed(connect(tenant), INVOICES, start=None))


def test_a_feeds_token_is_good_after_its_end(tenant: SimulatedTenant, connect: Connect):
    client = connect(tenant)
    *_, last = iter_feed(client, INVOICES, start=None)
    assert not last.has_more
    changed = tenant.advance(changed={"invoices": 4}, created={"invoices": 3})["invoices"]
    new = set(_ids(iter_feed(client, INVOICES, start=last.continue_from)))
    assert new >= {record_id for ids in changed.values() for record_id in ids}


def test_a_token_that_servicetitan_no_longer_knows_is_cursor_rejected(tenant: SimulatedTenant, connect: Connect):
    client = connect(tenant)
    *_, last = iter_feed(client, CUSTOMERS, start=None)
    with pytest.raises(CursorRejected):
        list(iter_feed(client, INVOICES, start=last.continue_from))
    assert _ids(iter_feed(client, INVOICES, start="2020-01-01"))


def test_the_list_of_contacts_is_read_completely_from_a_date_far_in_the_past(tenant: SimulatedTenant, connect: Connect):
    """It answers no request without one."""
    client, path = connect(tenant), CONTACTS.list_path
    assert sorted(_ids(iter_list(client, CONTACTS))) == sorted(tenant.ids("customer_contacts"))
    with pytest.raises(PipelineError, match="customerIds"):
        client.get(path, {}, read=bytes, doing="list contacts", entity=CONTACTS.name, scope=CONTACTS.scope)


def test_records_are_found_by_id_in_any_state(tenant: SimulatedTenant, connect: Connect):
    gone, *rest = tenant.ids("invoices")
    tenant.patch("invoices", rest[0], {"active": False})
    tenant.delete("invoices", gone)
    found = fetch_by_ids(connect(tenant), INVOICES, [gone, *rest])
    assert sorted(json.loads(bytes(record))["id"] for record in found) == sorted(rest)


def test_tokens_revoked_for_good_end_paging_with_the_tenants_name(tenant: SimulatedTenant, connect: Connect):
    client = connect(tenant)
    pages = iter_list(client, INVOICES, prefetch=0)
    next(pages)
    tenant.fault("revoke_tokens", path="/invoices", every_nth=1)
    with pytest.raises(TokenRefreshFailed, match="list invoices for tenant acme, page 2"):
        next(pages)


def test_wrong_keys_and_missing_scopes_are_told_apart(tenant: SimulatedTenant, connect: Connect):
    with pytest.raises(InvalidCredentials, match="production"):
        count(connect(tenant, {"client_secret": "cs.wrong"}), INVOICES)
    with pytest.raises(PipelineError, match="app key"):
        count(connect(tenant, {"app_key": "ak1.wrong"}), INVOICES)
    with pytest.raises(PipelineError, match="tenant id"):
        count(connect(tenant, {"servicetitan_tenant_id": 1}), INVOICES)
    tenant.change(scopes=[INVOICES.scope])
    client = connect(tenant)
    assert count(client, INVOICES) > 0
    with pytest.raises(ScopeMissing, match=r"tn\.crm\.customers:r"):
        count(client, CUSTOMERS)
