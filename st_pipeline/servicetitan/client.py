"""One request to ServiceTitan: token, rate limit, retries, and an answer read.

Here: `get`. Not here: the exchange itself (exchange.py), what an answer means (answers.py), which errors are worth
another try (retry.py), pages (pages.py), the database.
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

import httpx
import structlog

from st_pipeline.errors import ConfigurationError, InvalidApiResponseFormat, OutOfTime, ServiceUnavailable
from st_pipeline.servicetitan.addresses import check_api_address, check_token_address
from st_pipeline.servicetitan.deadline import NEVER, Deadline, out_of_time
from st_pipeline.servicetitan.network import TimeLimits, open_http
from st_pipeline.servicetitan.rate_limit import RateLimiter
from st_pipeline.servicetitan.responses import error_for
from st_pipeline.servicetitan.retry import Sleep, retrying
from st_pipeline.servicetitan.statistics import RequestStatistics
from st_pipeline.servicetitan.tenant_authentication import TenantAccess, Token, TokenStore
from st_pipeline.servicetitan.token import TokenSource, now_utc
from st_pipeline.servicetitan.transport import Answer, exchange, no_tls, tls
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
    """Speaks to ServiceTitan for one tenant: `with ServiceTitanClient(access, settings) as client: client.get(...)`.

    May be used by several threads. `store`: where the token is shared with other processes. `deadline`: of every
    request and every wait between two tries. `clock`, `sleep` and `transport` are for tests. Raises ConfigurationError:
    an app key that cannot be sent, or an address that no secret may be sent to.
    """

    def __init__(
        self,
        access: TenantAccess,
        settings: Settings,
        *,
        store: TokenStore | None = None,
        deadline: Deadline = NEVER,
        clock: Callable[[], datetime] = now_utc,
        sleep: Sleep = threading.Event.wait,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.access = access
        self.settings = settings
        self.statistics = RequestStatistics()
        self._clock = clock
        self._sleep = sleep
        self._limiter = RateLimiter(settings.rate_limit, settings.rate_limit_burst)
        _check_app_key(access)
        schemes = {check_api_address(access), check_token_address(access)}
        self._limits = TimeLimits.of(settings, deadline)
        self._http = open_http(no_tls() if schemes == {"http"} else tls(), transport)
        self._tokens = TokenSource(
            access,
            self._http,
            threshold_seconds=settings.token_refresh_threshold_seconds,
            limits=self._limits,
            store=store,
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
        """Close the connections."""
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
        """What `read` makes of the unpacked body of a 200 answer. `path` may hold `{tenant}`.

        Retried: 429, 5xx, broken connections, cut bodies, bodies that `read` refuses with InvalidApiResponseFormat.
        `doing` and `scope` are for error messages, `entity` for the log. Setting `stop` ends waits and retries.
        Raises AuthError, TransientApiError, InvalidApiResponseFormat, PermanentApiError; OutOfTime when the client's
        deadline has passed.
        """
        path = path.replace("{tenant}", str(self.access.tenant_id))
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
        """One try. The token is asked for anew: a back-off can outlive it."""
        self._check_time(request)
        doing, number = request.doing, next(request.tries)
        token = self._tokens.token()
        answer = self._send(request, token, number)
        is_new = False
        # A stored token may be as dead as the one it replaces: only one fetched after the refusal has the last word.
        while answer.status == HTTPStatus.UNAUTHORIZED and not is_new:
            fetched = self.statistics.token_requests
            token = self._tokens.renew(refused=token)
            is_new = self.statistics.token_requests > fetched
            answer = self._send(request, token, number)
        if answer.status != HTTPStatus.OK:
            raise error_for(answer, doing, scope=request.scope, sent=request.params.keys(), now=self._clock())
        if answer.body.lstrip()[:1] != b"{":
            raise InvalidApiResponseFormat(
                f"{doing}: HTTP 200, but the body is no JSON object; a proxy or an outage page?"
            )
        return read(answer.body)

    def _send(self, request: _Request, token: Token, number: int) -> Answer:
        """Send once, when the rate allows it, and count and log it however it ends."""
        pause = self._limiter.reserve()
        self._check_time(request, pause)
        if pause:
            self._sleep(request.stop, pause)
        if request.stop.is_set():
            raise ServiceUnavailable(f"{request.doing}: not asked, its reader has stopped")
        headers = {
            "authorization": f"Bearer {token.value.get_secret_value()}",
            "st-app-key": self.access.app_key.get_secret_value(),
        }
        sent = self._http.build_request(
            "GET", self.access.api_url + request.path, params=request.params, headers=headers
        )
        status, received, started = None, 0, time.monotonic()
        try:
            answer = exchange(
                self._http, sent, request.doing, limit_bytes=self.settings.max_response_bytes, limits=self._limits
            )
            status, received = answer.status, len(answer.body)
        finally:
            seconds = time.monotonic() - started
            self.statistics.record(seconds, received)
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                self.statistics.count("rate_limited")
            log.debug("request", **self._labels(request), status=status, seconds=round(seconds, 4), attempt=number)
        return answer

    def _check_time(self, request: _Request, pause_seconds: float = 0.0) -> None:
        deadline = self._limits.deadline
        if pause_seconds >= deadline.seconds_left:
            raise OutOfTime(f"{request.doing}: {out_of_time(deadline)}")

    def _labels(self, request: _Request) -> dict[str, str]:
        return {
            "tenant": self.access.tenant,
            "environment": self.access.environment,
            "entity": request.entity,
            "endpoint": request.path,
        }


def _check_app_key(access: TenantAccess) -> None:
    """A key that HTTP cannot carry would come back inside the error of the library that refuses it."""
    key = access.app_key.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            f"tenant {access.tenant}: the app key is empty or has blanks, line breaks or other characters that no key "
            "has; mend ST_PIPELINE_APP_KEY, or the key stored with the tenant"
        )
