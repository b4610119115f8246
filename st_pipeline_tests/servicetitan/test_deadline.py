"""A request ends with its deadline, whatever part of the answer is slow, on real sockets."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpcore
import httpx
import pytest
from pydantic import SecretStr

from st_pipeline.errors import OutOfTime, ServiceUnavailable
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.servicetitan.network import SecondsLeft, open_http_client
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings
from st_pipeline_tests.servicetitan.conftest import (
    Clock,
    MemoryStore,
    Vendor,
    answer,
    get,
    list_page,
    listening,
    make_authentication,
)

Make = Callable[..., ServiceTitanClient]
SLOW_SECONDS = 3.0  # how long a slow answer takes; a test that waits for it has failed
LIMIT_SECONDS = 0.25
LIMIT = "a poll gives a tenant so long"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
TOKEN = Token(SecretStr("token-0"), datetime.now(UTC) + timedelta(hours=1))


def trickle(connection: socket.socket, data: bytes) -> None:
    """Send byte by byte, until the other side has had enough."""
    pause = SLOW_SECONDS / len(data)
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause)
    except OSError:
        return


def in_headers(connection: socket.socket) -> None:
    trickle(connection, HEAD)


def in_the_body(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    trickle(connection, b" " * 1000)


def before_the_headers(connection: socket.socket) -> None:
    connection.settimeout(SLOW_SECONDS)
    connection.recv(1)


def after_a_good_answer(connection: socket.socket) -> None:
    """On a connection that is used again."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    connection.recv(65536)
    in_headers(connection)


@contextmanager
def asking(url: str, **changed: object) -> Iterator[ServiceTitanClient]:
    """A client that has its token and tries once."""
    settings = Settings(request_timeout_seconds=LIMIT_SECONDS, max_attempts=1).model_copy(update=changed)
    with ServiceTitanClient(make_authentication(url, url), settings, store=MemoryStore(TOKEN)) as client:
        yield client


@pytest.mark.parametrize("serve", [before_the_headers, in_headers, in_the_body])
def test_an_answer_that_trickles_ends_with_the_time_limit(serve: Callable[[socket.socket], None]):
    """Limits of a single read begin anew with every byte: such an answer would hold the tenant for minutes."""
    started = time.monotonic()
    with listening(serve) as url, asking(url) as client, pytest.raises(ServiceUnavailable, match=r"within 0\.2\d* s"):
        get(client)
    assert time.monotonic() - started < SLOW_SECONDS / 2


def test_a_connection_that_is_used_again_has_the_limit_of_the_new_request():
    with listening(after_a_good_answer) as url, asking(url) as client:
        get(client)
        time.sleep(LIMIT_SECONDS / 2)
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="no complete response"):
            get(client)
        assert LIMIT_SECONDS * 0.8 < time.monotonic() - started < SLOW_SECONDS / 2


def test_a_token_request_that_trickles_ends_with_the_time_limit():
    started = time.monotonic()
    with listening(in_headers) as url, asking(url) as client, pytest.raises(ServiceUnavailable, match="fetch a token"):
        client._tokens.renew(TOKEN)
    assert time.monotonic() - started < SLOW_SECONDS / 2


@pytest.fixture
def of_the_clock(clock: Clock) -> Callable[[float], Deadline]:
    """A deadline so many seconds from now, by the test's clock."""

    def after(seconds: float) -> Deadline:
        return Deadline(clock.now.timestamp() + seconds, LIMIT, lambda: clock.now.timestamp())  # noqa: PLW0108 - it moves on

    return after


def test_a_wait_that_would_outlast_the_deadline_is_not_begun(
    make_client: Make, vendor: Vendor, clock: Clock, of_the_clock: Callable[[float], Deadline]
):
    """Others wait meanwhile. The error is that of the last try, which says more than that the time was short."""
    vendor.will(*[answer(503, b"", {"retry-after": "20"}) for _ in range(4)])
    with pytest.raises(ServiceUnavailable, match="HTTP 503"):
        get(make_client(deadline=of_the_clock(50)))
    assert clock.slept == [20.0, 20.0]


def test_after_the_deadline_nothing_is_sent_not_even_for_a_token(
    make_client: Make, vendor: Vendor, clock: Clock, of_the_clock: Callable[[float], Deadline]
):
    client = make_client(deadline=of_the_clock(50))
    clock.pass_seconds(50)
    with pytest.raises(
        OutOfTime, match="page 3: out of time, as a poll gives a tenant so long; what is committed stays"
    ):
        get(client)
    assert (vendor.asked, vendor.token_requests) == ([], [])


def test_a_place_in_the_queue_of_the_rate_limit_is_not_waited_for_in_vain(
    make_client: Make, vendor: Vendor, clock: Clock, of_the_clock: Callable[[float], Deadline]
):
    client = make_client(rate_limit=Rate(1, 3600), rate_limit_burst=1, deadline=of_the_clock(50))
    vendor.will(list_page())
    get(client)
    with pytest.raises(OutOfTime):
        get(client)
    assert clock.slept == []


def test_every_read_has_what_is_left_and_a_connect_no_more_than_its_own_limit():
    now = [100.0]
    deadline = Deadline(130.0, "a test", lambda: now[0])
    left, connect = SecondsLeft(deadline), SecondsLeft(deadline, 10)
    assert (float(left), left.now(), connect.now()) == (30, 30, 10)
    now[0] = 125.0
    assert (float(left), left.now(), connect.now()) == (30, 5, 5)
    now[0] = 131.0
    assert (left.now(), connect.now()) == (0, 0)


def test_the_earlier_of_two_deadlines_counts():
    tenant = Deadline(150.0, "the tenant's", lambda: 100.0)
    assert tenant.within(120, "a request's") == tenant
    assert tenant.within(20, "a request's").limit == "a request's"
    assert NO_DEADLINE.within(1, "a request's").seconds_left <= 1
    assert not NO_DEADLINE.has_passed


def test_tls_and_proxies_have_the_same_limits(monkeypatch: pytest.MonkeyPatch):
    """A proxy that the environment names is still used, with our connections; for this machine never."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    asked = []

    class Inner(httpcore.NetworkStream):
        def start_tls(
            self, _context: ssl.SSLContext, _name: str | None = None, timeout: float | None = None
        ) -> httpcore.NetworkStream:
            asked.append(timeout)
            return self

        def read(self, _most: int, timeout: float | None = None) -> bytes:
            asked.append(timeout)
            return b""

    with open_http_client(ssl.create_default_context()) as http:
        direct, proxied = (http._transport_for_url(httpx.URL(url)) for url in ("http://127.0.0.1/", "https://a.test/"))
        assert direct is http._transport
        assert proxied is not direct
        backend = proxied._pool._network_backend
    assert type(backend) is type(direct._pool._network_backend)
    now = [0.0]
    left = SecondsLeft(Deadline(10.0, "a test", lambda: now[0]))
    stream = type(backend)(_Connects(Inner())).connect_tcp("a.test", 443, left)
    now[0] = 4.0
    stream = stream.start_tls(ssl.create_default_context(), "a.test", left)
    now[0] = 7.0
    stream.read(1, left)
    assert asked == [6.0, 3.0]
    now[0] = 10.0
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1, left)


class _Connects(httpcore.NetworkBackend):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self.stream = stream

    def connect_tcp(self, *_: object, **__: object) -> httpcore.NetworkStream:
        return self.stream
