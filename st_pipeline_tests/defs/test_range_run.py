"""Many tenants in one run, some of them broken: what the UI shows as failed, and what a retry does again.

"Shown as failed" is read from the status cache that the UI's partition bars are drawn from.
"""

import dagster as dg
import pytest
from dagster._core.execution.api import execute_run

from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import register_tenants
from st_pipeline.entities import ENTITIES
from st_pipeline_tests.defs.platform import (
    ALL,
    WRONG_SECRET,
    Platform,
    failures,
    incremental_sync_job,
    materialized,
    of_entities,
    pairs,
)

TWO = ("tag_types", "customers")
SCOPES = {scope for spec in ENTITIES.values() for scope in spec.scopes}


def test_of_four_tenants_exactly_the_broken_one_is_shown_as_failed(platform: Platform):
    platform.add("acme", "birch", "dune")
    platform.add("cedar", secret=WRONG_SECRET)
    run = platform.run("incremental_sync", "acme", "cedar")
    assert not run.success
    assert platform.instance.get_dynamic_partitions("tenants") == ["acme", "birch", "dune", "cedar"]
    assert platform.failed() == pairs("cedar")
    events = materialized(run)
    assert events.keys() == pairs("acme", "birch", "dune")
    for tenant, entity in of_entities(run):
        # Only feeds show deleted records. The simulator keeps an entity's lists apart.
        counted = ("live", "deleted") if ENTITIES[entity].feed_path else ("live",)
        truth = platform.simulated[tenant].truth().items()
        lists = [figures for name, figures in truth if name.partition(".")[0] == entity]
        assert events[tenant, entity]["created"] == sum(figures[name] for figures in lists for name in counted)
    logs = platform.rows("SELECT DISTINCT dagster_run_id, sync_id::text FROM servicetitan_sync_logs")
    assert logs == [(run.run_id, run.run_id)]
    tags = platform.tags(run)
    assert (tags["company"], tags["environment"]) == ("several", "production")
    assert platform.figures(run)["failed_entities"] == len(ALL)
    assert failures(run).keys() == {f"cedar / {entity}" for entity in ALL}


def test_the_range_follows_the_order_in_which_tenants_were_registered(platform: Platform):
    platform.add("cedar")
    platform.add("acme")
    platform.add("birch")
    run = platform.run("incremental_sync", "cedar", "acme", only="membership_types")
    assert materialized(run).keys() == {("cedar", "membership_types"), ("acme", "membership_types")}


def test_a_failing_entity_fails_only_itself_for_its_tenant(platform: Platform):
    """ServiceTitan: scopes are granted one by one. This one covers the invoices' custom fields, too."""
    platform.add("acme", "birch")
    platform.simulated["birch"].change(scopes=sorted(SCOPES - {"tn.acc.invoices:r"}))
    run = platform.run("incremental_sync", "acme", "birch")
    assert not run.success
    assert platform.failed() == {("birch", name) for name in ("invoices", "custom_fields", "invoices_stream")}
    assert "tn.acc.invoices:r" in failures(run)["birch / invoices"]
    status = platform.value(
        "SELECT connection_status FROM tenants WHERE partition_key = 'birch'",
    )
    assert status == "connected"


def test_what_depends_on_a_failed_entity_is_not_tried_and_shown_as_failed(platform: Platform):
    platform.add("acme")
    platform.simulated["acme"].change(scopes=sorted(SCOPES - {"tn.crm.locations:r"}))
    run = platform.run("incremental_sync", "acme")
    refused = {"locations", "location_contacts", "custom_fields"}
    waiting = {"jobs", "appointments", "estimates", "invoices", "equipment", "invoices_stream"}
    assert platform.failed() == {("acme", name) for name in refused | waiting}
    assert "not tried, as locations failed" in failures(run)["acme / invoices"]
    assert platform.simulated["acme"].requests()["by_operation"].keys().isdisjoint({"invoices.list", "invoices.export"})


def test_a_tenant_that_another_run_holds_is_shown_as_failed_and_the_others_go_on(platform: Platform):
    platform.add("acme", "birch")
    with platform.held("acme"):
        run = platform.run("incremental_sync", "acme", "birch", only="membership_types")
    assert platform.failed() == {("acme", "membership_types")}
    assert "busy with another run" in failures(run)["acme"]
    assert materialized(run).keys() == {("birch", "membership_types")}


def test_an_in_run_retry_does_only_what_is_missing(platform: Platform):
    """The asset's own policy, which runs the whole step again. Two tries of a request, so two faults fail one sync."""
    platform.add("acme", "birch")
    platform.simulated["birch"].fault("status", status=503, entity="customers", times=2)
    run = platform.run("incremental_sync", "acme", "birch", only=TWO)
    assert run.success
    assert [event for event in run.all_events if event.is_step_up_for_retry]
    assert materialized(run).keys() == pairs("acme", "birch", entities=TWO)
    assert platform.failed() == set()
    entities = platform.rows(
        "SELECT t.partition_key, l.id, count(*) FROM servicetitan_sync_logs l JOIN tenants t USING (credential_id) "
        "JOIN sync_log_entities e ON e.sync_log_id = l.id GROUP BY 1, 2 ORDER BY 2"
    )
    assert [(tenant, number) for tenant, _, number in entities] == [
        ("acme", 2),
        ("birch", 2),
        ("birch", 1),
    ]


def test_the_run_s_figures_count_what_was_done_before_a_retry(platform: Platform):
    platform.add("acme")
    platform.simulated["acme"].fault("status", status=503, entity="invoices", times=2)
    run = platform.run("incremental_sync", "acme")
    created = platform.value("SELECT sum(records_created) FROM servicetitan_sync_logs")
    assert platform.figures(run)["created"] == created
    assert created == sum(materialized(run)[pair]["created"] for pair in of_entities(run))
    assert platform.figures(run)["failed_entities"] == 0


def test_an_error_that_no_retry_helps_is_not_tried_again(platform: Platform):
    platform.add("acme", secret=WRONG_SECRET)
    run = platform.run("incremental_sync", "acme")
    assert not run.success
    assert not [event for event in run.all_events if event.is_step_up_for_retry]


@pytest.fixture
def broken_run(platform: Platform) -> dg.ExecuteInProcessResult:
    """Three tenants were to be synced, the middle one has a wrong secret."""
    platform.add("acme")
    platform.add("birch", secret=WRONG_SECRET)
    platform.add("cedar")
    return platform.run("incremental_sync", "acme", "cedar")


def executed_again(platform: Platform, run_id: str, *, from_failure: bool) -> dg.JobExecutionResult:
    """A re-execution with the parent's tags; from failure, with the tag that the UI and Dagster's run retries set."""
    parent = platform.instance.get_run_by_id(run_id)
    assert parent is not None
    options = dg.ReexecutionOptions.from_failure(run_id, platform.instance)
    return dg.execute_job(
        dg.reconstructable(incremental_sync_job),
        instance=platform.instance,
        reexecution_options=options if from_failure else dg.ReexecutionOptions(run_id),
        tags={**parent.tags, **({"dagster/is_resume_retry": "true"} if from_failure else {})},
    )


def test_a_run_resumed_from_failure_syncs_only_what_the_first_did_not(
    platform: Platform, broken_run: dg.ExecuteInProcessResult
):
    platform.store_secret("birch", platform.simulated["birch"].client_secret)
    again = executed_again(platform, broken_run.run_id, from_failure=True)
    assert again.success
    assert platform.failed() == set()
    synced = platform.rows(
        "SELECT t.partition_key FROM servicetitan_sync_logs JOIN tenants t USING (credential_id) "
        "WHERE dagster_run_id = :run",
        run=again.run_id,
    )
    assert synced == [("birch",)]
    carried = {pair for pair, metadata in materialized(again).items() if "carried_over_from" in metadata}
    assert carried == pairs("acme", "cedar")
    assert materialized(again)["acme", "customers"] == {"carried_over_from": broken_run.run_id}


def test_a_resumed_run_that_fails_again_leaves_the_done_ones_green(
    platform: Platform, broken_run: dg.ExecuteInProcessResult
):
    """It was planned for all three, and what was planned and not materialized in a failed run is shown as failed."""
    again = executed_again(platform, broken_run.run_id, from_failure=True)
    assert not again.success
    assert materialized(again).keys() == pairs("acme", "cedar")
    assert platform.failed() == pairs("birch")


def test_a_plain_re_execution_does_everything_again(platform: Platform, broken_run: dg.ExecuteInProcessResult):
    platform.store_secret("birch", platform.simulated["birch"].client_secret)
    again = executed_again(platform, broken_run.run_id, from_failure=False)
    assert again.success
    assert materialized(again).keys() == pairs("acme", "birch", "cedar")
    assert not [pair for pair, metadata in materialized(again).items() if "carried_over_from" in metadata]
    assert (
        platform.value("SELECT count(*) FROM servicetitan_sync_logs WHERE dagster_run_id = :run", run=again.run_id) == 3
    )


def queued(platform: Platform, first: str, last: str) -> dg.DagsterRun:
    """A run over a range that waits for its turn, as a schedule, a backfill or the launchpad leaves it."""
    ends = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    chosen = frozenset({asset_key("tag_types")})
    job = incremental_sync_job().get_subset(asset_selection=chosen)
    return platform.instance.create_run_for_job(job, tags=ends, asset_selection=chosen)


def taken_from_the_queue(platform: Platform, run: dg.DagsterRun) -> dg.JobExecutionResult:
    """Its turn has come."""
    return execute_run(dg.reconstructable(incremental_sync_job), run, platform.instance)


def switch(platform: Platform, tenant: str, *, enabled: bool) -> None:
    """Disable or enable a tenant, and let the partitions follow."""
    platform.change("UPDATE companies SET enabled = :enabled WHERE slug = :slug", enabled=enabled, slug=tenant)
    register_tenants(platform.instance, platform.engine)


@pytest.fixture
def four(platform: Platform) -> Platform:
    """Four tenants with next to no records."""
    platform.add("acme", "birch", "cedar", "dune", customers=1, invoices=0)
    return platform


@pytest.mark.parametrize("disabled", ["acme", "birch", "cedar"], ids=["the first", "one between", "the last"])
def test_a_tenant_disabled_while_its_run_is_queued_is_skipped_and_the_others_are_synced(four: Platform, disabled: str):
    run = queued(four, "acme", "cedar")
    switch(four, disabled, enabled=False)
    done = taken_from_the_queue(four, run)
    assert done.success
    assert materialized(done).keys() == pairs(*({"acme", "birch", "cedar"} - {disabled}), entities=("tag_types",))
    assert four.tags(done)["skipped"] == f"tenant {disabled} is disabled"


@pytest.mark.parametrize("moved", ["acme", "cedar"], ids=["the first", "the last"])
def test_a_range_means_the_tenants_it_meant_when_it_was_asked_for(four: Platform, moved: str):
    """Enabled again, a tenant stands at the end of the partitions: the range would be empty, or reach over others."""
    run = queued(four, "acme", "cedar")
    switch(four, moved, enabled=False)
    switch(four, moved, enabled=True)
    assert four.instance.get_dynamic_partitions("tenants")[-1] == moved
    done = taken_from_the_queue(four, run)
    assert done.success
    assert materialized(done).keys() == pairs("acme", "birch", "cedar", entities=("tag_types",))


def test_a_run_whose_tenants_are_all_disabled_or_removed_fails(four: Platform):
    run = queued(four, "acme", "birch")
    switch(four, "acme", enabled=False)
    four.change("DELETE FROM servicetitan_credentials WHERE id = (SELECT credential_id FROM tenants "
                "WHERE partition_key = 'birch')")  # fmt: skip
    register_tenants(four.instance, four.engine)
    done = taken_from_the_queue(four, run)
    assert not done.success
    assert four.tags(done)["message"].startswith(
        "nothing to sync: tenant acme is disabled; tenant birch has been removed"
    )


def test_a_re_execution_means_the_tenants_of_the_first_run(four: Platform):
    run = queued(four, "acme", "cedar")
    assert taken_from_the_queue(four, run).success
    switch(four, "cedar", enabled=False)
    switch(four, "cedar", enabled=True)
    again = dg.execute_job(
        dg.reconstructable(incremental_sync_job),
        instance=four.instance,
        reexecution_options=dg.ReexecutionOptions(run.run_id),
        tags=run.tags,
        asset_selection=[asset_key("tag_types")],
    )
    assert again.success
    assert materialized(again).keys() == pairs("acme", "birch", "cedar", entities=("tag_types",))
