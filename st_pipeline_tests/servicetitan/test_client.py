"""What is sent, what is logged, and that neither holds a secret."""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.envelope import read_envelope
from st_pipeline.servicetitan.network import SharedConnections
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings
from st_pipeline_tests.servicetitan.conftest import (
    SECRETS,
    MemoryStore,
    Step,
    Vendor,
    answer,
    get,
    list_page,
    make_authentication,
    packed,
    refusal,
)

Make = Callable[..., ServiceTitanClient]
FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC)
ECHO = " ".join([*SECRETS.values(), "token-1", "token-2", "Jane Doe"])


def test_each_request_is_one_debug_line_with_the_keys_that_lines_share(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(503), list_page())
    with capture_logs() as lines:
        get(client)
    requests = [line for line in lines if line["event"] == "request"]
    assert all(isinstance(line.pop("seconds"), float) for line in requests)
    shared = {
        "event": "request",
        "log_level": "debug",
        "tenant": "acme",
        "environment": "production",
        "entity": "invoices",
        "endpoint": "/accounting/v2/tenant/4711/invoices",
    }
    assert requests == [{**shared, "status": 503, "attempt": 1}, {**shared, "status": 200, "attempt": 2}]


def test_each_retry_is_one_warning_with_its_reason_and_wait(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(429, b"", {"retry-after": "9"}), httpx.ReadError("x"), list_page())
    with capture_logs() as lines:
        get(client)
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [(line["error"], line["attempt"]) for line in warnings] == [
        ("RateLimitExceeded", 1), ("ServiceUnavailable", 2),
    ]  # fmt: skip
    assert warnings[0]["wait_seconds"] == 9.0
    assert warnings[0]["doing"] == "list invoices for tenant acme, page 3"


ENDINGS: dict[str, list[Step]] = {
    "echoed in a 400": [refusal(400, ECHO, errors={"page": ["bad"], ECHO: [ECHO], "name": [ECHO]}, data={"x": ECHO})],
    "echoed in a 401": [refusal(401, ECHO), refusal(401, ECHO)],
    "echoed in a 403": [refusal(403, ECHO, traceId=ECHO)],
    "echoed in a 404": [refusal(404, ECHO)],
    "echoed in a 409": [refusal(409, ECHO)],
    "echoed in a 429": [answer(429, {"title": ECHO}, {"retry-after": ECHO})],
    "echoed in a 500": [answer(500, ECHO.encode())],
    "echoed as a page": [answer(200, ECHO.encode())],
    "echoed as JSON": [answer(200, {"data": ECHO, ECHO: 1})],
    "cut": [packed({"data": [ECHO]}, cut=5)],
    "encoding": [answer(200, b"", {"content-encoding": ECHO})],
    "quoted by the network": [httpx.LocalProtocolError(f"Illegal header value b'{ECHO}'")],
    "quoted by the peer": [httpx.RemoteProtocolError(f"illegal status line: {ECHO}")],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_error_traceback_or_log_line_shows_a_secret_or_a_record(make_client: Make, vendor: Vendor, ending: str):
    client = make_client(max_attempts=1, store=MemoryStore())
    vendor.will(*ENDINGS[ending])
    with capture_logs() as lines, pytest.raises(PipelineError) as caught:
        get(client, read=partial(read_envelope, doing="read a page"))
    plain = "".join(traceback.format_exception(caught.value)) + repr(lines)
    for secret in (*SECRETS.values(), "token-1", "token-2", "Jane"):
        assert secret not in plain
    shown = repr(client) + repr(client.authentication) + repr(client._tokens.__dict__)
    for secret in (*SECRETS.values(), "token-1", "token-2"):
        assert secret not in shown


@pytest.mark.parametrize(
    "body", [ECHO.encode(), {"error": ECHO}, {"error": "invalid_client", "error_description": ECHO}]
)
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_no_refusal_of_the_token_address_shows_what_was_sent(
    make_client: Make, vendor: Vendor, status: int, body: object
):
    vendor.token_script = [answer(status, body)]
    with capture_logs() as lines, pytest.raises(PipelineError) as caught:
        get(make_client(max_attempts=1))
    shown = "".join(traceback.format_exception(caught.value)) + repr(lines)
    for secret in (*SECRETS.values(), "Jane"):
        assert secret not in shown


@pytest.mark.parametrize("key", ["", "ak1.two\nlines", "ak1.ends\n", "ak1.ünicode", "ak1. blank", "ak1\0nul"])
def test_an_app_key_that_http_cannot_carry_is_refused_before_a_library_quotes_it(make_client: Make, key: str):
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_APP_KEY") as caught:
        make_client(authentication=make_authentication(app_key=key))
    assert "ak1" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["api.test", "", "ftp://api.test", "http://", "http://api:port"])
def test_an_address_nobody_can_be_reached_at_is_refused_before_the_first_retry(make_client: Make, address: str):
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_PRODUCTION_API_URL"):
        make_client(authentication=make_authentication(api=address))
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_PRODUCTION_AUTH_URL"):
        make_client(authentication=make_authentication(auth=address))


@pytest.mark.parametrize("address", ["http://api.servicetitan.io", "HTTP://10.0.0.7:8080", "http://127.0.0.1.test"])
def test_no_secret_goes_unencrypted_to_another_machine(make_client: Make, vendor: Vendor, address: str):
    """A mistyped `http://` would show the keys to everybody on the way, before the server answers with a redirect."""
    with pytest.raises(ConfigurationError, match="write https:// in ST_PIPELINE_PRODUCTION_API_URL"):
        make_client(authentication=make_authentication(api=address))
    with pytest.raises(ConfigurationError, match="write https:// in ST_PIPELINE_PRODUCTION_AUTH_URL"):
        make_client(authentication=make_authentication(auth=address))
    assert (vendor.asked, vendor.token_requests) == ([], [])


@pytest.mark.parametrize(
    ("api", "auth", "checked"),
    [
        ("https://a.test", "https://b.test/t", True),
        ("http://127.0.0.1", "https://b.test/t", True),
        ("HTTPS://a.test", "http://localhost/t", True),
        ("http://[::1]:8080", "http://127.9.9.9/t", False),
    ],
)
def test_certificates_are_checked_as_soon_as_one_address_is_https(
    client_settings: Settings, api: str, auth: str, checked: bool
):
    """The secret goes to the token address: its certificate counts even where the API is a local simulator."""
    with ServiceTitanClient(make_authentication(api=api, auth=auth), client_settings) as client:
        context = client._http._transport._pool._ssl_context
        assert context.check_hostname
        assert bool(context.get_ca_certs() or context.cert_store_stats()["x509_ca"]) is checked


def test_two_clients_share_the_certificates_and_cost_little(client_settings: Settings):
    authentication = make_authentication("https://a.test", "https://b.test/t")
    with (
        ServiceTitanClient(authentication, client_settings) as one,
        ServiceTitanClient(authentication, client_settings) as other,
    ):
        assert one._http._transport._pool._ssl_context is other._http._transport._pool._ssl_context


def test_the_rate_limit_holds_for_every_try(make_client: Make, vendor: Vendor, client_settings: Settings):
    """Retries too are requests that the vendor counts."""
    client = make_client(rate_limit=client_settings.rate_limit.parse("1/hour"), rate_limit_burst=1)
    pauses = []
    client._sleep = lambda _stop, seconds: pauses.append(seconds)
    vendor.will(answer(500), list_page())
    get(client)
    back_off, limited = pauses
    assert back_off < 1
    assert 3590 < limited <= 3600


def test_no_cookie_is_kept_as_tenants_share_connections(client: ServiceTitanClient, vendor: Vendor):
    """A gateway's cookie may stand for a session, and would go along with the next tenant's request."""
    page = list_page()
    page.headers["set-cookie"] = "session=of-acme; Path=/"
    vendor.will(page, list_page())
    get(client)
    get(client)
    assert [request.headers.get("cookie") for request in vendor.asked] == [None, None]


def test_clients_of_tenants_share_connections_and_do_not_close_them():
    shared = SharedConnections()
    one, other = (
        ServiceTitanClient(make_authentication(), Settings(), connections=shared, token=None) for _ in range(2)
    )
    one.close()
    assert one._http is other._http
    assert not other._http.is_closed
    shared.close()
    assert other._http.is_closed


def test_a_stored_token_that_was_read_already_is_not_read_again(make_client: Make, vendor: Vendor):
    vendor.will(list_page())
    store = MemoryStore()
    client = make_client(store=store, token=Token(SecretStr("token-of-the-batch"), FAR_AWAY))
    get(client)
    assert vendor.asked[0].headers["authorization"] == "Bearer token-of-the-batch"
    assert vendor.token_requests == []
