"""dagster.yaml and workspace.yaml: Dagster accepts them, and they say what keeps a platform running by itself."""

from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

import st_pipeline
from st_pipeline.defs.partitions import register_tenants_at_home
from st_pipeline_tests.defs.platform import Platform, materialized, pairs

ROOT = Path(st_pipeline.__file__).parents[1]


def test_dagster_keeps_its_storage_in_postgres_and_runs_as_configured(platform: Platform, home: Path):
    """The whole of one sync against dagster-postgres, at the address that our settings make of a plain one."""
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        assert isinstance(instance.schedule_storage, PostgresScheduleStorage)
        assert instance.run_storage.postgres_url.startswith("postgresql+psycopg2://")
        platform.instance = instance
        platform.add("acme")
        run = platform.run("incremental_sync", "acme", "acme")
        assert run.success
        assert materialized(run).keys() == pairs("acme")
        assert platform.partitions("invoices") == ({"acme"}, set())
        assert platform.figures(run)["created"] > 0
    with dg.DagsterInstance.get() as another:
        assert another.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS
    assert register_tenants_at_home(platform.engine).added == ()
    assert not (home / "history").exists()  # where SQLite would be


def test_the_queue_lets_three_runs_go_and_keeps_a_place_for_the_poll(home: Path):  # noqa: ARG001 - DAGSTER_HOME
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 3
        assert queue.tag_concurrency_limits == [
            {"key": "st_pipeline/poll_worker", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
            {"key": "st_pipeline/night_worker", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
            {"key": "st_pipeline/mode", "value": "full", "limit": 1},
            {"key": "dagster/backfill", "limit": 1},
        ]


def test_runs_that_died_are_noticed_and_only_they_are_started_again(home: Path):  # noqa: ARG001 - DAGSTER_HOME
    """Without monitoring, a run whose machine died would hold its place in the queue for ever."""
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds == 180
        assert instance.run_monitoring_max_runtime_seconds == 6 * 3600
        assert instance.run_monitoring_poll_interval_seconds == 30
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 1
        assert instance.run_retries_retry_on_asset_or_op_failure is False
        assert instance.telemetry_enabled is False


def test_ticks_are_not_kept_for_ever():
    assert read("dagster.yaml")["retention"] == {
        "schedule": {"purge_after_days": 14},
        "sensor": {"purge_after_days": {"skipped": 1, "failure": 14, "success": 14}},
    }


def test_the_workspace_is_our_one_module():
    assert read("workspace.yaml") == {
        "load_from": [{"python_module": {"module_name": "st_pipeline.definitions", "location_name": "st_pipeline"}}]
    }


def read(name: str) -> dict[str, Any]:
    """A YAML file of the project."""
    return dict(yaml.safe_load((ROOT / name).read_text()))
