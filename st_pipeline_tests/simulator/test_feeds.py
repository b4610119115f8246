"""Export feeds: tokens, dates, the 15-minute lag, repeats, deleted rows."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from st_pipeline.simulator.control import SimulatorControl
from st_pipeline_tests.simulator.independent_client import FEEDS, NO_FEED, NO_LIMIT, PATHS, IndependentClient, ids

MoveClock = Callable[..., dict[str, Any]]
RECENT = {"includeRecentChanges": "true"}


@pytest.fixture(scope="module")
def empty(servicetitan_simulator: SimulatorControl) -> Iterator[IndependentClient]:
    """A company without a record."""
    tenant = servicetitan_simulator.create_tenant(settings=NO_LIMIT)
    yield IndependentClient(tenant).log_in()
    tenant.remove()


@pytest.fixture
def clock(servicetitan_simulator: SimulatorControl) -> Iterator[MoveClock]:
    """Moves the simulator's clock; real time again after the test."""
    yield servicetitan_simulator.set_clock
    servicetitan_simulator.set_clock(offset_seconds=0)


def last_token(client: IndependentClient, entity: str, **params: Any) -> str:
    return str(list(client.walk_feed(entity, **params))[-1]["continueFrom"])


@pytest.mark.parametrize("entity", FEEDS)
def test_a_feed_holds_every_row_active_inactive_and_deleted_once(company: IndependentClient, entity: str):
    truth = company.tenant.truth()[entity]
    pages = list(company.walk_feed(entity))
    assert all(list(page) == ["hasMore", "continueFrom", "data"] for page in pages)
    found = [record["id"] for page in pages for record in page["data"]]
    assert len(found) == len(set(found)) == truth["live"] + truth["deleted"]
    assert set(company.tenant.ids(entity)) <= set(found)


def test_estimates_have_their_feed_at_its_old_address_too(company: IndependentClient):
    """Taps that are older than ServiceTitan's release 76 ask there."""
    old, new = (company.path(f"sales/v2/tenant/{{}}/{path}") for path in ("estimates/export", "export/estimates"))
    assert (old.status_code, old.json()) == (200, new.json())
    end = company.path(f"sales/v2/tenant/{{}}/estimates/export?from={last_token(company, 'estimates')}")
    assert end.json()["data"] == []


@pytest.mark.parametrize("size", [50, 500])
def test_the_page_size_is_a_setting_of_each_feed(small: Callable[..., IndependentClient], size: int):
    client = small(settings={"export_page_sizes": {"invoices": size}}, invoices=600)
    pages = list(client.walk_feed("invoices"))
    assert [len(page["data"]) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert sum(len(page["data"]) for page in pages) == 600
    assert len(list(client.walk_feed("customer_contacts"))) == 1


def test_a_token_is_returned_at_the_end_and_works_afterwards(small: Callable[..., IndependentClient]):
    client = small()
    token = last_token(client, "invoices", **RECENT)
    assert client.feed("invoices", from_=token, **RECENT).json()["data"] == []
    made = client.tenant.advance(created={"invoices": 2})["invoices"]["created"]
    body = client.feed("invoices", from_=token, **RECENT).json()
    assert [record["id"] for record in body["data"]] == made
    assert body["hasMore"] is False
    assert body["continueFrom"] != token


def test_a_change_appears_fifteen_minutes_later_unless_recent_changes_are_included(
    small: Callable[..., IndependentClient], clock: MoveClock
):
    client = small()
    token = last_token(client, "customers")
    made = client.tenant.advance(created=1)["customers"]["created"]
    assert ids(client.feed("customers", from_=token)) == []
    assert set(ids(client.feed("customers", from_=token, **RECENT))) == set(made)
    clock(offset_seconds=14 * 60)
    assert ids(client.feed("customers", from_=token)) == []
    clock(offset_seconds=15 * 60 + 5)
    client.log_in()
    assert ids(client.feed("customers", from_=token)) == made


def test_recent_rows_repeat_on_later_calls_and_old_ones_do_not(
    small: Callable[..., IndependentClient], clock: MoveClock
):
    client = small()
    token = last_token(client, "invoices", **RECENT)
    first = client.tenant.advance(created={"invoices": 5})["invoices"]["created"]
    token = client.feed("invoices", from_=token, **RECENT).json()["continueFrom"]
    assert ids(client.feed("invoices", from_=token, **RECENT)) == first[-3:]
    assert ids(client.feed("invoices", from_=token)) == []
    clock(offset_seconds=16 * 60)
    client.log_in()
    assert ids(client.feed("invoices", from_=token, **RECENT)) == []


def test_paging_makes_progress_though_rows_repeat(small: Callable[..., IndependentClient]):
    client = small(settings={"export_page_size": 2})
    token = last_token(client, "invoices", **RECENT)
    for _ in range(2):
        made = client.tenant.advance(created={"invoices": 9})["invoices"]["created"]
        pages = list(client.walk_feed("invoices", from_=token, **RECENT))
        found = [record["id"] for page in pages for record in page["data"]]
        assert set(made) <= set(found)
        assert len(found) <= len(made) + 3
        token = pages[-1]["continueFrom"]


def test_from_can_be_a_date_compared_with_the_modification(company: IndependentClient):
    everything = [record for page in company.walk_feed("locations") for record in page["data"]]
    later = [record for page in company.walk_feed("locations", from_="2025-03-01") for record in page["data"]]
    assert {record["id"] for record in later} == {r["id"] for r in everything if r["modifiedOn"] >= "2025-03-01"}
    assert 0 < len(later) < len(everything)


def test_tokens_belong_to_one_feed_of_one_tenant(small: Callable[..., IndependentClient]):
    one, other = small(), small()
    token = last_token(one, "customers")
    for answer in (
        one.feed("invoices", from_=token),
        other.feed("customers", from_=token),
        one.feed("customers", from_="no such token"),
        one.feed("customers", from_=token[:-3]),
    ):
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["from"]


def test_tokens_can_expire(small: Callable[..., IndependentClient], clock: MoveClock):
    client = small(settings={"export_token_lifetime_seconds": 3600, "token_lifetime_seconds": 90_000})
    token = last_token(client, "customers")
    clock(offset_seconds=3500)
    assert client.feed("customers", from_=token).status_code == 200
    clock(offset_seconds=3700)
    assert client.feed("customers", from_=token).status_code == 400
    assert client.feed("customers", from_="2020-01-01").status_code == 200


def test_tokens_survive_a_restart_of_the_same_company(
    small: Callable[..., IndependentClient], servicetitan_simulator: SimulatorControl
):
    """A developer who starts the simulator again must not have to reset the pipeline's cursors."""
    first = small(seed=4, settings={"export_page_size": 40})
    body = first.feed("customers").json()
    same = {"seed": 4, "customers": 60, "invoices": 120, "settings": {"export_page_size": 40}}
    again = servicetitan_simulator.create_tenant(first.tenant.tenant_id, **same)
    assert ids(IndependentClient(again).log_in().feed("customers", from_=body["continueFrom"]))


def test_deleted_rows_leave_the_list_and_stay_in_the_feed_as_inactive(small: Callable[..., IndependentClient]):
    client = small()
    token = last_token(client, "customer_contacts", **RECENT)
    gone = client.tenant.advance(deleted={"customer_contacts": 2})["customer_contacts"]["deleted"]
    fed = client.feed("customer_contacts", from_=token, **RECENT).json()["data"]
    assert {record["id"]: record["active"] for record in fed} == dict.fromkeys(gone, False)
    assert not set(gone) & {record["id"] for record in client.walk_list("customer_contacts")}


def test_every_change_moves_its_row_to_the_end_of_the_feed(small: Callable[..., IndependentClient]):
    client = small()
    token = last_token(client, "memberships", **RECENT)
    changed = client.tenant.advance(changed={"memberships": 3})["memberships"]["changed"]
    body = client.feed("memberships", from_=token, **RECENT).json()
    assert [record["id"] for record in body["data"]] == changed
    moments = [record["modifiedOn"] for record in body["data"]]
    assert moments == sorted(moments)


@pytest.mark.parametrize("entity", PATHS)
def test_an_empty_company_answers_with_empty_pages(empty: IndependentClient, entity: str):
    assert empty.walk_list(entity) == []
    if entity in FEEDS:
        assert [page["data"] for page in empty.walk_feed(entity)] == [[]]


@pytest.mark.parametrize("entity", sorted(NO_FEED))
def test_reference_lists_have_no_feed(empty: IndependentClient, entity: str):
    answer = empty.feed(entity)
    assert answer.status_code == 404
    assert answer.json()["title"] == "Unable to match incoming request to an operation"


def test_the_appointments_feed_alone_can_leave_out_the_inactive(company: IndependentClient):
    everything = {r["id"]: r["active"] for page in company.walk_feed("appointments") for r in page["data"]}
    for wanted in (True, False):
        found = [r["id"] for page in company.walk_feed("appointments", active=str(wanted)) for r in page["data"]]
        assert set(found) == {number for number, active in everything.items() if active is wanted}
        assert found
    unfiltered = [r["id"] for page in company.walk_feed("estimates", active="True") for r in page["data"]]
    assert len(unfiltered) == len([r for page in company.walk_feed("estimates") for r in page["data"]])
