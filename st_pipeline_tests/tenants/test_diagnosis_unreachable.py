"""ServiceTitan does not answer, or something else answers in its place: that says nothing about the credentials."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.entities import LISTS
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.tenants.diagnosis import test_credentials
from st_pipeline.tenants.refusal import Verdict
from st_pipeline_tests.tenants.conftest import Simulated, Test, assert_refused, noted


@pytest.fixture
def silent_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("address", ["production_auth_url", "production_api_url"])
def test_a_silent_network_is_named_by_host_and_says_nothing_about_the_credentials(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, silent_port: int, address: str
):
    """An outage must not suspend a tenant that works: its status stays."""
    diagnosis = diagnose(servicetitan_tenant(), {address: f"http://127.0.0.2:{silent_port}/connect/token"})
    assert (diagnosis.verdict, diagnosis.connected) == (Verdict.UNREACHABLE, False)
    assert diagnosis.message.startswith(f"127.0.0.2:{silent_port} does not answer")
    assert noted(engine) == ("pending", diagnosis.message, "failed")
    statuses = [entity.status for entity in diagnosis.entities]
    assert statuses == ["no answer"] + ["not asked"] * (len(LISTS) - 1)


def test_an_outage_after_a_good_test_leaves_the_tenant_connected(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, simulated_settings: Settings
):
    simulated = servicetitan_tenant()
    assert diagnose(simulated).connected
    simulated.fault("status", status=503, body="html")
    diagnosis = test_credentials("acme", settings=simulated_settings, engine=engine)
    assert diagnosis.verdict is Verdict.UNREACHABLE
    assert noted(engine) == ("connected", diagnosis.message, "failed")


def test_being_asked_to_wait_is_not_a_refusal(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    simulated = servicetitan_tenant()
    simulated.fault("429", wait_seconds=50)
    diagnosis = diagnose(simulated)
    assert diagnosis.verdict is Verdict.BUSY
    assert noted(engine)[0] == "pending"


def test_something_else_at_the_token_address_is_named(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    simulated = servicetitan_tenant()
    simulated.fault("html_200", entity="token")
    diagnosis = diagnose(simulated)
    assert diagnosis.verdict is Verdict.NO_TOKEN
    assert "answers, but with neither a token nor a known refusal" in diagnosis.message
    assert noted(engine) == ("pending", diagnosis.message, "failed")


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("status", {"status": 403, "body": "html"}), ("html_200", {})],
    ids=["a proxy's 403", "a page of HTML"],
)
def test_something_else_at_the_api_address_is_not_a_refusal(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, kind: str, rule: dict[str, Any]
):
    simulated = servicetitan_tenant()
    simulated.fault(kind, **rule, path="/tenant/")
    diagnosis = diagnose(simulated)
    assert diagnosis.verdict is Verdict.UNEXPECTED
    assert noted(engine)[0] == "pending"


def test_addresses_of_two_environments_are_named(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, servicetitan_simulator: SimulatorControl
):
    """An API that checks the token first sends the same 401 for a wrong app key: both causes are named."""
    simulator = servicetitan_simulator
    diagnosis = diagnose(servicetitan_tenant(), {"production_api_url": simulator.integration_url})
    hosts = [url.removeprefix("http://") for url in (simulator.integration_url, simulator.production_url)]
    assert_refused(
        engine, diagnosis, Verdict.WRONG_APP_KEY, "set ST_PIPELINE_APP_KEY", f"belong together: {' and '.join(hosts)}"
    )


class _KeyFirst(BaseHTTPRequestHandler):
    """An API that checks the app key first, and then refuses every token."""

    def do_GET(self) -> None:
        self.send_response(401 if self.headers["st-app-key"] == "ak1.right" else 403)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def key_first_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _KeyFirst) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_refused_token_is_told_from_a_wrong_app_key_where_that_is_possible(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, key_first_url: str
):
    simulated = servicetitan_tenant(app_key="ak1.right")
    diagnosis = diagnose(simulated, {"production_api_url": key_first_url})
    assert_refused(engine, diagnosis, Verdict.TOKEN_REFUSED, "although the app key is right", "belong together")
    assert simulated.requests()["token_requests"] == 2
