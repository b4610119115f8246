"""The sensor that alerts, and what it reads from Dagster's own tables: dead daemons, failed and dead runs."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy import Engine

from st_pipeline.alerts.collect import of_dagster
from st_pipeline.alerts.judge import Seen
from st_pipeline.defs.alerts import alerts
from st_pipeline.runs.tags import RESULT_TAG
from st_pipeline.settings import Settings
from st_pipeline_tests.alerts.receiver import Receiver, receiving
from st_pipeline_tests.defs.platform import QUICK


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """One for the module."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def dagster(home: Path) -> Iterator[dg.DagsterInstance]:  # noqa: ARG001 - DAGSTER_HOME
    """Dagster's real storage, without runs and heartbeats."""
    with dg.DagsterInstance.get() as instance:
        instance.wipe()
        instance.wipe_daemon_heartbeats()
        yield instance


def seen(engine: Engine, settings: Settings, instance: dg.DagsterInstance, now: datetime | None = None) -> list[Seen]:
    """What Dagster's tables show."""
    import os

    assert instance.storage_directory() is not None
    return of_dagster(engine, settings, os.environ, now or datetime.now(UTC))


def run(instance: dg.DagsterInstance, job: str, status: str, failed_entities: int | None = None) -> str:
    """A run of the job that has ended."""
    tags = {} if failed_entities is None else {RESULT_TAG: f"processed 3, failed_entities {failed_entities}"}
    made = instance.create_run_for_job(QUICK.resolve_job_def(job), tags=tags)
    event = {"failed": dg.DagsterEventType.RUN_FAILURE, "succeeded": dg.DagsterEventType.RUN_SUCCESS}[status]
    instance.report_dagster_event(dg.DagsterEvent(event.value, job_name=job), made.run_id)
    return made.run_id


def test_a_daemon_without_a_sign_of_life_is_a_problem(engine: Engine, settings: Settings, dagster: dg.DagsterInstance):
    now = time.time()
    for daemon, age_seconds in (("SENSOR", 20), ("SCHEDULER", 400), ("ASSET", 90_000)):
        dagster.add_daemon_heartbeat(DaemonHeartbeat(now - age_seconds, daemon, "a daemon", []))
    (dead,) = seen(engine, settings, dagster)
    assert (dead.cause, dead.subject) == ("daemon_dead", "SCHEDULER")
    assert dead.since is not None
    assert abs(dead.since.timestamp() - (now - 400)) < 1


def test_a_run_that_died_is_a_problem_until_a_later_one_ends_by_itself(
    engine: Engine, settings: Settings, dagster: dg.DagsterInstance
):
    run(dagster, "incremental_sync", "failed", failed_entities=2)  # a tenant's sync failed: that is its own problem
    assert seen(engine, settings, dagster) == []
    run(dagster, "incremental_sync", "failed")
    newest = run(dagster, "incremental_sync", "failed", failed_entities=0)
    run(dagster, "full_sync", "succeeded")
    (died,) = seen(engine, settings, dagster)
    assert (died.cause, died.subject) == ("run_failed", "incremental_sync")
    assert died.figures == {"runs": 2, "run": newest}
    run(dagster, "incremental_sync", "failed", failed_entities=1)
    assert seen(engine, settings, dagster) == []


def test_where_dagster_has_no_database_nothing_is_missed(engine: Engine, settings: Settings):
    assert of_dagster(engine, settings, {}, datetime.now(UTC)) == []


def test_a_database_of_dagster_s_on_another_server_that_does_not_answer_is_a_problem(
    engine: Engine, settings: Settings
):
    there = {"ST_PIPELINE_DAGSTER_STORAGE": "postgresql://nobody@127.0.0.1:1/dagster"}
    assert [one.cause for one in of_dagster(engine, settings, there, datetime.now(UTC))] == ["dagster_database"]


@pytest.mark.usefixtures("environment", "dagster")
def test_a_tick_of_the_sensor_tells_of_a_new_problem(
    dagster: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ST_PIPELINE_ALERT_CHANNELS", f"ops=json://{receiver.url}/ops")
    monkeypatch.setenv("ST_PIPELINE_ALERT_LEAST_FREE_BYTES", "0")
    monkeypatch.setenv("ST_PIPELINE_HEARTBEAT_URL", f"http://{receiver.url}/beat")
    with dg.build_sensor_context(instance=dagster) as context:
        first = alerts.evaluate_tick(context)
        assert first.skip_message == "alerts: 0 new, 0 over, 0 open; messages sent: 0; heartbeat called"
        dagster.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 4000, "QUEUED_RUN_COORDINATOR", "a daemon", []))
        second = alerts.evaluate_tick(context)
    said = "alerts: 1 new, 0 over, 1 open; messages sent: 1; heartbeat not called: Dagster's daemon"
    assert second.skip_message == said
    assert receiver.titles() == ["ERROR: QUEUED_RUN_COORDINATOR: Dagster's daemon is silent"]
    assert receiver.beats == 1
