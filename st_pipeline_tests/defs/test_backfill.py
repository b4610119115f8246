"""End to end, in a Dagster of its own: UI, daemon, code server and run workers, asked over GraphQL as the UI asks.

One test, as starting it takes longer than all others: a backfill with one broken entity of one tenant, "retry from
failure", and syncs launched as the command line launches them.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

import st_pipeline
from st_pipeline.cli import run
from st_pipeline.cli.server.dagster_service import background_dagster
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import register_tenants_at_home
from st_pipeline.postgres.dagster_database import dagster_url
from st_pipeline.protocol import Mode
from st_pipeline.runs.graphql import RunningDagster
from st_pipeline_tests.defs.platform import ALL, Platform

ROOT = Path(st_pipeline.__file__).parents[1]
TIMEOUT_SECONDS = 120
ONCE_A_YEAR = "0 0 1 1 *"
# The backfill daemon looks every 30 s, which is not a setting: in this Dagster's processes it looks every second.
IMPATIENT = "import dagster._daemon.controller as controller\ncontroller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1\n"

BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}"""
RETRY = """
mutation Retry($params: ReexecutionParams!) {
  reexecutePartitionBackfill(reexecutionParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
}"""
STATE = """
query State($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status runs { runId status tags { key value } assetSelection { path } }
} } }"""
PARTITIONS = """
query Partitions($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }
} } }"""


@pytest.fixture
def dagster(
    platform: Platform, empty_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningDagster]:
    """A Dagster of the test's own, as the demo starts it. Whatever it started is gone afterwards."""
    home = tmp_path / "home"
    (home / "impatient").mkdir(parents=True)
    (home / "impatient" / "sitecustomize.py").write_text(IMPATIENT)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, home)
    address = SecretStr(empty_engine.url.render_as_string(hide_password=False))
    storage = dagster_url(platform.settings.model_copy(update={"dagster_database_url": address}), empty_engine)
    variables = {
        "DAGSTER_HOME": str(home),
        "ST_PIPELINE_DAGSTER_STORAGE": storage.render_as_string(hide_password=False),
        "PYTHONPATH": f"{home / 'impatient'}{os.pathsep}{ROOT}",
        "ST_PIPELINE_INCREMENTAL_CRON": ONCE_A_YEAR,
        "ST_PIPELINE_FULL_CRON": ONCE_A_YEAR,
        "ST_PIPELINE_LEASE_WAIT_SECONDS": "60",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = platform.settings.model_copy(update={"dagster_port": free_port()})
    settings.home.mkdir()
    before = descendants()
    started: set[int] = set()
    try:
        with background_dagster(settings, home) as running:
            yield running
            started = descendants() - before
        assert len(started) > 4  # the web server, the code server's two, the daemon; and the `ps` that counts them
        assert alive(started) == set()
    finally:
        for process in alive(descendants() - before | started):
            os.kill(process, 9)


@pytest.mark.lab  # three Dagster processes and their workers
def test_retrying_a_failed_backfill_redoes_exactly_what_is_broken(
    platform: Platform,
    dagster: RunningDagster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    foreign = {"Origin": "https://evil.example"}
    assert httpx.post(f"{dagster.url}/graphql", json={"query": "{ version }"}, headers=foreign).status_code == 403
    platform.add("acme", "birch", register=False)
    assert register_tenants_at_home(platform.engine).added == ("acme", "birch")
    platform.simulated["birch"].fault("status", status=404, entity="invoices")

    params = {"assetSelection": [{"path": key(name)} for name in ALL], "partitionNames": ["acme", "birch"]}
    first = dagster._ask(BACKFILL, {"params": params})["launchPartitionBackfill"]["backfillId"]
    state = ended(dagster, first)
    assert state["status"] == "COMPLETED_FAILED"
    assert [(run["status"], len(run["assetSelection"])) for run in state["runs"]] == [("FAILURE", len(ALL))]
    assert shown(dagster, "failedPartitions") == {("birch", "invoices"), ("birch", "invoices_stream")}
    assert len(shown(dagster, "materializedPartitions")) == 2 * len(ALL) - 2

    platform.simulated["birch"].clear_faults()
    retry = {"parentRunId": first, "strategy": "FROM_FAILURE"}
    second = dagster._ask(RETRY, {"params": retry})["reexecutePartitionBackfill"]["backfillId"]
    launched = dagster.launch_sync(Mode.FULL, "acme")
    state = ended(dagster, second)
    assert state["status"] == "COMPLETED_SUCCESS"
    (run,) = state["runs"]
    # Dagster adds what it has not seen the end of when the backfill ended: on a busy machine a few of the last ones.
    redone = {tuple(one["path"]) for one in run["assetSelection"]}
    assert redone >= {tuple(key("invoices")), tuple(key("invoices_stream"))}
    assert len(redone) < len(ALL)
    assert shown(dagster, "failedPartitions") == set()
    assert shown(dagster, "materializedPartitions") == {(tenant, name) for tenant in ("acme", "birch") for name in ALL}
    touched = (
        "SELECT partition_key, entity FROM servicetitan_sync_logs l JOIN tenants USING (credential_id) "
        "JOIN sync_log_entities e ON e.sync_log_id = l.id WHERE dagster_run_id = :run"
    )
    tenants_and_entities = set(platform.rows(touched, run=run["runId"]))
    assert tenants_and_entities >= {("birch", "invoices"), ("birch", "invoices_stream")}
    assert {tenant for tenant, _ in tenants_and_entities} == {"birch"}

    assert dagster.wait([launched], TIMEOUT_SECONDS, lambda _statuses: None) == {launched: "SUCCESS"}
    modes = "SELECT partition_key, mode, sync_type FROM servicetitan_sync_logs JOIN tenants USING (credential_id) "
    assert platform.rows(f"{modes} WHERE dagster_run_id = :run", run=launched) == [("acme", "full", "manual")]

    monkeypatch.setenv("ST_PIPELINE_DAGSTER_PORT", dagster.url.rpartition(":")[2])
    commands_leave_their_syncs_to_the_queue(platform, dagster, Command(capsys))


def commands_leave_their_syncs_to_the_queue(platform: Platform, dagster: RunningDagster, command: "Command"):
    """They follow them there, end them there at a chunk, or go away. Part of the test above: one Dagster serves all."""
    platform.add("cedar", register=False)  # no sensor has seen it yet
    code, said = command("sync", "--tenant", "cedar", "--entity", "tag_types", "--json")
    assert (code, said["successful_syncs"]) == (0, 1)
    run_id = said["tenants"][0]["dagster_run_id"]
    assert dagster.statuses([run_id]) == {run_id: "SUCCESS"}
    log = platform.rows("SELECT details->'asked', dagster_run_id FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1")
    assert log == [({"entities": ["tag_types"]}, run_id)]

    platform.simulated["acme"].fault("slow", seconds=5, path="/export/")
    code, said = command("sync", "--no-wait", "-c", "acme", "--entity", "jobs", "--json")
    ((run_id),) = [one["dagster_run_id"] for one in said["tenants"]]
    assert (code, said["tenants"][0]["status"]) == (0, "queued")
    assert dagster.queued_tenants() == {"acme"}
    platform.change("INSERT INTO tenant_schedules (credential_id, paused_at) SELECT credential_id, now() FROM tenants "
                    "WHERE company <> 'acme'")  # fmt: skip
    code, due = command("sync", "--entity", "jobs", "--json")
    assert (code, [one["status"] for one in due["tenants"]]) == (0, ["skipped"])
    assert dagster.wait([run_id], TIMEOUT_SECONDS, lambda _statuses: None) == {run_id: "SUCCESS"}

    how = ("--entity", "jobs", "--mode", "full", "--batch-size", "5", "--timeout", "3")
    code, said = command("sync", "-c", "acme", *how, "--json")
    assert (code, said["failed_syncs"]) == (1, 1)
    assert said["tenants"][0]["message"].startswith("sync acme: stopped after 3 s")  # at work, or still in the queue


class Command:
    """`command("sync", …)`: its exit code and what its JSON says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        """Run it in this process."""
        self.capsys.readouterr()
        code = run(list(arguments))
        written = self.capsys.readouterr()
        return code, json.loads(written.out)


def key(entity: str) -> list[str]:
    """The path of an entity's asset."""
    return list(asset_key(entity).path)


def ended(dagster: RunningDagster, backfill: str) -> dict[str, Any]:
    """Wait for a backfill to end."""
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while True:
        state = dagster._ask(STATE, {"id": backfill})["partitionBackfillOrError"]
        if state["status"] not in ("REQUESTED", "COMPLETING"):
            return dict(state)
        assert time.monotonic() < give_up_at, state
        time.sleep(1)  # an answer costs the machine 0.2 s, which the run needs too


def shown(dagster: RunningDagster, status: str) -> set[tuple[str, str]]:
    """Tenant and entity of every partition that the UI shows in this state."""
    return {
        (tenant, entity)
        for entity in ALL
        for tenant in dagster._ask(PARTITIONS, {"key": {"path": key(entity)}})["assetNodeOrError"][
            "assetPartitionStatuses"
        ][status]
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants() -> set[int]:
    """Processes that this one started, and what those started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout  # noqa: S607
    parent = {int(pid): int(ppid) for pid, ppid in (line.split() for line in listed.splitlines())}
    found, new = set[int](), {os.getpid()}
    while new:
        new = {pid for pid, ppid in parent.items() if ppid in new}
        found |= new
    return found


def alive(processes: set[int]) -> set[int]:
    """Those that are still there after a while to end in: code servers are told to end, and nobody waits for them."""
    give_up_at = time.monotonic() + 30
    while True:
        listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True).stdout  # noqa: S607
        there = processes & {int(pid) for pid in listed.split()}
        if not there or time.monotonic() > give_up_at:
            return there
        time.sleep(0.2)
