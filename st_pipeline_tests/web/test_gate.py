"""The gate in front of Dagster's UI refuses what a foreign page makes a browser send, and passes everything else.

Each attack is also sent to the same app without the gate, where it must succeed: a gate that guards nothing would pass
all tests, too.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import httpx
import pytest
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused
from dagster_webserver.webserver import DagsterWebserver
from starlette.types import ASGIApp
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from st_pipeline.web.gate import Gate

PAUSE = "mutation { setAutoMaterializePaused(paused: true) }"
JSON_BODY = json.dumps({"query": PAUSE}).encode()
FOREIGN = "https://evil.example"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Servers:
    """Dagster's app on two real ports, once behind the gate, and the instance of both."""

    gated: str
    bare: str
    instance: dg.DagsterInstance

    def is_paused_after(self, address: str, method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        """Send it, and see whether Dagster executed it."""
        set_auto_materialize_paused(self.instance, paused=False)
        url = httpx.URL(f"http://{address}{target}")
        httpx.request(method, url, headers=headers, content=body, trust_env=False, timeout=30)
        return get_auto_materialize_paused(self.instance)


class Serving(threading.Thread):
    """uvicorn on a free port, in a thread."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(daemon=True)
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))

    def run(self) -> None:
        """Serve until told to end."""
        self.server.run()

    def address(self) -> str:
        """Its address, as soon as it serves."""
        give_up_at = time.monotonic() + 20
        while not self.server.started and time.monotonic() < give_up_at:
            time.sleep(0.01)
        return f"127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = str(tmp_path_factory.mktemp("dagster"))
    off = {"telemetry": {"enabled": False}}
    with (
        dg.DagsterInstance.local_temp(folder, overrides=off) as instance,
        WorkspaceProcessContext(instance, None) as workspace,
    ):
        app = DagsterWebserver(workspace).create_asgi_app()
        threads = [Serving(Gate(app, {"dagster.example.com"})), Serving(app)]
        for thread in threads:
            thread.start()
        yield Servers(threads[0].address(), threads[1].address(), instance)
        for thread in threads:
            thread.server.should_exit = True
            thread.join(20)


IN_ADDRESS = f"/graphql?query={PAUSE}"
ATTACKS = {
    "an image of another site": ("GET", IN_ADDRESS, {}, b""),
    "the same, with a line feed that the router overlooks": ("GET", IN_ADDRESS.replace("?", "%0A?"), {}, b""),
    "a form of another site": ("POST", IN_ADDRESS, {"Content-Type": "text/plain", "Origin": FOREIGN}, b"x"),
    "a form without an origin": ("POST", IN_ADDRESS, {"Content-Type": "text/plain"}, b"x"),
    "a request without a body": ("POST", IN_ADDRESS, {"Sec-Fetch-Site": "cross-site"}, b""),
    "text that says it is JSON": ("POST", "/graphql", {"Content-Type": "text/plain; application/json"}, JSON_BODY),
    "JSON from another site": ("POST", "/graphql", {**JSON, "Origin": FOREIGN}, JSON_BODY),
    "JSON from another port of this machine": ("POST", "/graphql", {**JSON, "Origin": "http://127.0.0.1:1"}, JSON_BODY),
    "JSON from a frame without an origin": ("POST", "/graphql", {**JSON, "Origin": "null"}, JSON_BODY),
    "JSON that the browser knows for foreign": ("POST", "/graphql", {**JSON, "Sec-Fetch-Site": "same-site"}, JSON_BODY),
    "GraphQL as such from another site": (
        "POST",
        "/graphql",
        {"Content-Type": "application/graphql", "Origin": FOREIGN},
        PAUSE.encode(),
    ),
    "a page whose name leads to this machine": (
        "POST",
        "/graphql",
        {**JSON, "Host": "evil.example:3000", "Origin": "http://evil.example:3000"},
        JSON_BODY,
    ),
    "a name that only begins like ours": ("POST", "/graphql", {**JSON, "Host": "localhost.evil.example"}, JSON_BODY),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_foreign_page_can_command_dagster_only_without_the_gate(servers: Servers, attack: str):
    assert servers.is_paused_after(servers.bare, *ATTACKS[attack])
    assert not servers.is_paused_after(servers.gated, *ATTACKS[attack])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="a program"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, id="a page of the UI"),
        pytest.param({"Host": "LOCALHOST:3000", "Origin": "http://localhost:3000"}, id="a page of an older browser"),
        pytest.param({"Host": "[::1]:3000", "Origin": "http://[::1]:3000"}, id="by the address of IPv6"),
        pytest.param({"Host": "dagster.example.com", "Origin": "https://dagster.example.com"}, id="through a proxy"),
    ],
)
def test_what_programs_and_the_uis_own_pages_send_passes(servers: Servers, headers: dict[str, str]):
    assert servers.is_paused_after(servers.gated, "POST", "/graphql", {**JSON, **headers}, JSON_BODY)


@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/logs/a/b", "/download_debug/x", "/favicon.png"])
def test_nothing_is_served_under_a_foreign_name(servers: Servers, path: str):
    """A page whose name is made to point at this machine would read every tenant's runs."""
    headers = {"Host": "evil.example", "Accept": "text/html"}
    answer = httpx.get(f"http://{servers.gated}{path}", headers=headers, trust_env=False)
    assert answer.status_code == 403
    assert "ST_PIPELINE_DAGSTER_HOST_NAMES" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_reports_of_materializations_are_under_the_same_rules(servers: Servers):
    key = dg.AssetKey("forged")
    target = "/report_asset_materialization/forged"
    assert httpx.post(f"http://{servers.gated}{target}", headers={"Origin": FOREIGN}).status_code == 403
    assert httpx.post(f"http://{servers.gated}{target}").status_code == 415
    assert servers.instance.get_latest_materialization_event(key) is None
    assert httpx.post(f"http://{servers.bare}{target}", headers={"Origin": FOREIGN}).status_code == 200
    assert servers.instance.get_latest_materialization_event(key) is not None


@pytest.mark.parametrize(
    ("origin", "headers", "passes"),
    [
        (None, {}, True),
        ("http://{host}", {}, True),
        ("https://evil.example", {}, False),
        ("null", {}, False),
        ("http://{host}", {"Sec-Fetch-Site": "cross-site"}, False),
        ("http://evil.example", {"Host": "evil.example"}, False),
    ],
)
def test_a_websocket_of_a_foreign_page_is_refused(
    servers: Servers, origin: str | None, headers: dict[str, str], passes: bool
):
    assert is_acknowledged(servers.bare, origin, headers)
    assert is_acknowledged(servers.gated, origin, headers) is passes


def is_acknowledged(address: str, origin: str | None, headers: dict[str, str]) -> bool:
    """Does Dagster accept the websocket? A refusal must be the gate's 403."""
    sent = {**headers, **({"Origin": origin.format(host=address)} if origin else {})}
    protocols = [Subprotocol("graphql-ws")]
    try:
        with connect(
            f"ws://{address}/graphql", additional_headers=sent, subprotocols=protocols, proxy=None
        ) as conversation:
            conversation.send(json.dumps({"type": "connection_init"}))
            return bool(json.loads(conversation.recv(5))["type"] == "connection_ack")
    except InvalidStatus as refused:
        return refused.response.status_code != 403


@pytest.mark.parametrize("name", ["Host", "Origin", "Content-Type", "Sec-Fetch-Site", "Accept"])
def test_a_header_that_the_rules_read_may_come_only_once(servers: Servers, name: str):
    """Otherwise the gate might read one of the two and Dagster the other."""
    connection = http.client.HTTPConnection(servers.gated, timeout=10)
    connection.putrequest("GET", "/server_info")
    for value in ("127.0.0.1", "evil.example")[name == "Host" :]:  # http.client sends a first Host itself
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_pages_cannot_be_framed_or_embedded_by_other_sites(servers: Servers):
    """A click on an invisible frame would send a request from the UI's own page."""
    page = httpx.get(f"http://{servers.gated}/", headers={"Accept": "text/html"}, trust_env=False)
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    policies = page.headers.get_list("content-security-policy")
    assert "frame-ancestors 'self'" in policies
    assert any("script-src" in policy for policy in policies)  # Dagster's own stands beside it
    assert page.headers["cross-origin-resource-policy"] == "same-origin"


def test_graphiql_is_shown_and_executes_nothing(servers: Servers):
    """The only GET of /graphql that passes is a browser's, for the page."""
    assert not servers.is_paused_after(servers.gated, "GET", IN_ADDRESS, {"Accept": "text/html"}, b"")
    page = httpx.get(f"http://{servers.gated}/graphql", headers={"Accept": "text/html"}, trust_env=False)
    assert (page.status_code, "GraphiQL" in page.text) == (200, True)
