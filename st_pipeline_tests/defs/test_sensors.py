"""The sensor: partitions follow credentials, and what dead processes left running is failed."""

import time

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from st_pipeline.defs.active_runs import ACTIVE
from st_pipeline.defs.partitions import PartitionChange, register_tenants
from st_pipeline.defs.resources import Postgres
from st_pipeline.runs.tags import MODE_TAG
from st_pipeline_tests.defs.platform import QUICK
from st_pipeline_tests.defs.sensor_ticks import DISABLE, Ticks, new_tenants


@pytest.fixture
def instance(emptied_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """A tick reads an instance that other processes can open."""
    return emptied_instance


def test_partitions_are_added_and_removed_with_credentials(ticks: Ticks):
    new_tenants(ticks.platform, "acme", "birch@integration")
    ticks()
    assert ticks.partitions == ["acme", "birch@integration"]
    ticks.platform.change(DISABLE, slug="acme")
    new_tenants(ticks.platform, "cedar")
    ticks()
    assert ticks.partitions == ["birch@integration", "cedar"]


def test_partitions_can_be_registered_at_once_and_again(ticks: Ticks):
    """What `credentials add` and the demo do, without waiting for a tick."""
    platform = ticks.platform
    new_tenants(platform, "acme", "birch")
    assert register_tenants(platform.instance, platform.engine) == PartitionChange(("acme", "birch"), ())
    assert register_tenants(platform.instance, platform.engine) == PartitionChange((), ())
    platform.change(DISABLE, slug="acme")
    assert register_tenants(platform.instance, platform.engine) == PartitionChange((), ("acme",))
    assert ticks.partitions == ["birch"]


def test_a_tick_with_nothing_to_do_says_so(ticks: Ticks):
    assert ticks() == "partitions equal enabled credentials, no first sync to start"


def test_no_partition_is_removed_while_a_backfill_is_under_way(ticks: Ticks):
    """Dagster would give up the whole backfill and cancel its runs: "partitions have been removed"."""
    new_tenants(ticks.platform, "acme", "birch")
    ticks()
    backfill = PartitionBackfill(
        "backfill", status=BulkActionStatus.REQUESTED, from_failure=False, tags={}, backfill_timestamp=0.0
    )
    ticks.platform.instance.add_backfill(backfill)
    ticks.platform.change(DISABLE, slug="acme")
    ticks()
    assert ticks.partitions == ["acme", "birch"]
    ticks.platform.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    ticks()
    assert ticks.partitions == ["birch"]


def test_a_tick_fails_a_run_whose_process_is_gone(ticks: Ticks):
    """As after a machine lost its power: nobody is left to say that the run ended."""
    instance = ticks.platform.instance
    run = instance.create_run_for_job(QUICK.resolve_job_def("full_sync"), tags={MODE_TAG: "full"})
    began = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    instance.report_dagster_event(began, run.run_id, timestamp=time.time() - 3600)
    with Postgres().engine(run.run_id):
        ticks()
        assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) != []
    ticks()
    (found,) = instance.get_runs(dg.RunsFilter(run_ids=[run.run_id]))
    assert found.status is dg.DagsterRunStatus.FAILURE


def test_every_run_that_has_not_ended_counts():
    ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    unused = {dg.DagsterRunStatus.MANAGED, dg.DagsterRunStatus.SUSPENDED}  # runs of other orchestrators; never set
    assert set(ACTIVE) == set(dg.DagsterRunStatus) - ended - unused


def test_syncs_of_dead_processes_are_failed_and_living_ones_are_not(ticks: Ticks):
    new_tenants(ticks.platform, "acme", "birch")
    with ticks.platform.held("birch"):
        ticks.platform.change(
            "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type) "
            "SELECT credential_id, gen_random_uuid(), 'manual', 'full', 'all' FROM tenants WHERE partition_key = 'acme'"
        )
        ticks()
        states = ticks.platform.rows(
            "SELECT partition_key, status FROM servicetitan_sync_logs JOIN tenants USING (credential_id) ORDER BY 1"
        )
    assert states == [("acme", "failed"), ("birch", "running")]
