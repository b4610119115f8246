"""Why ServiceTitan refuses a tenant: told apart by asking it again, a little differently.

Here: the questions and what each answer means. Not here: trying the credentials first (diagnosis.py).
ServiceTitan documents no body for most refusals, so nothing is read from texts: answers are compared with each other.
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
NO_APP_KEY = "ak1.none"  # certainly wrong
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
    TOKEN_REFUSED = "token refused"  # noqa: S105 - words, no secret
    NO_TOKEN = "no token"  # noqa: S105
    UNREACHABLE = "unreachable"
    BUSY = "too many requests"
    UNEXPECTED = "unexpected answer"


Finding = tuple[Verdict, str]


class ErrorTitle(msgspec.Struct):
    """The one field that two refusals are compared by; besides, bodies hold trace ids that always differ."""

    title: str | None = None


def why_no_token(authentication: TenantAuthentication, settings: Settings) -> Finding:
    """The token address does not know client id and secret: does the other environment's? It is asked once."""
    other = next(environment for environment in ENVIRONMENTS if environment != authentication.environment)
    if _opens(authentication, settings, other):
        return Verdict.WRONG_ENVIRONMENT, (
            f"The client id and secret belong to the {other} environment, not to {authentication.environment}. Store "
            f"them with `--environment {other}`, or ask {ADMINISTRATOR} for keys of the {authentication.environment} "
            "environment"
        )
    return Verdict.WRONG_KEYS, (
        "ServiceTitan does not know this client id and secret, in either environment. "
        f"{_looks_odd(authentication)}Ask {ADMINISTRATOR} for both ({APP_ACCESS}) and store them with "
        "`st-pipeline credentials add --replace`; a new secret makes the old one useless. The usual cause is "
        "a secret that was cut or took a line break along"
    )


def _opens(authentication: TenantAuthentication, settings: Settings, environment: Environment) -> bool:
    """Does the environment's token address take these keys? No answer counts as no."""
    there = replace(authentication, environment=environment, auth_url=settings.auth_url(environment))
    if there.auth_url == authentication.auth_url:
        return False
    try:
        with http_client(settings) as http:
            token_source(there, settings, http).token()
    except PipelineError:
        return False
    return True


def _looks_odd(authentication: TenantAuthentication) -> str:
    """ServiceTitan: a client id begins with `cid.`, a secret with `cs`."""
    client_id, secret = authentication.client_id.get_secret_value(), authentication.client_secret.get_secret_value()
    if client_id.startswith("cs") and secret.startswith("cid."):
        return "The two stand in each other's place. "
    if not client_id.startswith("cid."):
        return "The client id does not begin with `cid.` as ServiceTitan's do. "
    return ""


def why_refused(authentication: TenantAuthentication, settings: Settings, token: Token, spec: EntitySpec) -> Finding:
    """The token is good and every entity is refused, `spec` being one of them."""
    owner, tenant_id = tenant_of(token), authentication.servicetitan_tenant_id
    if owner is not None and owner != tenant_id:
        return Verdict.WRONG_TENANT_ID, (
            f"The client id and secret belong to ServiceTitan tenant {owner}, not to {tenant_id}: store them with "
            f"`--tenant-id {owner} --replace`, or ask {ADMINISTRATOR} of tenant {tenant_id} for its own"
        )
    ours = _refusal(authentication, settings, token, spec, authentication.app_key)
    addresses = (
        f"check that both addresses of the {authentication.environment} environment in the settings belong together: "
        f"{_host(authentication.api_url)} and {_host(authentication.auth_url)}"
    )
    if ours is not None and ours == _refusal(authentication, settings, token, spec, SecretStr(NO_APP_KEY)):
        unauthorized = ours[0] == HTTPStatus.UNAUTHORIZED
        otherwise = addresses if unauthorized else f"{ADMINISTRATOR} must connect the app ({APP_ACCESS})"
        return Verdict.WRONG_APP_KEY, (
            "ServiceTitan answers as it does to an app key that is certainly wrong. Ask "
            f"{APP_OWNER} for the key (`ak1.…`, My Apps) and set ST_PIPELINE_APP_KEY, or store the tenant's own with "
            f"--app-key-file --replace. If the key is right, {otherwise}"
        )
    if ours is not None and ours[0] == HTTPStatus.UNAUTHORIZED:
        refused = "The API refuses a token that was fetched a moment ago, though the app key is right"
        return Verdict.TOKEN_REFUSED, f"{refused}: {addresses}"
    doubt = f"tenant id {tenant_id} is right and that " if owner is None else ""
    return Verdict.NOT_CONNECTED, (
        f"The keys are good, and ServiceTitan tenant {tenant_id} lets the app read nothing. Ask {ADMINISTRATOR} to "
        f"check that {doubt}the app is connected and its newest version accepted ({APP_ACCESS})"
    )


def why_no_answer(authentication: TenantAuthentication, error: PipelineError, *, has_token: bool) -> Finding:
    """ServiceTitan had no say, or something else spoke in its place."""
    host = _host(authentication.api_url if has_token else authentication.auth_url)
    match error:
        case ServiceUnavailable():
            return Verdict.UNREACHABLE, (
                f"{host} does not answer, or answers with an outage. Check the network, a proxy or firewall, "
                "and the addresses in the settings, then test again. Nothing is known about the credentials"
            )
        case RateLimitExceeded():
            return (
                Verdict.BUSY,
                f"{host} asks to wait: test again in some minutes. Nothing is known about the credentials",
            )
        case OAuthHandshakeFailed():
            return Verdict.NO_TOKEN, (
                f"{host} answers, but with neither a token nor a known refusal. Check the token address of the "
                f"{authentication.environment} environment in the settings, and a proxy on the way. Nothing is known "
                "about the credentials"
            )
        case _:
            return Verdict.UNEXPECTED, (
                f"{host} answers, but not with a page of records. Check the addresses in the settings, and a proxy on "
                "the way. Nothing is known about the credentials"
            )


def tenant_of(token: Token) -> int | None:
    """The tenant a token names itself, None where it does not. Seen live; not promised, so it is only a hint.

    The signature is not checked: nothing is allowed because of it.
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
    """Status and title of the answer to one record of `spec`, asked for with this app key; None without an answer."""
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
    """For a few questions while somebody waits."""
    timeout = min(settings.request_timeout_seconds, TIMEOUT_SECONDS)
    return open_http_client(tls(), timeout=httpx.Timeout(timeout, connect=settings.connect_timeout_seconds))


def token_source(
    authentication: TenantAuthentication, settings: Settings, http: httpx.Client, store: TokenStore | None = None
) -> TokenSource:
    """Where a token comes from while somebody waits."""
    limits = TimeLimits(min(settings.request_timeout_seconds, TIMEOUT_SECONDS), settings.connect_timeout_seconds)
    threshold = settings.token_refresh_threshold_seconds
    return TokenSource(authentication, http, threshold_seconds=threshold, limits=limits, store=store)


def _host(url: str) -> str:
    """Host, and port where it is not the usual one."""
    return httpx.URL(url).netloc.decode()
