"""A whole deployment on a benchmark's database: `st-pipeline up` with its own storage, and its CPU.

Here: starting it, starting a worker's poll in it, waiting for its end, the CPU of all its processes. Not here: tenants
and source (fleet.py), what is measured.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fleet import Fleet
from job import TICKS_PER_SECOND
from pydantic import SecretStr
from sqlalchemy import make_url

from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.runs.graphql import LOCATION, REPOSITORY
from st_pipeline.settings import variable_name

PROJECT = Path(__file__).parents[1]
IDLE_SECONDS = 120
SETTLE_SECONDS = 120  # meanwhile the sensor's first ticks add the tenants as partitions
READY_SECONDS = 180
ROUND_SECONDS = 1800
RUNNING = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
LAUNCH = """
    mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData, $tags: [ExecutionTag!]) {
      launchPipelineExecution(executionParams: {
        selector: $selector, runConfigData: $config, executionMetadata: {tags: $tags}}) {
        __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message }
      }
    }
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass
class Deployment:
    """A running `st-pipeline up`."""

    process: "subprocess.Popen[bytes]"
    url: str

    def poll(self, fleet: Fleet) -> None:
        """Start a run of each worker, and wait for their end."""
        started = [self._launch(worker) for worker in range(1, fleet.settings.poll_workers + 1)]
        give_up_at = time.monotonic() + ROUND_SECONDS
        for run_id in started:
            while (status := self._status(run_id)) in RUNNING:
                assert time.monotonic() < give_up_at, f"run {run_id} has not ended"
                time.sleep(0.2)
            assert status == "SUCCESS", f"run {run_id}: {status}"

    def _launch(self, worker: int) -> str:
        selector = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION, "jobName": "incremental_poll"}
        answer = self._ask(
            LAUNCH,
            selector=selector,
            config={"ops": {"poll_tenants": {"config": {"worker": worker}}}},
            tags=[{"key": "dagster/schedule_name", "value": "poll_every_tenant"}],
        )["launchPipelineExecution"]
        assert "run" in answer, answer
        return str(answer["run"]["id"])

    def _status(self, run_id: str) -> str:
        return str(self._ask(STATUS, id=run_id)["runOrError"]["status"])

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        response = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        return dict(response.raise_for_status().json()["data"])

    def cpu_seconds(self) -> float:
        """CPU so far of every process of the deployment, also of those that have ended."""
        parents, cpu = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
            cpu[int(folder.name)] = sum(map(int, fields[11:15]))  # with the children it has waited for
        found, ours = 0, {self.process.pid}
        while new := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= new
        found = sum(cpu.get(pid, 0) for pid in ours)
        return found / TICKS_PER_SECOND

    def idle_cpu_per_second(self, fleet: Fleet) -> float:
        """What the deployment costs while no run is active, Postgres included, once it has settled."""
        time.sleep(SETTLE_SECONDS)
        before, started = self.cpu_seconds() + fleet.postgres_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        return (self.cpu_seconds() + fleet.postgres_seconds() - before) / (time.monotonic() - started)


@contextmanager
def running_dagster(fleet: Fleet) -> Iterator[Deployment]:
    """`st-pipeline up` on the fleet's database, in a folder of its own; no full syncs by schedule."""
    home = fleet.folder / "deployment"
    home.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, home / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = fleet.settings.model_copy(update={"home": home / ".st-pipeline", "dagster_port": port})
    settings = settings.model_copy(update={"full_cron": "0 0 1 1 *"})
    with (home / "dagster.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("st-pipeline")), "up"],
            cwd=home,
            env={**os.environ, **_as_environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deployment = Deployment(process, f"http://127.0.0.1:{port}")
        _wait_until_ready(deployment, home / "dagster.log")
        dagster = make_url(fleet.server.url("fleet_dagster")).set(drivername=DRIVER)
        fleet.engines.append(open_engine(dagster))
        yield deployment
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _as_environment(settings: Any) -> dict[str, str]:
    """What differs from the defaults, as the program reads it."""
    changed = settings.model_dump(exclude_defaults=True)
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in changed.items()
    }
    return {variable_name(name): str(value) for name, value in plain.items()}


def _wait_until_ready(deployment: Deployment, log: Path) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    while time.monotonic() < give_up_at:
        assert deployment.process.poll() is None, log.read_text()[-2000:]
        try:
            if deployment._ask(query)["repositoriesOrError"].get("nodes"):  # noqa: SLF001 - the same module
                return
        except (httpx.HTTPError, KeyError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"Dagster was not ready after {READY_SECONDS} s: {log.read_text()[-2000:]}")
