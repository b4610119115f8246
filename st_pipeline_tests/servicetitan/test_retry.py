"""What one request outlives, and how long it waits."""

import threading
from collections.abc import Callable

import httpx
import pytest

from st_pipeline.errors import InvalidApiResponseFormat, PermanentApiError, RateLimitExceeded, ServiceUnavailable
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline_tests.servicetitan.conftest import Clock, Vendor, answer, get, list_page, refusal

Make = Callable[..., ServiceTitanClient]
BUSY = {"status": 429, "title": "Rate limit is exceeded. Try again in 50 seconds."}
HTML = b"<!DOCTYPE html><html><body>We will be back</body></html>"


def test_a_429_waits_as_long_as_its_title_says(client: ServiceTitanClient, vendor: Vendor, clock: Clock):
    vendor.will(answer(429, BUSY), list_page())
    get(client)
    assert clock.slept == [50.0]
    assert (client.statistics.rate_limited, client.statistics.retries) == (1, 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Sun, 01 Mar 2026 12:00:20 GMT", 20.0), ("Sun, 01 Mar 2026 12:00:20 -0000", 20.0)],
)
def test_retry_after_is_read_in_seconds_and_as_a_date_and_goes_before_the_title(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock, header: str, seconds: float
):
    vendor.will(answer(429, BUSY, {"retry-after": header}), list_page())
    get(client)
    assert clock.slept == [seconds]


@pytest.mark.parametrize("header", ["nan", "inf", "-5", "soon", "Sun, 01 Mar 2026 11:00:00 GMT"])
def test_a_retry_after_that_makes_no_sense_or_is_past_leaves_our_own_back_off(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock, header: str
):
    vendor.will(answer(503, b"", {"retry-after": header}), list_page())
    get(client)
    assert clock.slept == [pytest.approx(0.5, rel=0.25)]


def test_without_a_stated_wait_the_back_off_doubles_with_jitter(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock
):
    vendor.will(*[answer(429) for _ in range(7)], list_page())
    get(client)
    for wait, base in zip(clock.slept, [0.5, 1, 2, 4, 8, 16, 32], strict=True):
        assert base * 0.75 <= wait <= base * 1.25
    assert len({wait / base for wait, base in zip(clock.slept, [0.5, 1, 2, 4, 8, 16, 32], strict=True)}) > 1


def test_a_short_stated_wait_does_not_switch_the_back_off_off(make_client: Make, vendor: Vendor, clock: Clock):
    """`Try again in 1 seconds`, eight times in a row, would be all the tries within seven seconds."""
    vendor.will(*[answer(429, {"title": "Try again in 1 seconds."}) for _ in range(4)])
    with pytest.raises(RateLimitExceeded):
        get(make_client(max_attempts=4))
    assert clock.slept[2] >= 1.5


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_longer_than_the_run_sits_out_is_reported_at_once(
    client: ServiceTitanClient, vendor: Vendor, clock: Clock, status: int
):
    vendor.will(answer(status, b"", {"retry-after": "61"}))
    with pytest.raises(RateLimitExceeded if status == 429 else ServiceUnavailable) as caught:
        get(client)
    assert caught.value.wait_seconds == 61
    assert clock.slept == []


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520])
def test_an_outage_with_an_html_page_is_outlived(client: ServiceTitanClient, vendor: Vendor, status: int):
    vendor.will(answer(status, HTML), answer(status), list_page())
    assert b'"data"' in get(client)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.ReadTimeout("timed out"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("peer closed connection"),
    ],
)
def test_a_broken_connection_is_outlived_and_counted_as_a_request(
    client: ServiceTitanClient, vendor: Vendor, error: httpx.TransportError
):
    vendor.will(error, list_page())
    get(client)
    assert (client.statistics.requests, client.statistics.retries) == (2, 1)


def test_the_tries_are_bounded_and_the_message_says_what_was_being_done(
    make_client: Make, vendor: Vendor, clock: Clock
):
    vendor.will(*[answer(500) for _ in range(3)])
    with pytest.raises(ServiceUnavailable, match=r"^list invoices for tenant acme, page 3: HTTP 500"):
        get(make_client(max_attempts=3))
    assert len(clock.slept) == 2


def test_a_silent_host_is_named_with_the_limit_that_ran_out(make_client: Make, vendor: Vendor):
    client = make_client(max_attempts=1)
    vendor.will(httpx.ConnectTimeout("x"), httpx.ReadTimeout("x"), httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(ServiceUnavailable, match=r"no connection to api\.test within 10 s"):
        get(client)
    with pytest.raises(ServiceUnavailable, match=r"no complete response from api\.test within 120 s"):
        get(client)
    with pytest.raises(ServiceUnavailable, match="Connection refused"):
        get(client)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 422, 302])
def test_a_request_that_a_retry_cannot_help_is_sent_once(client: ServiceTitanClient, vendor: Vendor, status: int):
    vendor.will(refusal(status))
    with pytest.raises(Exception, match=f"HTTP {status}"):
        get(client)
    assert len(vendor.asked) == 1


def test_a_redirect_takes_no_keys_to_another_host(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(302, b"", {"location": "http://elsewhere.test/"}))
    with pytest.raises(PermanentApiError):
        get(client)
    assert [request.url.host for request in vendor.asked] == ["api.test"]


@pytest.mark.parametrize("body", [HTML, b"", b"[1]", b"null", b"  "])
def test_a_200_that_is_no_json_object_is_asked_again_and_then_reported(make_client: Make, vendor: Vendor, body: bytes):
    vendor.will(answer(200, body), answer(200, body))
    with pytest.raises(InvalidApiResponseFormat, match="not a JSON object"):
        get(make_client(max_attempts=2))


def test_a_body_that_its_reader_refuses_is_asked_for_again(client: ServiceTitanClient, vendor: Vendor):
    def read(body: bytes) -> bytes:
        if b"good" not in body:
            raise InvalidApiResponseFormat("cut off")
        return body

    vendor.will(answer(200, b'{"bad'), answer(200, b'{"good":1}'))
    assert get(client, read=read) == b'{"good":1}'


def test_a_stopped_reader_ends_the_back_off_and_nothing_more_is_asked(make_client: Make, vendor: Vendor, clock: Clock):
    stop = threading.Event()
    client = make_client()
    client._sleep = lambda stop, seconds: (clock.slept.append(seconds), stop.set())
    vendor.will(answer(500), list_page())
    with pytest.raises(ServiceUnavailable, match="its reader has stopped"):
        get(client, stop=stop)
    assert (len(vendor.asked), len(clock.slept)) == (1, 1)


def test_a_real_sleep_ends_when_the_reader_stops(make_client: Make, vendor: Vendor):
    client = make_client()
    client._sleep = threading.Event.wait
    stop = threading.Event()

    def busy(_: httpx.Request) -> httpx.Response:
        threading.Timer(0.05, stop.set).start()
        return answer(429, BUSY)  # 50 seconds

    vendor.will(busy)
    with pytest.raises(ServiceUnavailable, match="its reader has stopped"):
        get(client, stop=stop)
