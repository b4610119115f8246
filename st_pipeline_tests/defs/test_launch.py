"""A running Dagster, spoken to: there or not there. That it does what it is told stands in test_backfill.py."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from st_pipeline.defs.launch import RunningDagster
from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.records import Mode

NOBODY = "http://127.0.0.1:1"
BROKEN = b"""{"data": {"workspaceOrError": {"locationEntries": [{"name": "st_pipeline", "loadStatus": "LOADED",
"locationOrLoadError": {"__typename": "PythonError", "message": "ImportError: no module\\nsecond line"}}]}}}"""


class Webserver(BaseHTTPRequestHandler):
    """A webserver that cannot load our definitions."""

    def do_GET(self) -> None:
        """`/server_info`."""
        self._answer(b"{}")

    def do_POST(self) -> None:
        """`/graphql`."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(BROKEN)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webserver() -> Iterator[str]:
    """Its address."""
    with HTTPServer(("127.0.0.1", 0), Webserver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_nobody_there_is_no_error_until_something_is_asked():
    nobody = RunningDagster(NOBODY)
    assert not nobody.is_up()
    with pytest.raises(PipelineError, match=f"Dagster at {NOBODY} does not answer"):
        nobody.launch_sync(Mode.FULL, "acme")


def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(webserver: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    assert RunningDagster(webserver).is_up()


def test_definitions_that_do_not_load_are_one_line(webserver: str):
    with pytest.raises(ConfigurationError) as caught:
        RunningDagster(webserver).has_loaded()
    assert str(caught.value) == "Dagster cannot load our definitions: ImportError: no module"
