"""Why ServiceTitan refuses a tenant: found out by asking again, slightly differently.

Here: the requests, and what each response means. Not here: testing the credentials in the first place (diagnosis).
ServiceTitan documents no body for most refusals, so no text is interpreted: responses are compared with each other.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from http import HTTPStatus

import httpx
import msgspec
from pydantic import SecretStr

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import OAuthHandshakeFailed, PipelineError, RateLimitExceeded, ServiceUnavailable
from st_pipeline.servicetitan.network import TimeLimits, open_http_client
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication, Token, TokenStore
from st_pipeline.servicetitan.token import TokenSource
from st_pipeline.servicetitan.transport import tls
from st_pipeline.settings import ENVIRONMENTS, Environment, Settings

TIMEOUT_SECONDS = 30.0  # ServiceTitan's own limit is 100 s; one record takes less than one
WRONG_APP_KEY = "ak1.none"
ADMINISTRATOR = "the company's ServiceTitan administrator"
APP_ACCESS = "Settings > Integrations > API Application Access"
APP_OWNER = "whoever owns the app in ServiceTitan's developer portal"


class Verdict(StrEnum):
    """What a test of credentials found."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    WRONG_KEYS = "wrong client id or secret"
    WRONG_ENVIRONMENT = "keys of another environment"
    WRONG_TENANT_ID = "wrong tenant id"
    WRONG_APP_KEY = "wrong app key"
    NOT_CONNECTED = "app not connected"
    NO_SCOPE = "no scope granted"
    TOKEN_REFUSED = "token refused"  # noqa: S105 - words, not a secret
    NO_TOKEN = "no token"  # noqa: S105
    UNREACHABLE = "unreachable"
    BUSY = "too many requests"
    UNEXPECTED = "unexpected answer"


Finding = tuple[Verdict, str]


class ErrorTitle(msgspec.Struct):
    """The field by which two refusals are compared: whole bodies contain trace ids, which always differ."""

    title: str | None = None


def why_no_token(authentication: TenantAuthentication, settings: Settings) -> Finding:
    """The token address does not know client id and secret: does that of the other environment, which is asked once?"""
    other = next(environment for environment in ENVIRONMENTS if environment != authentication.environment)
    if _opens(authentication, settings, other):
        return Verdict.WRONG_ENVIRONMENT, (
            f"The client id and secret belong to the {other} environment, not to {authentication.environment}. Store "
            f"them with `--environment {other}`, or ask {ADMINISTRATOR} for keys to the {authentication.environment} "
            "environment"
        )
    return Verdict.WRONG_KEYS, (
        f"ServiceTitan does not know this client id and secret in either environment. {_hint(authentication)}"
        f"Usually a part of the secret is missing, or a line break was copied with it. Ask {ADMINISTRATOR} for both "
        f"({APP_ACCESS}) and store them with `st-pipeline credentials add --replace`; a new secret makes the "
        "old one useless"
    )


def _opens(authentication: TenantAuthentication, settings: Settings, environment: Environment) -> bool:
    """Does the environment's token address accept these keys? No answer counts as no."""
    there = replace(authentication, environment=environment, auth_url=settings.auth_url(environment))
    if there.auth_url == authentication.auth_url:
        return False
    try:
        with http_client(settings) as http:
            token_source(there, settings, http).token()
    except PipelineError:
        return False
    return True


def _hint(authentication: TenantAuthentication) -> str:
    """ServiceTitan: a client id begins with `cid.`, a secret with `cs`."""
    client_id, secret = authentication.client_id.get_secret_value(), authentication.client_secret.get_secret_value()
    if client_id.startswith("cs") and secret.startswith("cid."):
        return "The two are swapped: each is in the other's place. "
    if not client_id.startswith("cid."):
        return "The client id does not begin with `cid.` as ServiceTitan's do. "
    return ""


def why_refused(authentication: TenantAuthentication, settings: Settings, token: Token, spec: EntitySpec) -> Finding:
    """The token is valid and every entity is refused, among them `spec`."""
    owner, tenant_id = tenant_of(token), authentication.servicetitan_tenant_id
    if owner is not None and owner != tenant_id:
        return Verdict.WRONG_TENANT_ID, (
            f"The client id and secret belong to ServiceTitan tenant {owner}, not to {tenant_id}: store them "
            f"with `--tenant-id {owner} --replace`, or ask the ServiceTitan administrator of tenant {tenant_id} "
            "for that tenant's"
        )
    ours = _refusal(authentication, settings, token, spec, authentication.app_key)
    addresses = (
        f"check in the settings that both addresses of the {authentication.environment} environment belong together: "
        f"{_host(authentication.api_url)} and {_host(authentication.auth_url)}"
    )
    if ours is not None and ours == _refusal(authentication, settings, token, spec, SecretStr(WRONG_APP_KEY)):
        unauthorized = ours[0] == HTTPStatus.UNAUTHORIZED
        otherwise = addresses if unauthorized else f"{ADMINISTRATOR} must connect the app ({APP_ACCESS})"
        return Verdict.WRONG_APP_KEY, (
            "ServiceTitan gives the same answer to this app key as to one that is certainly wrong. Ask "
            f"{APP_OWNER} for the key (`ak1.…`, My Apps) and set ST_PIPELINE_APP_KEY, or store the tenant's own with "
            f"--app-key-file --replace. If the key is right, {otherwise}"
        )
    if ours is not None and ours[0] == HTTPStatus.UNAUTHORIZED:
        refused = "The API refuses a token that was fetched a moment ago, although the app key is right"
        return Verdict.TOKEN_REFUSED, f"{refused}: {addresses}"
    doubt = f"tenant id {tenant_id} is right and that " if owner is None else ""
    return Verdict.NOT_CONNECTED, (
        f"The keys are right, but ServiceTitan tenant {tenant_id} lets the app read nothing. Ask "
        f"{ADMINISTRATOR} to check that {doubt}the app is connected and its newest version accepted ({APP_ACCESS})"
    )


def why_no_answer(authentication: TenantAuthentication, error: PipelineError, *, has_token: bool) -> Finding:
    """ServiceTitan did not answer, or something else answered in its place."""
    host = _host(authentication.api_url if has_token else authentication.auth_url)
    match error:
        case ServiceUnavailable():
            return Verdict.UNREACHABLE, (
                f"{host} does not answer, or reports an outage. Check the network, any proxy or firewall, and the "
                "addresses in the settings, then test again. The credentials could not be tested"
            )
        case RateLimitExceeded():
            return (
                Verdict.BUSY,
                f"{host} asks us to wait: test again in a few minutes. The credentials could not be tested",
            )
        case OAuthHandshakeFailed():
            return Verdict.NO_TOKEN, (
                f"{host} answers, but with neither a token nor a known refusal. Check the token address of the "
                f"{authentication.environment} environment in the settings, and any proxy on the way. The credentials "
                "could not be tested"
            )
        case _:
            return Verdict.UNEXPECTED, (
                f"{host} answers, but not with a page of records. Check the addresses in the settings, and any proxy "
                "on the way. The credentials could not be tested"
            )


def tenant_of(token: Token) -> int | None:
    """The tenant that a token names, None where it names none. Seen live but not documented, so it is only a hint.

    The signature is not checked: nothing is allowed because of the hint.
    """
    parts = token.value.get_secret_value().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return int(claims["tenant"]) if isinstance(claims, Mapping) else None
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, RecursionError):
        return None


def _refusal(
    authentication: TenantAuthentication, settings: Settings, token: Token, spec: EntitySpec, app_key: SecretStr
) -> tuple[int, str | None] | None:
    """Status and title of the response when one record of `spec` is asked for with this app key; None without one."""
    url = authentication.api_url + spec.list_path.replace("{tenant}", str(authentication.servicetitan_tenant_id))
    headers = {"authorization": f"Bearer {token.value.get_secret_value()}", "st-app-key": app_key.get_secret_value()}
    try:
        with http_client(settings) as http:
            response = http.get(url, params={**spec.list_params, "pageSize": "1"}, headers=headers)
    except httpx.TransportError:
        return None
    try:
        return response.status_code, msgspec.json.decode(response.content, type=ErrorTitle).title
    except (msgspec.DecodeError, UnicodeDecodeError):
        return response.status_code, None


def http_client(settings: Settings) -> httpx.Client:
    """A client with short time limits, for a few requests while a person waits."""
    timeout = min(settings.request_timeout_seconds, TIMEOUT_SECONDS)
    return open_http_client(tls(), timeout=httpx.Timeout(timeout, connect=settings.connect_timeout_seconds))


def token_source(
    authentication: TenantAuthentication, settings: Settings, http: httpx.Client, store: TokenStore | None = None
) -> TokenSource:
    """A source of tokens with short time limits, while a person waits."""
    limits = TimeLimits(min(settings.request_timeout_seconds, TIMEOUT_SECONDS), settings.connect_timeout_seconds)
    threshold = settings.token_refresh_threshold_seconds
    return TokenSource(authentication, http, threshold_seconds=threshold, limits=limits, store=store)


def _host(url: str) -> str:
    """The host, and the port unless it is the usual one."""
    return httpx.URL(url).netloc.decode()
