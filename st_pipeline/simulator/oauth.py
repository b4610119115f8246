"""The token endpoint and the checks on every API call.

Here: authentication and scopes. Not here: the records. ServiceTitan: client credentials only, 900 s, no refresh token.
"""

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_plus

import msgspec

from st_pipeline.simulator.clock import TICKS_PER_SECOND
from st_pipeline.simulator.responses import Refused, Response, error, gateway_not_found, json_response

if TYPE_CHECKING:
    from st_pipeline.simulator.tenant import Tenant

_ISSUERS = {"production": "https://auth.servicetitan.io", "integration": "https://auth-integration.servicetitan.io"}
_SWEEP_ABOVE = 10_000  # with more tokens than this, expired ones are removed


@dataclass(slots=True)
class Grant:
    """Whose token it is, until when, and for which scopes."""

    tenant: "Tenant"
    expires: int
    scopes: frozenset[str]


class Tokens:
    """The valid tokens. They do not outlive a restart: clients get a 401 and request new ones."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def issue(self, tenant: "Tenant", scope: str, now: int) -> str:
        """A new token in the form of an RS256 JWT, with a random signature."""
        if len(self._grants) > _SWEEP_ABOVE:
            self._grants = {token: grant for token, grant in self._grants.items() if grant.expires > now}
        lifetime, issued = tenant.settings.token_lifetime_seconds, now // TICKS_PER_SECOND
        header = {"alg": "RS256", "kid": "5A1C0FFEE5A1C0FFEE5A1C0FFEE5A1C0FFEE5A1C", "typ": "at+jwt"}
        claims = {
            "iss": _ISSUERS[tenant.environment],
            "nbf": issued,
            "iat": issued,
            "exp": issued + lifetime,
            "scope": scope.split(),
            "client_id": tenant.client_id,
            "tenant": str(tenant.tenant_id),
            "jti": secrets.token_hex(16).upper(),
        }
        token = ".".join(
            (_part(msgspec.json.encode(header)), _part(msgspec.json.encode(claims)), _part(secrets.token_bytes(256)))
        )
        self._grants[token] = Grant(tenant, now + lifetime * TICKS_PER_SECOND, frozenset(scope.split()))
        return token

    def grant_of(self, token: str, now: int) -> Grant | None:
        """What the token allows; None when it is unknown, revoked or expired."""
        grant = self._grants.get(token)
        return grant if grant and now < grant.expires else None

    def revoke(self, tenant: "Tenant") -> int:
        """Revoke all tokens of the tenant, as a key rotation does. Returns how many there were."""
        mine = [token for token, grant in self._grants.items() if grant.tenant is tenant]
        for token in mine:
            del self._grants[token]
        return len(mine)


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client sent to `/connect/token`."""

    grant_type: str
    client_id: str
    client_secret: str
    scope: str

    @classmethod
    def read(cls, body: bytes, headers: dict[str, str]) -> "TokenRequest":
        """Parse the form fields; client id and secret may come by HTTP Basic."""
        form = {
            name: values[0]
            for name, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()
        }
        client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                name, _, word = base64.b64decode(credentials, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name, word = "", ""
            client_id, client_secret = unquote_plus(name), unquote_plus(word)
        return cls(form.get("grant_type", ""), client_id, client_secret, form.get("scope", ""))


def token_response(tenant: "Tenant | None", asked: TokenRequest, tokens: Tokens, now: int) -> Response:
    """`tenant`: whom the client id belongs to in this environment. 400 `invalid_client` when the keys are wrong."""
    if asked.grant_type != "client_credentials":
        return _oauth_error("unsupported_grant_type")
    if tenant is None or not hmac.compare_digest(tenant.client_secret.encode(), asked.client_secret.encode()):
        return _oauth_error("invalid_client")
    granted = sorted(tenant.granted_scopes())
    wanted = asked.scope.split() or granted
    if not set(wanted) <= set(granted):
        return _oauth_error("invalid_scope")
    scope = " ".join(wanted)
    response = json_response(
        200,
        {
            "access_token": tokens.issue(tenant, scope, now),
            "expires_in": tenant.settings.token_lifetime_seconds,
            "token_type": "Bearer",
            "scope": scope,
        },
    )
    response.headers["Cache-Control"] = "no-store, no-cache, max-age=0"
    return response


def _oauth_error(code: str) -> Response:
    return json_response(400, {"error": code})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and which scope it needs. `addressed`: the tenant in the path, if there is one."""

    headers: dict[str, str]
    environment: str
    tenant_id: int
    addressed: "Tenant | None"
    scope: str


def authorise(caller: Caller, tokens: Tokens, now: int) -> "Tenant":
    """Check token, app key, tenant, connection and scope, in this order. Returns the tenant. Raises Refused.

    The token may come with or without `Bearer`: ServiceTitan's sample sends it without.
    """
    kind, _, rest = caller.headers.get("authorization", "").strip().partition(" ")
    grant = tokens.grant_of(rest.strip() if kind.lower() == "bearer" else kind, now)
    if grant is None or grant.tenant.environment != caller.environment:
        raise Refused(error(401))
    tenant = grant.tenant
    if not hmac.compare_digest(caller.headers.get("st-app-key", "").encode(), tenant.app_key.encode()):
        raise Refused(error(tenant.settings.app_key_error_status, "The application key is missing or not valid"))
    if caller.addressed is not tenant:
        if tenant.settings.other_tenant_answer == "gateway_404":
            raise Refused(gateway_not_found())
        raise Refused(error(403, f"The application has no access to tenant {caller.tenant_id}"))
    if not tenant.connected:
        raise Refused(error(403, f"Tenant {caller.tenant_id} has not connected the application"))
    if caller.scope not in grant.scopes & tenant.granted_scopes():
        raise Refused(error(403, "Scope validation failed"))
    return tenant
