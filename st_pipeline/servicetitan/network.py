"""Connections that end with a deadline, however slowly bytes come.

Here: the time that each connect, read and write of httpx's connections may still take. Not here: what is sent, and to
which address.

httpx's own timeouts restart with every byte, so a response whose headers trickle in never times out. httpcore hands a
timeout from the request to the socket as it is; ours remembers its deadline and is computed again for each read.
"""

import math
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpcore
import httpx

from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings

CONNECTIONS = 4  # a tenant's sync has one request in flight, two while it fetches ahead
HEADERS = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": "st-pipeline"}
KEEP_ALIVE_SECONDS = 60  # httpx's own 5 s are less than writing a large page takes; a new TLS connection costs 100 ms


class SecondsLeft(float):
    """A timeout that shrinks: the time left until a deadline, at most `longest` seconds.

    As a float it is the time that was left when it was made, so code that knows nothing of deadlines can use it.
    """

    deadline: Deadline
    longest: float

    def __new__(cls, deadline: Deadline, longest: float = math.inf) -> Self:
        """Its value as a float is the time left now."""
        made = super().__new__(cls, min(deadline.seconds_left, longest))
        made.deadline, made.longest = deadline, longest
        return made

    def now(self) -> float:
        """The seconds left now."""
        return min(self.deadline.seconds_left, self.longest)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long one request may take in all, and to connect. `deadline`: of the work that the request is a part of."""

    request_seconds: float
    connect_seconds: float
    deadline: Deadline = NO_DEADLINE

    @classmethod
    def of(cls, settings: Settings, deadline: Deadline = NO_DEADLINE) -> Self:
        """The limits from the settings."""
        return cls(settings.request_timeout_seconds, settings.connect_timeout_seconds, deadline)

    def timeouts(self) -> dict[str, float]:
        """For a request that starts now, as httpx takes them in a request's extensions."""
        deadline = self.deadline.within(self.request_seconds, "a request may take so long")
        left = SecondsLeft(deadline)
        return {"connect": SecondsLeft(deadline, self.connect_seconds), "read": left, "write": left, "pool": left}


def open_http_client(
    verify: ssl.SSLContext, transport: httpx.BaseTransport | None = None, timeout: httpx.Timeout | None = None
) -> httpx.Client:
    """A client whose connections keep to SecondsLeft, including those through a proxy from the environment.

    `timeout`: for requests that are not sent by `send_request`, which sets its own. Plain HTTP is only allowed to this
    machine, and never goes through a proxy.
    """
    http = httpx.Client(
        limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
        headers=HEADERS,
        timeout=timeout,
        verify=verify,
        transport=transport,
        # None is kept: connections are shared by tenants, and no tenant may send what another one was given.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        mounts={"http://": None},
    )
    # httpx has no public way to give its connections a backend; a transport of our own would lose its proxies.
    for one in (http._transport, *http._mounts.values()):  # noqa: SLF001
        if isinstance(one, httpx.HTTPTransport):
            one._pool._network_backend = _Backend(one._pool._network_backend)  # noqa: SLF001
    return http


def transport_for(http: httpx.Client, url: httpx.URL) -> httpx.BaseTransport:
    """What sends a request to this address: directly, or through a proxy from the environment.

    Asked itself it costs a sixth less than the client, which also looks for redirects, hooks and cookies: we use none.
    """
    return http._transport_for_url(url)  # noqa: SLF001 - httpx has no public way


class SharedConnections:
    """The HTTP clients that tenants share, one for each TLS context.

    Connections stay open from one tenant to the next: with TLS a new one costs 100 ms and some 2 ms of CPU.
    """

    def __init__(self) -> None:
        self._clients: dict[ssl.SSLContext, httpx.Client] = {}

    def client(self, verify: ssl.SSLContext) -> httpx.Client:
        """The client with this TLS context."""
        if verify not in self._clients:
            self._clients[verify] = open_http_client(verify)
        return self._clients[verify]

    def close(self) -> None:
        """Close them all."""
        for client in self._clients.values():
            client.close()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None, passed: type[httpcore.TimeoutException]) -> float | None:
    """The timeout for a socket, None for no limit. Raises `passed` when none is left: to a socket, 0 means no wait."""
    seconds = timeout.now() if isinstance(timeout, SecondsLeft) else timeout
    if seconds is not None and seconds <= 0:
        raise passed
    return None if seconds is None or math.isinf(seconds) else seconds
