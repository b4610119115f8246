"""The GraphQL run backend: whether Dagster is running, and whose it is. Real runs are in the tests of backfills."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from st_pipeline.errors import ConfigurationError, DagsterSilent, PipelineError
from st_pipeline.protocol import Mode
from st_pipeline.runs.graphql import RunningDagster
from st_pipeline.runs.run_request import RunRequest

NOBODY = "http://127.0.0.1:1"
BROKEN = b"""{"data": {"workspaceOrError": {"locationEntries": [{"name": "st_pipeline", "loadStatus": "LOADED",
"locationOrLoadError": {"__typename": "PythonError", "message": "ImportError: no module\\nsecond line"}}]}}}"""


def daemon(last_heartbeat: float | None) -> bytes:
    """What the webserver says of the daemon."""
    beats = [{"daemonType": "SCHEDULER", "lastHeartbeatTime": time.time()}]
    beats += [{"daemonType": "QUEUED_RUN_COORDINATOR", "lastHeartbeatTime": last_heartbeat}]
    return json.dumps({"data": {"instance": {"daemonHealth": {"allDaemonStatuses": beats}}}}).encode()


class Webserver(BaseHTTPRequestHandler):
    """A webserver that cannot load our definitions, or gives another answer."""

    answer = BROKEN

    def do_GET(self) -> None:
        """`/server_info`."""
        self._answer(b"{}")

    def do_POST(self) -> None:
        """`/graphql`."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.answer)

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
    with serving(Webserver) as url:
        yield url


@contextmanager
def serving(handler: type[Webserver]) -> Iterator[str]:
    """A webserver that answers so."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_missing_dagster_is_not_an_error_until_it_is_asked():
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


@pytest.mark.parametrize(
    ("seconds_ago", "takes"), [(5, True), (200, False), (None, False)], ids=["alive", "gone", "never there"]
)
def test_a_queue_that_no_daemon_empties_is_seen(
    webserver: str, monkeypatch: pytest.MonkeyPatch, seconds_ago: float | None, takes: bool
):
    beat = None if seconds_ago is None else time.time() - seconds_ago
    monkeypatch.setattr(Webserver, "answer", daemon(beat))
    assert RunningDagster(webserver).takes_from_its_queue() is takes


def test_the_dagster_of_another_checkout_is_recognised(webserver: str, monkeypatch: pytest.MonkeyPatch):
    """Both use port 3000 unless set otherwise; a sync must not end up in the other's database."""
    info = "local_artifact_storage:\n  config:\n    base_dir: /srv/one\nrun_storage: PostgresRunStorage\n"
    monkeypatch.setattr(Webserver, "answer", json.dumps({"data": {"instance": {"info": info}}}).encode())
    assert RunningDagster(webserver).belongs_to(Path("/srv/one"))
    assert not RunningDagster(webserver).belongs_to(Path("/srv/on"))
    assert not RunningDagster(webserver).belongs_to(Path("/srv/other"))


def test_what_is_no_dagster_is_one_line(webserver: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Webserver, "answer", b"<html>It works!</html>")
    with pytest.raises(PipelineError, match="does not answer"):
        RunningDagster(webserver).belongs_to(Path("/srv/one"))


def test_a_run_that_was_queued_without_an_answer_is_not_queued_twice():
    """The webserver died after it had queued it; the command asks again."""
    queued: list[dict[str, str]] = []

    class Dies(Webserver):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: dict[str, object] = {}
            if "launchRun" in asked["query"]:
                tags = asked["variables"]["params"]["executionMetadata"]["tags"]
                queued.append({tag["key"]: tag["value"] for tag in tags})
                if len(queued) == 1:
                    self._answer(b"<html>502</html>")
                    return
                answer = {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": f"run-{len(queued)}"}}}
            elif "OfRequest" in asked["query"]:
                wanted = {tag["key"]: tag["value"] for tag in asked["variables"]["tags"]}
                found = [{"runId": f"run-{n}"} for n, tags in enumerate(queued, 1) if wanted.items() <= tags.items()]
                answer = {"runsOrError": {"results": found}}
            self._answer(json.dumps({"data": answer}).encode())

    with serving(Dies) as url:
        dagster = RunningDagster(url)
        with pytest.raises(DagsterSilent):
            dagster.start(RunRequest("acme", "request"))
        assert dagster.start(RunRequest("acme", "request")) == "run-1"
        assert dagster.start(RunRequest("birch", "request")) == "run-2"
        assert dagster.start(RunRequest("acme", "request")) == "run-3"
    assert len(queued) == 3
