"""One tenant's access token: fetched once, shared, renewed early.

Here: whether a token is fresh, and fetching one. Not here: where it is stored, and using it.
ServiceTitan: client credentials only, 900 s, no refresh token; token requests are throttled, so a token is shared by
the entities of a sync, its threads, and the next process.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, TypeGuard

import httpx
import msgspec
from pydantic import SecretStr

from st_pipeline.errors import (
    InvalidApiResponseFormat,
    InvalidCredentials,
    OAuthHandshakeFailed,
    PipelineError,
    RateLimitExceeded,
    ServiceUnavailable,
)
from st_pipeline.servicetitan.addresses import check_token_address
from st_pipeline.servicetitan.network import TimeLimits
from st_pipeline.servicetitan.responses import RETRYABLE, retry_after_seconds
from st_pipeline.servicetitan.tenant_authentication import ClientKeys, TenantAuthentication, Token, TokenStore
from st_pipeline.servicetitan.transport import Response, send_request

LONGEST_LIFE_SECONDS = 366 * 24 * 3600
MAX_TOKEN_RESPONSE_BYTES = 64 * 1024  # ServiceTitan's has some 2 kB


class TokenResponse(msgspec.Struct):
    """A response of the token address. The token is ASCII without spaces, as it goes into a header."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$")] | None = None
    expires_in: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_LIFE_SECONDS)] | None = None
    error: str | None = None


class NoTokenInResponse(OAuthHandshakeFailed):
    """Status 200 without a usable token: an outage page or a truncated body, so worth a retry."""

    retry_helps = True


def now_utc() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


class TokenSource:
    """The tenant's token, from memory, the store, or the token address, in that order.

    Raises ConfigurationError when no secret may be sent to the token address.
    """

    def __init__(
        self,
        authentication: TenantAuthentication,
        http: httpx.Client,
        *,
        threshold_seconds: float,
        limits: TimeLimits,
        store: TokenStore | None = None,
        token: Token | None = None,
        clock: Callable[[], datetime] = now_utc,
        on_fetch: Callable[[], None] = lambda: None,
    ) -> None:
        check_token_address(authentication)
        self._authentication = authentication
        self._keys = ClientKeys(authentication.client_id, authentication.client_secret)
        self._http = http
        self._threshold = self._margin = timedelta(seconds=threshold_seconds)
        self._limits = limits
        self._store = store
        self._clock = clock
        self._on_fetch = on_fetch
        self._lock = threading.Lock()
        self._held: Token | None = token

    def token(self) -> Token:
        """A token with more than the threshold left before it expires. Raises AuthError and TransientApiError."""
        held = self._held
        if self._is_fresh(held):
            return held
        with self._lock:  # check again: another thread may have renewed it meanwhile
            return self._from_memory_or_store(refused=None) or self._fetch()

    def renew(self, refused: Token) -> Token:
        """Another token than the one the API just refused. Raises AuthError and TransientApiError."""
        with self._lock:
            return self._from_memory_or_store(refused) or self._fetch()

    def _is_fresh(self, token: Token | None) -> TypeGuard[Token]:
        return token is not None and self._clock() < token.expires_at - self._margin

    def _from_memory_or_store(self, refused: Token | None) -> Token | None:
        candidates = [self._held, self._store.load() if self._store is not None else None]
        for token in candidates:
            was_refused = token is not None and refused is not None and _same(token, refused)
            if self._is_fresh(token) and not was_refused:
                self._held = token
                return token
        return None

    def _fetch(self) -> Token:
        asked_at = self._clock()
        try:
            response = self._ask()
        except InvalidCredentials:
            if not self._has_other_keys():
                raise
            response = self._ask()
        if not response.access_token or not response.expires_in:
            raise NoTokenInResponse(
                f"{self._doing}: the response has no token; check the token address in the settings ({self._host})"
            )
        life = timedelta(seconds=response.expires_in)
        self._held = token = Token(SecretStr(response.access_token), asked_at + life)
        # With a life shorter than the threshold, every call would need a token request.
        self._margin = min(self._threshold, life / 2)
        if self._store is not None:
            self._store.save(token)
        return token

    def _has_other_keys(self) -> bool:
        """Were the keys rotated while this sync ran? ServiceTitan: the old secret stops working at once."""
        keys = self._store.keys() if self._store is not None else None
        if keys is None or keys == self._keys:
            return False
        self._keys = keys
        return True

    def _ask(self) -> TokenResponse:
        self._on_fetch()
        form = {
            "grant_type": "client_credentials",
            "client_id": self._keys.client_id.get_secret_value(),
            "client_secret": self._keys.client_secret.get_secret_value(),
        }
        headers = {"accept": "application/json", "accept-encoding": "gzip"}
        request = self._http.build_request("POST", self._authentication.auth_url, data=form, headers=headers)
        try:
            response = send_request(
                self._http, request, self._doing, limit_bytes=MAX_TOKEN_RESPONSE_BYTES, limits=self._limits
            )
        except InvalidApiResponseFormat:
            return TokenResponse()
        decoded = _decode_token_response(response.body)
        if response.status != HTTPStatus.OK:
            raise self._refusal(response, decoded.error)
        return decoded

    def _refusal(self, response: Response, error: str | None) -> PipelineError:
        what = f"{self._doing}: HTTP {response.status}"
        wait = retry_after_seconds(response, self._clock())
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            return RateLimitExceeded(f"{what}: too many token requests; the next sync tries again", wait)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status in RETRYABLE:
            return ServiceUnavailable(f"{what} from {self._host}; the next sync tries again", wait)
        if error in ("invalid_client", "unauthorized_client"):
            return InvalidCredentials(
                f"{what}: ServiceTitan does not know this client id and secret in the "
                f"{self._authentication.environment} environment. Ask the company's ServiceTitan administrator for "
                "both again (Settings > Integrations > API Application Access), and check that the environment is "
                "right and that no line break was copied along"
            )
        return OAuthHandshakeFailed(
            f"{what}: neither a token nor a known refusal; check the token address ({self._host})"
        )

    @property
    def _doing(self) -> str:
        return f"fetch a token for tenant {self._authentication.tenant}"

    @property
    def _host(self) -> str:
        return httpx.URL(self._authentication.auth_url).host


def _decode_token_response(body: bytes) -> TokenResponse:
    try:
        return msgspec.json.decode(body, type=TokenResponse)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return TokenResponse()


def _same(one: Token, other: Token) -> bool:
    return one.value.get_secret_value() == other.value.get_secret_value()
