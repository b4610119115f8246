"""Asset checks as the UI shows them: each tenant's own, after each way in which a tenant is synced.

Storage is Postgres, as in a deployment, and the statuses are asked over GraphQL.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.registry import PAIRS
from st_pipeline.checks.spec import ALL_TENANTS, TENANT, CheckedTenant
from st_pipeline.defs.changed_checks import evaluate_tick
from st_pipeline.defs.checks import check_specs
from st_pipeline.defs.metadata import asset_key
from st_pipeline.settings import Settings
from st_pipeline_tests.defs.check_statuses import CheckStatuses, statuses_in
from st_pipeline_tests.defs.platform import QUICK, Platform

INVOICES, OF_TENANT = asset_key("invoices"), asset_key(TENANT)
# What invoices name is gone from our tables, below the API's back.
LOSE_CUSTOMERS = """
    DELETE FROM st_customers WHERE credential_id = (SELECT credential_id FROM tenants WHERE partition_key = :tenant)
"""


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:  # noqa: ARG001 - DAGSTER_HOME
    """The one that DAGSTER_HOME names, without runs and partitions."""
    with dg.DagsterInstance.get() as instance:
        instance.wipe()
        for key in instance.get_dynamic_partitions("tenants"):
            instance.delete_dynamic_partition("tenants", key)
        yield instance


@pytest.fixture
def statuses(synced: Platform) -> Iterator[CheckStatuses]:
    """Those of our definitions, where two tenants are synced."""
    with statuses_in(synced.instance, "st_pipeline.definitions") as statuses:
        yield statuses


def change_an_invoice(platform: Platform, *tenants: str) -> None:
    """So that a sync that reads only changes has something to write."""
    for tenant in tenants:
        source = platform.simulated[tenant]
        source.advance(changed={"invoices": 1})


def events(run: dg.ExecuteInProcessResult, platform: Platform) -> list[str]:
    """The run's events about checks."""
    types = [entry.dagster_event_type for entry in platform.instance.all_logs(run.run_id)]
    return [one.value for one in types if one is not None and one.value.startswith("ASSET_CHECK")]


def plant(platform: Platform, tenant: str) -> None:
    """Lose a tenant's customers, and let what rests after its last evaluation be evaluated again."""
    platform.change(LOSE_CUSTOMERS, tenant=tenant)
    platform.change("UPDATE check_verdicts SET checked_at = checked_at - interval '1 day'")
    change_an_invoice(platform, "acme", "birch")


def test_exactly_the_tenant_with_a_problem_fails_in_a_poll_a_single_run_and_a_range_and_recovers(
    synced: Platform, statuses: CheckStatuses
):
    healthy = synced.run("full_sync", "acme", "birch")
    assert "ASSET_CHECK_EVALUATION_PLANNED" not in events(healthy, synced)
    for asset in ("invoices", "jobs", "invoices_stream", TENANT):
        of = statuses.of(asset_key(asset))
        assert of == {check.name: dict.fromkeys(("acme", "birch"), "succeeded") for on, check in PAIRS if on == asset}
        assert statuses.unpartitioned(asset_key(asset)) == {ALL_TENANTS: "SUCCEEDED"}

    plant(synced, "birch")
    assert synced.poll("acme", "birch").success  # a check that fails fails no run
    assert statuses.failed(INVOICES) == {("references", "birch")}
    assert statuses.unpartitioned(INVOICES) == {ALL_TENANTS: "FAILED"}
    latest = statuses.latest(INVOICES, ALL_TENANTS)
    assert latest == {
        "description": "1 of 2 tenants fail: birch: references.", "severity": "WARN", "partition": None
    }  # fmt: skip

    change_an_invoice(synced, "birch")
    assert synced.run("incremental_sync", "birch", only="invoices").success
    assert statuses.failed(INVOICES) == {("references", "birch")}  # its verdict is repeated
    assert synced.run("full_sync", "birch", only=("customers", "invoices")).success  # brings the customers back
    assert statuses.failed(INVOICES) == set()

    plant(synced, "acme")
    assert synced.run("incremental_sync", "acme", "birch", only="invoices").success
    assert statuses.failed(INVOICES) == {("references", "acme")}
    assert synced.night().success
    assert statuses.failed(INVOICES) == set()
    assert statuses.unpartitioned(INVOICES) == {ALL_TENANTS: "SUCCEEDED"}


def selected_checks(platform: Platform, tenant: str | None, *checks: tuple[str, str]) -> dg.ExecuteInProcessResult:
    """What the UI starts where a person executes checks alone."""
    keys = {dg.AssetCheckKey(asset_key(asset), name) for asset, name in checks}
    job = QUICK.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection=keys)
    return job.execute_in_process(instance=platform.instance, partition_key=tenant, raise_on_error=False)


def test_what_is_planned_in_the_ui_is_evaluated_also_for_a_tenant_that_cannot_be_synced(
    synced: Platform, statuses: CheckStatuses
):
    with synced.held("birch"):
        run = synced.run("__ASSET_JOB", "acme", "birch", only=("invoices", TENANT))
    assert not run.success
    assert "ASSET_CHECK_EVALUATION_PLANNED" in events(run, synced)
    for asset in ("invoices", TENANT):
        checks = [check.name for on, check in PAIRS if on == asset]
        assert statuses.of(asset_key(asset)) == {
            name: {"acme": "succeeded", "birch": "succeeded"} for name in checks
        }  # fmt: skip
        assert statuses.unpartitioned(asset_key(asset)) == {ALL_TENANTS: "SUCCEEDED"}
    assert synced.partitions(TENANT) == ({"acme"}, {"birch"})


def test_a_person_may_execute_one_check_of_one_tenant_or_all_of_a_tenant(synced: Platform, statuses: CheckStatuses):
    logs = synced.value("SELECT count(*) FROM servicetitan_sync_logs")
    synced.change(LOSE_CUSTOMERS, tenant="birch")
    run = selected_checks(synced, "birch", ("invoices", "references"))
    assert run.success
    assert statuses.of(INVOICES)["references"] == {"birch": "failed"}
    assert synced.run("__ASSET_JOB", "acme", only=TENANT).success
    assert {status for of in statuses.of(OF_TENANT).values() for status in of.values()} == {"succeeded"}
    assert statuses.of(INVOICES)["references"] == {"acme": "succeeded", "birch": "failed"}
    assert synced.value("SELECT count(*) FROM servicetitan_sync_logs") == logs  # nothing was synced

    # "Execute all" of an asset's checks: the UI asks for no tenant, so all of them are meant.
    assert selected_checks(synced, None, ("payments", "references"), ("payments", ALL_TENANTS)).success
    assert statuses.of(asset_key("payments"))["references"] == {"acme": "succeeded", "birch": "succeeded"}
    assert statuses.unpartitioned(asset_key("payments")) == {ALL_TENANTS: "SUCCEEDED"}
    assert selected_checks(synced, None, ("invoices", ALL_TENANTS)).success
    assert statuses.unpartitioned(INVOICES) == {ALL_TENANTS: "FAILED"}


def show_changes(platform: Platform) -> dg.ExecuteInProcessResult:
    """The run that a tick asks for."""
    return QUICK.resolve_job_def("changed_checks").execute_in_process(
        instance=platform.instance, raise_on_error=False
    )  # fmt: skip


def test_what_time_alone_makes_fail_is_shown_without_a_sync_and_once(synced: Platform, statuses: CheckStatuses):
    settings, now = synced.settings_of_runs(), datetime.now(UTC)
    assert evaluate_tick(synced.engine, settings, now) == 2  # their first verdicts
    assert show_changes(synced).success
    assert statuses.of(OF_TENANT)["freshness"] == {"acme": "succeeded", "birch": "succeeded"}
    assert evaluate_tick(synced.engine, settings, now) == 0

    synced.change(
        "UPDATE sync_cursors SET complete_through = now() - interval '3 years' WHERE entity = 'jobs' AND credential_id "
        "= (SELECT credential_id FROM tenants WHERE partition_key = 'birch')"
    )
    assert evaluate_tick(synced.engine, settings, now) == 1
    run = show_changes(synced)
    assert events(run, synced) == ["ASSET_CHECK_EVALUATION"] * 2  # and that of all tenants
    assert statuses.of(OF_TENANT)["freshness"] == {"acme": "succeeded", "birch": "failed"}
    assert statuses.unpartitioned(OF_TENANT) == {ALL_TENANTS: "FAILED"}
    assert events(show_changes(synced), synced) == []


def test_a_verdict_whose_run_died_before_it_was_shown_is_shown_by_the_next_tick(synced: Platform):
    settings = synced.settings_of_runs()
    tenants = synced.rows("SELECT credential_id, partition_key FROM tenants ORDER BY 2")
    evaluate(synced.engine, settings, [CheckedTenant(*one) for one in tenants], now=datetime.now(UTC))
    assert evaluate_tick(synced.engine, settings, datetime.now(UTC)) == 2
    assert len(events(show_changes(synced), synced)) == 2 * len(PAIRS) + len({asset for asset, _ in PAIRS})
    assert evaluate_tick(synced.engine, settings, datetime.now(UTC)) == 0


def test_checks_that_cannot_be_stored_harm_no_sync(synced: Platform):
    synced.change("ALTER TABLE check_verdicts RENAME TO lost")
    change_an_invoice(synced, "acme")
    assert synced.poll("acme", "birch").success
    assert synced.run("full_sync", "birch").success
    assert synced.partitions(TENANT) == ({"birch"}, set())


def test_no_file_of_a_company_s_own_checks_keeps_the_definitions_from_loading(tmp_path: Path):
    """Dagster refuses to load two checks of one name, and with them everything else."""
    for name in (ALL_TENANTS, "money", "of mine", "of-mine", "of_mine"):
        (tmp_path / f"{name}.sql").write_text("SELECT")
    specs = check_specs(Settings(own_checks_folder=tmp_path))
    assert len({spec.key for spec in specs}) == len(specs) > len(check_specs(Settings()))
    assert all(spec.get_python_identifier().isidentifier() for spec in specs)
