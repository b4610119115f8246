"""Tokens, app keys, tenants and scopes: who gets in, and which errors the others get."""

import base64
import json
from collections.abc import Callable

import pytest

from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.simulator.independent_client import IndependentClient

SIX_KEYS = ["type", "title", "status", "traceId", "errors", "data"]


def test_a_token_answer_has_four_keys_and_lasts_fifteen_minutes(small: Callable[..., IndependentClient]):
    answer = small().token()
    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["access_token", "expires_in", "token_type", "scope"]
    assert (body["expires_in"], body["token_type"]) == (900, "Bearer")
    assert {"tn.crm.customers:r", "tn.acc.invoices:r"} <= set(body["scope"].split())


def test_a_token_is_shaped_like_the_vendors(small: Callable[..., IndependentClient]):
    client = small()
    parts = client.token().json()["access_token"].split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts[:2])
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")
    assert len(base64.urlsafe_b64decode(parts[2] + "==")) == 256
    assert {"iss", "client_id", "tenant", "jti", "iat", "nbf", "exp", "scope"} <= set(claims)
    assert claims["exp"] - claims["iat"] == 900
    assert claims["client_id"] == client.tenant.client_id


def test_basic_authentication_works_too(small: Callable[..., IndependentClient]):
    client = small()
    answer = client.http.post(
        "/connect/token",
        data={"grant_type": "client_credentials"},
        auth=(client.tenant.client_id, client.tenant.client_secret),
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "wrong", [{"client_id": "cid.nobody"}, {"client_secret": "cs.wrong"}, {"client_secret": ""}, {"client_id": ""}]
)
def test_wrong_keys_are_an_invalid_client(small: Callable[..., IndependentClient], wrong: dict[str, str]):
    answer = small().token(**wrong)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_a_newline_after_the_secret_is_an_invalid_client(small: Callable[..., IndependentClient]):
    client = small()
    answer = client.token(client_secret=client.tenant.client_secret + "\n")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_keys_of_one_environment_are_unknown_in_the_other(
    small: Callable[..., IndependentClient], servicetitan_simulator: SimulatorControl
):
    client = small(environment="integration")
    assert client.token().status_code == 200
    client.http.base_url = servicetitan_simulator.production_url
    assert client.token().json() == {"error": "invalid_client"}
    assert client.list("customers").status_code == 401  # the integration token is none here


def test_other_grants_and_scopes_are_refused_by_name(small: Callable[..., IndependentClient]):
    client = small(scopes=["tn.crm.customers:r"])
    assert client.token(grant_type="password").json() == {"error": "unsupported_grant_type"}
    assert client.token(scope="tn.acc.invoices:r").json() == {"error": "invalid_scope"}
    assert client.token(scope="tn.crm.customers:r").json()["scope"] == "tn.crm.customers:r"
    assert client.http.get("/connect/token").status_code == 405


def test_the_token_may_come_with_or_without_bearer(small: Callable[..., IndependentClient]):
    client = small()
    assert client.list("customers").status_code == 200
    client.http.headers["Authorization"] = "Bearer " + client.http.headers["Authorization"]
    assert client.list("customers").status_code == 200


@pytest.mark.parametrize("value", ["", "Bearer", "nonsense", "Bearer a.b.c"])
def test_a_missing_or_malformed_token_is_a_401(small: Callable[..., IndependentClient], value: str):
    client = small()
    client.http.headers["Authorization"] = value
    answer = client.list("customers")
    assert answer.status_code == 401
    assert list(answer.json()) == SIX_KEYS


def test_an_expired_token_is_a_401(small: Callable[..., IndependentClient], servicetitan_simulator: SimulatorControl):
    client = small()
    try:
        servicetitan_simulator.set_clock(offset_seconds=890)
        assert client.list("customers").status_code == 200
        servicetitan_simulator.set_clock(offset_seconds=901)
        assert client.list("customers").status_code == 401
        assert client.log_in().list("customers").status_code == 200
    finally:
        servicetitan_simulator.set_clock(offset_seconds=0)


def test_the_lifetime_is_a_setting(small: Callable[..., IndependentClient]):
    assert small(settings={"token_lifetime_seconds": 5}).token().json()["expires_in"] == 5


def test_revoked_tokens_are_refused_and_new_ones_work(small: Callable[..., IndependentClient]):
    client = small()
    assert client.tenant.revoke_tokens() == 1
    assert client.list("customers").status_code == 401
    assert client.log_in().list("customers").status_code == 200


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("key", ["", "ak1.other"])
def test_a_wrong_app_key_is_refused_with_the_status_of_the_setting(
    small: Callable[..., IndependentClient], key: str, status: int
):
    client = small(settings={"app_key_error_status": status})
    client.http.headers["ST-App-Key"] = key
    answer = client.list("customers")
    assert answer.status_code == status
    assert list(answer.json()) == SIX_KEYS


def test_another_tenants_data_is_a_403_or_hidden_by_the_gateway(small: Callable[..., IndependentClient]):
    mine, other = small(), small()
    path = f"/crm/v2/tenant/{other.tenant.tenant_id}/customers"
    answer = mine.http.get(path)
    assert answer.status_code == 403
    assert list(answer.json()) == SIX_KEYS
    mine.tenant.settings(other_tenant_answer="gateway_404")
    assert mine.http.get(path).json() == {"status": 404, "title": "Unable to match incoming request to an operation"}


def test_an_unconnected_app_is_a_403_everywhere(small: Callable[..., IndependentClient]):
    client = small(connected=False)
    assert [client.list(entity).status_code for entity in ("customers", "invoices", "memberships")] == [403] * 3
    client.tenant.change(connected=True)
    assert client.list("customers").status_code == 200


def test_a_scope_that_is_missing_is_named_as_seen_live(small: Callable[..., IndependentClient]):
    client = small(scopes=["tn.crm.customers:r"])
    assert client.list("customers").status_code == 200
    answer = client.list("invoices")
    assert answer.status_code == 403
    client.tenant.change(scopes=None)
    assert client.list("invoices").status_code == 403  # the token is still the old one
    assert client.log_in().list("invoices").status_code == 200
    assert (list(answer.json()), answer.json()["title"]) == (SIX_KEYS, "Scope validation failed")


def test_the_vendors_sixty_calls_a_second_are_enforced(servicetitan_tenant: Callable[..., SimulatedTenant]):
    client = IndependentClient(servicetitan_tenant(settings={"rate_limit_per_second": 20})).log_in()
    answers = [client.list("customers", pageSize=1) for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].json() == {"status": 429, "title": "Rate limit is exceeded. Try again in 1 seconds."}
    assert list(refused[0].json()) == ["status", "title"]
    assert "retry-after" not in refused[0].headers
