"""One request to ServiceTitan: token, rate limit, retries, and an answer's body.

Here: `get`. Not here: pages (pages.py), what an answer means (answers.py), the database.
"""

import functools
import random
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx
import structlog
import tenacity

from st_pipeline.errors import (
    InvalidApiResponseFormat,
    PipelineError,
    RateLimitExceeded,
    ServiceUnavailable,
    TokenRefreshFailed,
    TransientApiError,
)
from st_pipeline.servicetitan.access import TenantAccess, Token, TokenStore
from st_pipeline.servicetitan.answers import error_for, read_body
from st_pipeline.servicetitan.rate_limit import RateLimiter
from st_pipeline.servicetitan.statistics import RequestStatistics
from st_pipeline.servicetitan.token import TokenSource, now_utc
from st_pipeline.settings import Settings

log = structlog.get_logger()
CONNECTIONS = 4  # a tenant's sync has one request under way, two while it fetches ahead


class ServiceTitanClient:
    """Speaks to ServiceTitan for one tenant: `with ServiceTitanClient(access, settings) as client: client.get(...)`.

    May be used by several threads. `store`: where the token is shared with other processes. `clock`, `sleep` and
    `transport` are for tests.
    """

    def __init__(
        self,
        access: TenantAccess,
        settings: Settings,
        *,
        store: TokenStore | None = None,
        clock: Callable[[], datetime] = now_utc,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.access = access
        self.settings = settings
        self.statistics = RequestStatistics()
        self._sleep = sleep
        self._limiter = RateLimiter(settings.rate_limit, settings.rate_limit_burst, sleep=sleep)
        self._http = httpx.Client(
            timeout=httpx.Timeout(settings.request_timeout_seconds, connect=settings.connect_timeout_seconds),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            headers={"accept": "application/json", "accept-encoding": "gzip", "user-agent": "st-pipeline"},
            verify=_certificates() if access.api_url.startswith("https") else False,
            transport=transport,
        )
        self._tokens = TokenSource(
            access,
            self._http,
            threshold_seconds=settings.token_refresh_threshold_seconds,
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

    def get(self, path: str, params: Mapping[str, str] | None = None, *, doing: str, scope: str | None = None) -> bytes:
        """The body of a 200 answer, unpacked. `path` may hold `{tenant}`; `doing` and `scope` are for error messages.

        Retried: 429, 5xx, broken connections, cut bodies, answers that are no JSON object. Raises AuthError,
        TransientApiError, InvalidApiResponseFormat, PermanentApiError.
        """
        path = path.replace("{tenant}", str(self.access.tenant_id))
        return self._retrying(doing)(self._attempt, path, dict(params or {}), doing, scope)

    def _retrying(self, doing: str) -> tenacity.Retrying:
        def before_sleep(state: tenacity.RetryCallState) -> None:
            self.statistics.count("retries")
            error = state.outcome.exception() if state.outcome else None
            wait = round(state.next_action.sleep, 2) if state.next_action else 0
            kind = type(error).__name__
            log.warning(
                "retry", tenant=self.access.tenant, doing=doing, error=kind, attempt=state.attempt_number, wait=wait
            )

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.settings.max_attempts),
            wait=self._wait_seconds,
            retry=tenacity.retry_if_exception(self._is_worth_a_retry),
            sleep=self._sleep,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _is_worth_a_retry(self, error: BaseException) -> bool:
        """Would the same request help within this run? Not when ServiceTitan asks for a longer wait than we sit out."""
        if isinstance(error, RateLimitExceeded | ServiceUnavailable):
            return (error.wait_seconds or 0) <= self.settings.retry_max_seconds
        return isinstance(error, TransientApiError | InvalidApiResponseFormat)

    def _wait_seconds(self, state: tenacity.RetryCallState) -> float:
        """What ServiceTitan asked for, and no less than a doubling, jittered back-off."""
        error = state.outcome.exception() if state.outcome else None
        stated = error.wait_seconds if isinstance(error, RateLimitExceeded | ServiceUnavailable) else None
        doubled = self.settings.retry_initial_seconds * 2.0 ** (state.attempt_number - 1)
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return max(stated or 0.0, min(doubled, self.settings.retry_max_seconds) * jitter)

    def _attempt(self, path: str, params: dict[str, str], doing: str, scope: str | None) -> bytes:
        """One try. The token is asked for anew: a back-off can outlive it."""
        token = self._tokens.token()
        status, body, error = self._send(path, params, token, doing, scope)
        if status == HTTPStatus.UNAUTHORIZED:
            token = self._tokens.renew(refused=token)
            status, body, error = self._send(path, params, token, doing, scope)
            if status == HTTPStatus.UNAUTHORIZED:
                raise TokenRefreshFailed(
                    f"{doing}: HTTP 401 even with a fresh token; check the app key (ST_PIPELINE_APP_KEY). "
                    "`st-pipeline credentials test` tells more"
                )
        if error is not None:
            if isinstance(error, RateLimitExceeded):
                self.statistics.count("rate_limited")
            raise error
        if body.lstrip()[:1] != b"{":
            raise InvalidApiResponseFormat(
                f"{doing}: HTTP 200, but the body is no JSON object; a proxy or an outage page?"
            )
        return body

    def _send(
        self, path: str, params: dict[str, str], token: Token, doing: str, scope: str | None
    ) -> tuple[int, bytes, PipelineError | None]:
        """Send once. Returns the status, the body, and the error that a status other than 200 stands for."""
        self._limiter.wait()
        headers = {
            "authorization": f"Bearer {token.value.get_secret_value()}",
            "st-app-key": self.access.app_key.get_secret_value(),
        }
        started = time.monotonic()
        try:
            with self._http.stream("GET", self.access.api_url + path, params=params, headers=headers) as response:
                body = read_body(response, self.settings.max_response_bytes, doing)
        except httpx.TimeoutException as error:
            limit = f"{self.settings.request_timeout_seconds:g} s"
            raise ServiceUnavailable(f"{doing}: no answer in {limit} ({type(error).__name__})") from None
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"{doing}: the connection failed ({type(error).__name__})") from None
        seconds = time.monotonic() - started
        self.statistics.record(seconds, len(body))
        status = response.status_code
        log.debug("request", tenant=self.access.tenant, endpoint=path, status=status, seconds=round(seconds, 4))
        return status, body, None if status == HTTPStatus.OK else error_for(response, body, doing, scope)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """One for the process: loading the certificates takes some 20 ms."""
    return httpx.create_ssl_context()
