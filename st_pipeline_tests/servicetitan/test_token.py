"""One token for a tenant: fetched once, shared, renewed early, renewed once when refused."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from st_pipeline.errors import DatabaseUnavailable, InvalidCredentials, TokenRefreshFailed
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.tenant_authentication import ClientKeys, Token
from st_pipeline_tests.servicetitan.conftest import Clock, MemoryStore, Vendor, answer, get, list_page

Make = Callable[..., ServiceTitanClient]
UNAUTHORIZED = (401, {"title": "Unauthorized", "status": 401})


def _token(value: str, clock: Clock, seconds: float) -> Token:
    return Token(SecretStr(value), clock() + timedelta(seconds=seconds))


def test_the_token_is_asked_for_as_the_vendor_documents_it(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page())
    get(client)
    asked = vendor.token_requests[0]
    assert (asked.method, str(asked.url)) == ("POST", "https://auth.test/connect/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["cid.planted"],
        "client_secret": ["cs.planted"],
    }
    sent = vendor.asked[0]
    assert sent.url.path == "/accounting/v2/tenant/4711/invoices"
    assert (sent.headers["authorization"], sent.headers["st-app-key"]) == ("Bearer token-1", "ak1.planted")


def test_one_token_serves_every_request_until_shortly_before_its_end(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock
):
    vendor.will(*[list_page() for _ in range(4)])
    get(client)
    clock.pass_seconds(659)
    get(client)
    clock.pass_seconds(1)  # 240 of 900 s are left
    get(client)
    get(client)
    assert vendor.bearers == ["token-1", "token-1", "token-2", "token-2"]
    assert client.statistics.token_requests == 2


def test_a_token_is_renewed_within_a_long_back_off(client: ServiceTitanClient, vendor: Vendor, clock: Clock):
    """The third wait of 60 s ends 660 s after the token was fetched: the fourth try goes with a new one."""
    vendor.will(list_page(), *[answer(429, b"", {"retry-after": "60"}) for _ in range(4)], list_page())
    get(client)
    clock.pass_seconds(480)
    get(client)
    assert vendor.bearers[1:] == ["token-1", "token-1", "token-1", "token-2", "token-2"]


def test_a_token_that_ends_while_it_is_fetched_counts_from_the_moment_it_was_asked_for(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock
):
    def slow(_: httpx.Request) -> httpx.Response:
        clock.pass_seconds(460)
        return answer(200, {"access_token": "slow", "expires_in": 900})

    vendor.token_script = [slow]
    vendor.will(list_page(), list_page())
    get(client)
    clock.pass_seconds(200)
    get(client)
    assert vendor.bearers == ["slow", "token-2"]


def test_a_vendor_that_shortens_tokens_is_not_asked_for_one_per_request(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock
):
    vendor.token_seconds = 100
    vendor.will(*[list_page() for _ in range(4)])
    get(client)
    clock.pass_seconds(49)
    get(client)
    clock.pass_seconds(1)
    get(client)
    assert vendor.bearers == ["token-1", "token-1", "token-2"]


def test_a_revoked_token_is_renewed_once_and_the_page_is_not_lost(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page(), answer(*UNAUTHORIZED), list_page({"id": 1}), list_page())
    get(client)
    assert b'"id": 1' in get(client)
    get(client)
    assert vendor.bearers == ["token-1", "token-1", "token-2", "token-2"]
    assert client.statistics.retries == 0


def test_a_fresh_token_that_is_refused_too_ends_it(client: ServiceTitanClient, vendor: Vendor, clock: Clock):
    vendor.will(answer(*UNAUTHORIZED), answer(*UNAUTHORIZED))
    with pytest.raises(TokenRefreshFailed, match="ST_PIPELINE_APP_KEY"):
        get(client)
    assert (len(vendor.asked), len(vendor.token_requests), clock.slept) == (2, 2, [])


def test_threads_that_need_a_token_at_once_fetch_one(client: ServiceTitanClient, vendor: Vendor):
    together = threading.Barrier(8)

    def slow(_: httpx.Request) -> httpx.Response:
        time.sleep(0.05)  # long enough for the others to come and find no token
        return answer(200, {"access_token": "token-1", "expires_in": 900})

    vendor.token_script = [slow]
    vendor.will(*[list_page() for _ in range(8)])

    def work() -> None:
        together.wait()
        get(client)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vendor.bearers == ["token-1"] * 8
    assert len(vendor.token_requests) == 1


def test_threads_refused_with_the_same_token_renew_it_once(client: ServiceTitanClient, vendor: Vendor):
    """The second 401 concerns a token that is replaced already."""
    vendor.will(list_page())
    get(client)
    together = threading.Barrier(4)

    def refuse_the_old(request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] == "Bearer token-1":
            together.wait()
            return answer(*UNAUTHORIZED)
        return list_page()

    vendor.will(*[refuse_the_old] * 8)
    threads = [threading.Thread(target=get, args=(client,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(vendor.bearers) == ["token-1"] * 5 + ["token-2"] * 4
    assert len(vendor.token_requests) == 2


def test_a_token_another_process_stored_is_used(make_client: Make, vendor: Vendor, clock: Clock):
    vendor.will(list_page())
    get(make_client(store=MemoryStore(_token("theirs", clock, 400))))
    assert vendor.bearers == ["theirs"]
    assert vendor.token_requests == []


def test_a_stored_token_near_its_end_is_replaced_and_the_new_one_stored(
    make_client: Make, vendor: Vendor, clock: Clock
):
    store = MemoryStore(_token("old", clock, 239))
    vendor.will(list_page())
    get(make_client(store=store))
    assert vendor.bearers == ["token-1"]
    assert store.token == _token("token-1", clock, 900)


def test_after_a_401_the_token_another_process_renewed_is_taken_from_the_store(
    make_client: Make, vendor: Vendor, clock: Clock
):
    store = MemoryStore(_token("old", clock, 800))

    def refuse_and_let_another_process_renew(_: httpx.Request) -> httpx.Response:
        store.token = _token("renewed", clock, 900)
        return answer(*UNAUTHORIZED)

    vendor.will(refuse_and_let_another_process_renew, list_page())
    get(make_client(store=store))
    assert vendor.bearers == ["old", "renewed"]
    assert vendor.token_requests == []


def test_a_stored_token_as_dead_as_the_one_it_replaced_is_not_the_last_word(
    make_client: Make, vendor: Vendor, clock: Clock
):
    """All of a tenant's tokens were revoked: another process's newer one too. One fetched now still works."""
    store = MemoryStore(_token("dead", clock, 800))
    client = make_client(store=store)
    vendor.will(list_page())
    get(client)
    store.token = _token("dead too", clock, 900)
    vendor.will(answer(*UNAUTHORIZED), answer(*UNAUTHORIZED), list_page())
    get(client)
    assert vendor.bearers == ["dead", "dead", "dead too", "token-1"]


def test_a_store_that_is_down_is_reported_as_what_it_is(make_client: Make, vendor: Vendor, clock: Clock):
    class Down(MemoryStore):
        def load(self) -> Token | None:
            raise DatabaseUnavailable("the database is down")

    with pytest.raises(DatabaseUnavailable):
        get(make_client(store=Down()))
    assert (clock.slept, vendor.asked) == ([], [])


def keys(secret: str, client_id: str = "cid.planted") -> ClientKeys:
    return ClientKeys(SecretStr(client_id), SecretStr(secret))


def test_a_renewal_with_a_secret_that_was_rotated_takes_the_new_one(make_client: Make, vendor: Vendor, clock: Clock):
    """ServiceTitan: a new secret makes the old one useless at once; a sync that began before must not fail of it."""
    store = MemoryStore(_token("old", clock, 900))
    client = make_client(store=store)
    vendor.will(list_page(), list_page(), list_page())
    get(client)
    store.held = keys("cs.rotated")
    clock.pass_seconds(700)
    vendor.token_script = [answer(400, {"error": "invalid_client"})]
    get(client)
    clock.pass_seconds(700)
    get(client)  # the new secret is remembered: the old one is not tried again
    sent = [parse_qs(request.content.decode())["client_secret"] for request in vendor.token_requests]
    assert sent == [["cs.planted"], ["cs.rotated"], ["cs.rotated"]]
    assert vendor.bearers == ["old", "token-2", "token-3"]
    assert client.statistics.token_requests == 3


@pytest.mark.parametrize(
    ("held", "asked"), [(None, 1), (keys("cs.planted"), 1), (keys("cs.rotated"), 2), (keys("cs.planted", "cid.new"), 2)]
)
def test_keys_that_are_refused_are_refused_once_each(
    make_client: Make, vendor: Vendor, held: ClientKeys | None, asked: int
):
    store = MemoryStore()
    store.held = held
    vendor.token_script = [answer(400, {"error": "invalid_client"}) for _ in range(3)]
    with pytest.raises(InvalidCredentials):
        get(make_client(store=store))
    assert len(vendor.token_requests) == asked
