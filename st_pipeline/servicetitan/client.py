"""One request to ServiceTitan: token, rate limit, retries, and reading the response.

Here: `get`. Not here: the HTTP exchange, what an error status means, which errors are retried, pages, the database.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import httpx
import structlog

from st_pipeline.errors import ConfigurationError, InvalidApiResponseFormat, OutOfTime, ServiceUnavailable
from st_pipeline.servicetitan.addresses import check_api_address, check_token_address
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline, out_of_time
from st_pipeline.servicetitan.network import HEADERS, SharedConnections, TimeLimits, open_http_client
from st_pipeline.servicetitan.rate_limit import RateLimiter
from st_pipeline.servicetitan.responses import error_for
from st_pipeline.servicetitan.retry import Sleep, retrying
from st_pipeline.servicetitan.statistics import RequestStatistics
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication, Token, TokenStore
from st_pipeline.servicetitan.token import TokenSource, now_utc
from st_pipeline.servicetitan.transport import Response, no_tls, send_request, tls
from st_pipeline.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    params: Mapping[str, str]
    doing: str
    entity: str
    scope: str | None
    stop: threading.Event
    tries: Iterator[int]


class ServiceTitanClient:
    """The client for one tenant: `with ServiceTitanClient(authentication, settings) as client: client.get(...)`.

    Safe for use by several threads. `store`: where the token is shared with other processes. `deadline`: for every
    request and every wait between two tries. `connections`: of the caller, who closes them; `token`: the stored one,
    where it was read already. `clock`, `sleep` and `transport` are for tests. Raises ConfigurationError for an app key
    that cannot be sent, and for an address that no secret may be sent to.
    """

    def __init__(
        self,
        authentication: TenantAuthentication,
        settings: Settings,
        *,
        store: TokenStore | None = None,
        deadline: Deadline = NO_DEADLINE,
        connections: SharedConnections | None = None,
        token: Token | None = None,
        clock: Callable[[], datetime] = now_utc,
        sleep: Sleep = threading.Event.wait,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.authentication = authentication
        self.settings = settings
        self.statistics = RequestStatistics()
        self._clock = clock
        self._sleep = sleep
        self._limiter = RateLimiter(settings.rate_limit, settings.rate_limit_burst)
        _check_app_key(authentication)
        schemes = {check_api_address(authentication), check_token_address(authentication)}
        self._limits = TimeLimits.of(settings, deadline)
        context = no_tls() if schemes == {"http"} else tls()
        self._owns_connections = connections is None
        self._http = open_http_client(context, transport) if connections is None else connections.client(context)
        self._tokens = TokenSource(
            authentication,
            self._http,
            threshold_seconds=settings.token_refresh_threshold_seconds,
            limits=self._limits,
            store=store,
            token=token,
            clock=clock,
            on_fetch=lambda: self.statistics.count("token_requests"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the caller shares them."""
        if self._owns_connections:
            self._http.close()

    def get(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        read: Callable[[bytes], T],
        doing: str,
        entity: str = "",
        scope: str | None = None,
        stop: threading.Event | None = None,
    ) -> T:
        """GET `path` and return what `read` makes of the unpacked body. `path` may contain `{tenant}`.

        Retried: 429, 5xx, broken connections, truncated bodies, bodies that `read` rejects with
        InvalidApiResponseFormat. `doing` and `scope` are for error messages, `entity` for the log. Setting `stop` ends
        waits and retries. Raises AuthError, TransientApiError, InvalidApiResponseFormat, PermanentApiError; OutOfTime
        when the client's deadline has passed.
        """
        path = path.replace("{tenant}", str(self.authentication.servicetitan_tenant_id))
        stop = stop or threading.Event()
        request = _Request(path, params, doing, entity, scope, stop, itertools.count(1))

        def on_retry(error: BaseException | None, attempt: int, wait_seconds: float) -> None:
            self.statistics.count("retries")
            figures = {"error": type(error).__name__, "attempt": attempt, "wait_seconds": round(wait_seconds, 2)}
            log.warning("retry", **self._labels(request), doing=doing, **figures)

        deadline, sleep = self._limits.deadline, self._sleep
        policy = retrying(self.settings, deadline=deadline, stop=stop, sleep=sleep, on_retry=on_retry)
        result: T = policy(self._attempt, request, read)
        return result

    def _attempt(self, request: _Request, read: Callable[[bytes], T]) -> T:
        """One try. It asks for the token again, because the token may have expired during the wait before it."""
        self._check_time(request)
        doing, number = request.doing, next(request.tries)
        token = self._tokens.token()
        response = self._send(request, token, number)
        is_new = False
        # Another process's stored token may be refused too; only a refusal of a newly fetched token is final.
        while response.status == HTTPStatus.UNAUTHORIZED and not is_new:
            fetched = self.statistics.token_requests
            token = self._tokens.renew(refused=token)
            is_new = self.statistics.token_requests > fetched
            response = self._send(request, token, number)
        if response.status != HTTPStatus.OK:
            raise error_for(response, doing, scope=request.scope, sent=request.params.keys(), now=self._clock())
        if response.body.lstrip()[:1] != b"{":
            raise InvalidApiResponseFormat(
                f"{doing}: HTTP 200, but the body is not a JSON object; a proxy or an outage page?"
            )
        return read(response.body)

    def _send(self, request: _Request, token: Token, number: int) -> Response:
        """Send once, as soon as the rate limit allows, and count and log the request however it ends."""
        pause = self._limiter.reserve()
        self._check_time(request, pause)
        if pause:
            self._sleep(request.stop, pause)
        if request.stop.is_set():
            raise ServiceUnavailable(f"{request.doing}: not sent, because its reader has stopped")
        # Put together here, as httpx takes an address apart again for each part that it adds.
        address = f"{self.authentication.api_url}{request.path}?{urlencode(request.params)}"
        headers = {
            **HEADERS,
            "authorization": f"Bearer {token.value.get_secret_value()}",
            "st-app-key": self.authentication.app_key.get_secret_value(),
        }
        sent = httpx.Request("GET", address, headers=headers)
        status, received, started = None, 0, time.monotonic()
        try:
            response = send_request(
                self._http, sent, request.doing, limit_bytes=self.settings.max_response_bytes, limits=self._limits
            )
            status, received = response.status, len(response.body)
        finally:
            seconds = time.monotonic() - started
            self.statistics.record(seconds, received)
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                self.statistics.count("rate_limited")
            log.debug("request", **self._labels(request), status=status, seconds=round(seconds, 4), attempt=number)
        return response

    def _check_time(self, request: _Request, pause_seconds: float = 0.0) -> None:
        deadline = self._limits.deadline
        if pause_seconds >= deadline.seconds_left:
            raise OutOfTime(f"{request.doing}: {out_of_time(deadline)}")

    def _labels(self, request: _Request) -> dict[str, str]:
        return {
            "tenant": self.authentication.tenant,
            "environment": self.authentication.environment,
            "entity": request.entity,
            "endpoint": request.path,
        }


def _check_app_key(authentication: TenantAuthentication) -> None:
    """Refuse a key that HTTP cannot carry: httpx would quote it in its error."""
    key = authentication.app_key.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            f"tenant {authentication.tenant}: the app key is empty or contains spaces, line breaks or other characters "
            "that are not allowed in a key; correct ST_PIPELINE_APP_KEY, or the key stored with the tenant"
        )
