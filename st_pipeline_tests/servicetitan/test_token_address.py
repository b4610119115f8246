"""What the token address may answer, and what becomes of it."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from st_pipeline.errors import InvalidCredentials, OAuthHandshakeFailed, RateLimitExceeded, ServiceUnavailable
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline_tests.servicetitan.conftest import Clock, Vendor, answer, get, list_page, make_authentication, packed

Make = Callable[..., ServiceTitanClient]


@pytest.mark.parametrize("status", [400, 401])
def test_unknown_keys_are_reported_at_once_with_whom_to_ask(client: ServiceTitanClient, vendor: Vendor, status: int):
    vendor.token_script = [answer(status, {"error": "invalid_client"})]
    with pytest.raises(InvalidCredentials, match=r"production environment.*administrator.*no line break"):
        get(client)
    assert (len(vendor.token_requests), vendor.asked) == (1, [])


def test_throttled_token_requests_wait_as_long_as_asked(client: ServiceTitanClient, vendor: Vendor, clock: Clock):
    vendor.token_script = [
        answer(429, {"status": 429, "title": "Rate limit is exceeded. Try again in 30 seconds."}),
        answer(429, b"", {"retry-after": "20"}),
    ]
    vendor.will(list_page())
    get(client)
    assert clock.slept == [30.0, 20.0]
    assert vendor.bearers == ["token-3"]


def test_a_long_throttle_is_reported_with_its_wait(client: ServiceTitanClient, vendor: Vendor):
    vendor.token_script = [answer(429, b"", {"retry-after": "3600"})]
    with pytest.raises(RateLimitExceeded) as caught:
        get(client)
    assert caught.value.wait_seconds == 3600


@pytest.mark.parametrize("failure", [503, 500, httpx.ReadTimeout("x"), httpx.ConnectError("refused")])
def test_an_outage_of_the_token_address_is_outlived(
    client: ServiceTitanClient, vendor: Vendor, failure: int | httpx.TransportError
):
    vendor.token_script = [answer(failure, b"<html>") if isinstance(failure, int) else failure]
    vendor.will(list_page())
    get(client)
    assert vendor.bearers == ["token-2"]


NO_TOKENS = [
    b"<html>We will be back</html>",
    b"",
    b'{"access_token":"tok',
    {},
    {"access_token": "", "expires_in": 900},
    {"access_token": None, "expires_in": 900},
    {"access_token": 5, "expires_in": 900},
    {"access_token": "t", "expires_in": 0},
    {"access_token": "t", "expires_in": "soon"},
    {"access_token": "t", "expires_in": 1e300},
    {"access_token": "two\r\nlines", "expires_in": 900},
    {"access_token": "tökén", "expires_in": 900},
    [],
]


@pytest.mark.parametrize("body", NO_TOKENS, ids=[str(number) for number in range(len(NO_TOKENS))])
def test_a_200_without_a_usable_token_is_asked_again_and_then_reported(make_client: Make, vendor: Vendor, body: object):
    vendor.token_script = [answer(200, body), answer(200, body)]
    with pytest.raises(OAuthHandshakeFailed, match=r"the response has no token.*auth\.test") as caught:
        get(make_client(max_attempts=2))
    assert caught.value.retry_helps
    assert len(vendor.token_requests) == 2


def test_a_cut_token_answer_is_asked_again_and_then_reported(make_client: Make, vendor: Vendor):
    """The error says that the token is missing, not that a page was cut off."""
    client = make_client(max_attempts=2)
    vendor.token_script = [packed({"access_token": "t", "expires_in": 900}, cut=9) for _ in range(3)]
    with pytest.raises(OAuthHandshakeFailed, match="the response has no token"):
        get(client)
    vendor.will(list_page())
    get(client)
    assert vendor.bearers == ["token-4"]


@pytest.mark.parametrize("status", [400, 403, 404, 302, 204])
def test_another_refusal_of_the_token_address_is_not_repeated(client: ServiceTitanClient, vendor: Vendor, status: int):
    vendor.token_script = [answer(status, {"error": "unsupported_grant_type"})]
    with pytest.raises(OAuthHandshakeFailed, match=f"HTTP {status}") as caught:
        get(client)
    assert not caught.value.retry_helps
    assert len(vendor.token_requests) == 1


def test_a_token_address_that_is_down_for_good_is_reported(make_client: Make, vendor: Vendor):
    vendor.token_script = [answer(503), answer(503)]
    with pytest.raises(ServiceUnavailable, match="fetch a token for tenant acme: HTTP 503"):
        get(make_client(max_attempts=2))


def test_special_characters_of_a_secret_arrive_as_they_are(make_client: Make, vendor: Vendor):
    secret = "a+b/c=&d %"
    vendor.will(list_page())
    get(make_client(authentication=make_authentication(client_secret=secret)))
    assert parse_qs(vendor.token_requests[0].content.decode())["client_secret"] == [secret]
    assert json.dumps(secret) not in repr(vendor.token_requests[0].url)
