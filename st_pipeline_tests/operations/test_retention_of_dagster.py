"""Dagster's history is shortened, and the UI answers as before.

It is asked by its own GraphQL, also after its status cache was dropped, so that it is made anew from the events left.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_graphql.test.utils import execute_dagster_graphql
from sqlalchemy import Engine, text

from st_pipeline.operations.retention import Report, delete_old_rows
from st_pipeline.postgres.database import DAGSTER_DRIVER
from st_pipeline.settings import Settings
from st_pipeline_tests.operations.test_retention import archived

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
KEYS = ("acme", "birch", "cedar", "dune", "elm")
LATER = timedelta(days=20)
QUESTION = """
{
  assetNodeOrError(assetKey: {path: ["invoices"]}) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions unmaterializedPartitions }
      }
      partitionStats { numMaterialized numFailed numPartitions }
      latestMaterializationByPartition(partitions: ["acme", "birch", "cedar", "dune", "elm"]) { runId timestamp }
      assetMaterializations(limit: 1) { runId metadataEntries { label } }
      assetChecksOrError { ... on AssetChecks { checks { executionForLatestMaterialization { runId status } } } }
    }
  }
}
"""


class Choice(dg.Config):
    """Which tenants a run does, and which of them fail."""

    failing: list[str]


@dg.multi_asset(
    specs=[dg.AssetSpec("invoices", partitions_def=TENANTS, skippable=True)],
)
def invoices(context: dg.AssetExecutionContext, config: Choice) -> Iterator[dg.AssetMaterialization]:
    """As the project's own asset: an event for each tenant that succeeds, and a failure if any failed."""
    for tenant in context.partition_keys:
        if tenant in config.failing:
            continue
        context.log.info(f"syncing {tenant}")
        yield dg.AssetMaterialization("invoices", partition=tenant, metadata={"processed": 3}, tags={"st/x": "y"})
        evaluation = AssetCheckEvaluation(
            asset_key=dg.AssetKey("invoices"), check_name="complete", passed=True, metadata={}, partition=tenant
        )
        context.log_event(evaluation)
    if config.failing:
        raise dg.Failure("some failed", allow_retries=False)


@dg.asset_check(asset="invoices", name="complete", partitions_def=TENANTS)
def complete() -> dg.AssetCheckResult:
    """Declared, so that the UI shows the evaluations that the asset logs."""
    raise NotImplementedError


@dg.op(out=dg.Out(dg.Nothing, is_required=False), config_schema=[str])
def poll(context: dg.OpExecutionContext) -> Iterator[dg.AssetMaterialization]:
    """As a poll: materializations without planned events."""
    for tenant in context.op_config:
        yield dg.AssetMaterialization("invoices", partition=tenant)


@dg.job
def polls() -> None:
    """The poll."""
    poll()


defs = dg.Definitions(
    assets=[invoices],
    asset_checks=[complete],
    jobs=[polls, dg.define_asset_job("full", dg.AssetSelection.assets("invoices").without_checks())],
    executor=dg.in_process_executor,
)


class History:
    """An instance whose storage is in Postgres, and runs in it."""

    def __init__(self, instance: dg.DagsterInstance, engine: Engine) -> None:
        self.instance, self.engine = instance, engine
        instance.add_dynamic_partitions("tenants", list(KEYS))

    def sync(self, first: str, last: str, *failing: str) -> str:
        """A run over a range of tenants."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        made = defs.resolve_job_def("full").execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False,
            run_config={"ops": {"invoices": {"config": {"failing": list(failing)}}}},
        )  # fmt: skip
        assert made.success is not bool(failing)
        return made.run_id

    def poll(self, *tenants: str) -> str:
        """A run of the poll."""
        made = defs.resolve_job_def("polls").execute_in_process(
            instance=self.instance, run_config={"ops": {"poll": {"config": list(tenants)}}}
        )
        return made.run_id

    def shown(self) -> dict[str, Any]:
        """What the UI shows."""
        origin = LoadableTargetOrigin(python_file=__file__, attribute="defs", executable_path=None)
        with in_process_test_workspace(self.instance, origin) as workspace:
            return dict(execute_dagster_graphql(workspace, QUESTION).data["assetNodeOrError"])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What its tables hold."""
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def kept_runs(self) -> set[str]:
        """The runs that are still there."""
        return {run.run_id for run in self.instance.get_runs()}


@pytest.fixture
def history(empty_engine: Engine, tmp_path: Path) -> Iterator[History]:
    """An empty one."""
    address = empty_engine.url.set(drivername=DAGSTER_DRIVER).render_as_string(hide_password=False)
    overrides = {"storage": {"postgres": {"postgres_url": address}}, "telemetry": {"enabled": False}}
    (tmp_path / "home").mkdir()
    ref = InstanceRef.from_dir(str(tmp_path / "home"), overrides=overrides)
    with dg.DagsterInstance.from_ref(ref) as instance:
        yield History(instance, empty_engine)


def shorten(history: History, engine: Engine, settings: Settings, **options: Any) -> Report:
    """What the daily job does, in twenty days."""
    return delete_old_rows(
        engine, settings, dagster=history.engine, now=datetime.now(UTC) + LATER,
        forget_compute_logs=lambda run: history.instance.compute_log_manager.delete_logs(prefix=[run]), **options,
    )  # fmt: skip


def test_old_history_goes_and_what_the_ui_shows_stays(
    history: History, engine: Engine, settings: Settings, tmp_path: Path
):
    first = history.sync("acme", "dune")
    again = history.sync("acme", "birch")
    replaced = history.sync("dune", "dune", "dune")
    failed = history.sync("cedar", "cedar", "cedar")
    polled = history.poll("acme", "dune")  # which also makes dune's failure a thing of the past
    before = history.shown()
    assert before["assetPartitionStatuses"] == {
        "materializedPartitions": ["acme", "birch", "dune"],
        "failedPartitions": ["cedar"],
        "unmaterializedPartitions": ["elm"],
    }
    logs = tmp_path / "home" / "storage"
    assert {path.name for path in logs.iterdir()} >= {first, again}

    kept = settings.model_copy(update={"archive_folder": tmp_path / "archive"})
    events = history.rows("SELECT count(*) FROM event_logs")[0][0]
    report = shorten(history, engine, kept)
    assert report.is_complete
    for cache in ("kept", "made anew"):
        if cache == "made anew":
            history.rows("UPDATE asset_keys SET cached_status_data = NULL RETURNING 1")
        assert history.shown() == before, cache

    # cedar's materialization is in the first, its failure in `failed`; birch's newest is in `again`.
    assert history.kept_runs() == {first, again, failed, polled}
    of_status = "SELECT run_id, dagster_event_type, partition FROM event_logs WHERE asset_key IS NOT NULL"
    names = {first: "first", again: "again", failed: "failed", polled: "polled"}
    assert sorted((names[run], kind, partition) for run, kind, partition in history.rows(of_status)) == [
        ("again", "ASSET_MATERIALIZATION", "birch"),
        ("failed", "ASSET_MATERIALIZATION_PLANNED", "cedar"),
        ("first", "ASSET_MATERIALIZATION", "cedar"),
        ("polled", "ASSET_MATERIALIZATION", "acme"),
        ("polled", "ASSET_MATERIALIZATION", "dune"),
    ]
    checks = "SELECT run_id FROM event_logs WHERE dagster_event_type = 'ASSET_CHECK_EVALUATION' ORDER BY id"
    assert [names[run] for (run,) in history.rows(checks)] == ["first", "first", "again", "again"]
    stories = "SELECT run_id, count(*) FROM event_logs WHERE dagster_event_type = 'STEP_FAILURE' GROUP BY 1"
    assert history.rows(stories) == [(failed, 1)]
    assert history.rows("SELECT count(*) FROM event_logs WHERE dagster_event_type IS NULL") == [(0,)]
    assert history.rows("SELECT count(*) FROM run_tags WHERE run_id NOT IN (SELECT run_id FROM runs)") == [(0,)]
    orphans = "SELECT count(*) FROM asset_event_tags WHERE event_id NOT IN (SELECT id FROM event_logs)"
    assert history.rows(orphans) == [(0,)]
    assert list(logs.iterdir()) == []

    left = history.rows("SELECT count(*) FROM event_logs")[0][0]
    assert (
        report.deleted["dagster_events"] == events - left == len(list(archived(kept.archive_folder, "dagster_events")))
    )
    (run,) = archived(kept.archive_folder, "dagster_runs")
    assert (run["run_id"], run["tags"]["dagster/asset_partition_range_start"]) == (replaced, "dune")
    assert json.loads(run["run_body"])
    assert shorten(history, engine, kept).deleted.total() == 0


def test_of_checks_the_newest_evaluation_of_each_partition_stays(history: History, engine: Engine, settings: Settings):
    history.sync("acme", "birch")
    newest = history.sync("acme", "acme")
    rows = "SELECT partition FROM asset_check_executions WHERE evaluation_event IS NOT NULL ORDER BY partition"
    held = history.rows(rows)
    assert shorten(history, engine, settings).deleted["dagster_checks"] > 0
    assert len(history.rows(rows)) < len(held)
    assert ("birch",) in history.rows(rows)
    ((run,),) = history.rows("SELECT run_id FROM asset_check_executions WHERE partition = 'acme'")
    assert run == newest


def test_what_is_young_or_running_stays(history: History, engine: Engine, settings: Settings):
    history.sync("acme", "acme")
    history.sync("acme", "acme")
    history.rows("UPDATE runs SET status = 'STARTED' WHERE id = (SELECT min(id) FROM runs) RETURNING 1")
    events = history.rows("SELECT count(*) FROM event_logs")
    delete_old_rows(engine, settings, dagster=history.engine)
    assert history.rows("SELECT count(*) FROM event_logs") == events
    report = shorten(history, engine, settings)
    assert len(history.kept_runs()) == 2
    assert report.deleted["dagster_runs"] == 0


def test_a_job_cut_off_in_the_middle_leaves_no_events_without_a_run(
    history: History, engine: Engine, settings: Settings
):
    for _ in range(3):
        history.poll("acme")
    before = history.shown()
    for batches in range(3, 12):
        left = iter([True] * batches)
        shorten(history, engine, settings, keep_going=lambda left=left: next(left, False))
        assert history.rows("SELECT count(*) FROM event_logs WHERE run_id NOT IN (SELECT run_id FROM runs)") == [(0,)]
    assert shorten(history, engine, settings).is_complete
    assert len(history.kept_runs()) == 1
    assert history.shown() == before
