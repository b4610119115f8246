"""What Dagster does with partitioned asset checks, which are a preview: another version may do something else.

The assets here do nothing. Storage is Postgres, as in a deployment: SQLite numbers the events of each run anew.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from st_pipeline.defs.partitioned_checks import Materializations, check_spec, evaluation
from st_pipeline.defs.partitions import TENANTS, TENANTS_NAME
from st_pipeline_tests.defs.check_statuses import CheckStatuses, statuses_in

INVOICES = dg.AssetKey(["servicetitan", "invoices"])
MONEY = dg.AssetCheckKey(INVOICES, "money")
FAILING: set[str] = set()  # the tenants whose check fails


def evaluated(context: dg.OpExecutionContext, tenant: str, *, names_target: bool = True) -> dg.AssetCheckEvaluation:
    latest = Materializations(context.instance, context.run_id).latest(tenant, [INVOICES])
    return evaluation(
        MONEY,
        tenant,
        latest.get(INVOICES) if names_target else None,
        passed=tenant not in FAILING,
        is_error=True,
        description="items add up",
        metadata={"invoices": dg.MetadataValue.int(3)},
    )


class Evaluates(dg.Config):
    """What a run does."""

    evaluates: bool = True
    names_target: bool = True
    materializes: bool = True


@dg.multi_asset(
    specs=[dg.AssetSpec(INVOICES, partitions_def=TENANTS, skippable=True)],
    check_specs=[check_spec("money", INVOICES, "")],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def sync_tenants(
    context: dg.AssetExecutionContext, config: Evaluates
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    for tenant in context.partition_keys:
        if config.materializes:
            yield dg.AssetMaterialization(INVOICES, partition=tenant)
        if config.evaluates:
            yield evaluated(context.op_execution_context, tenant, names_target=config.names_target)


@dg.op(out=dg.Out(dg.Nothing))
def poll_tenants(context: dg.OpExecutionContext) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    yield dg.AssetMaterialization(INVOICES, partition="acme")
    yield evaluated(context, "acme")


@dg.job(executor_def=dg.in_process_executor)
def poll() -> None:
    poll_tenants()


SELECTION = dg.AssetSelection.all()
defs = dg.Definitions(
    assets=[sync_tenants],
    jobs=[
        poll,
        dg.define_asset_job("sync", SELECTION.without_checks(), executor_def=dg.in_process_executor),
        dg.define_asset_job("sync_and_checks", SELECTION, executor_def=dg.in_process_executor),
    ],
)


class Bench:
    """Runs in an instance with three tenants."""

    def __init__(self, instance: dg.DagsterInstance, statuses: CheckStatuses) -> None:
        self.instance = instance
        self.statuses = statuses

    def run(self, job: str, first: str | None = None, last: str | None = None, **config: bool) -> list[str]:
        """Run a job over a partition or a range. Returns the types of its events about checks."""
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        result = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=first if last is None else None,
            tags=tags if last else {},
            run_config={"ops": {"sync_tenants": {"config": config}}} if config else None,
        )
        entries = self.instance.all_logs(result.run_id)
        types = [entry.dagster_event_type.value for entry in entries if entry.dagster_event_type is not None]
        return [one for one in types if one.startswith("ASSET_CHECK")]

    def shown(self) -> dict[str, str]:
        """The status of each tenant."""
        return self.statuses.of(INVOICES)["money"]


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:  # noqa: ARG001 - DAGSTER_HOME
    FAILING.clear()
    with dg.DagsterInstance.get() as instance:
        instance.wipe()
        instance.add_dynamic_partitions(TENANTS_NAME, ["acme", "birch", "cedar"])
        with statuses_in(instance, __name__) as statuses:
            yield Bench(instance, statuses)


def test_a_range_and_an_op_give_each_tenant_a_status_of_its_own(bench: Bench):
    FAILING.add("birch")
    assert bench.run("sync", "acme", "cedar") == ["ASSET_CHECK_EVALUATION"] * 3  # nothing is planned
    assert bench.shown() == {"acme": "succeeded", "birch": "failed", "cedar": "succeeded"}
    FAILING.symmetric_difference_update({"acme", "birch"})
    bench.run("poll")
    bench.run("sync", "birch")
    assert bench.shown() == {"acme": "failed", "birch": "succeeded", "cedar": "succeeded"}


def test_a_status_is_shown_as_long_as_the_evaluation_names_the_latest_materialization(bench: Bench):
    bench.run("sync", "acme", "cedar")
    bench.run("sync", "acme", evaluates=False)
    bench.run("sync", "birch", names_target=False)
    assert bench.shown() == {"cedar": "succeeded"}
    bench.run("sync", "acme", "birch", materializes=False)
    assert bench.shown().keys() == {"acme", "birch", "cedar"}


def test_what_is_planned_takes_the_run_s_evaluation_and_shows_as_skipped_without_one(bench: Bench):
    assert bench.run("sync_and_checks", "acme", "birch").count("ASSET_CHECK_EVALUATION_PLANNED") == 1
    assert bench.shown() == {"acme": "succeeded", "birch": "succeeded"}
    bench.run("sync_and_checks", "birch", evaluates=False)
    assert bench.shown() == {"acme": "succeeded", "birch": "skipped"}
