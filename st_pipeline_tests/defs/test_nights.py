"""A run of the night in Dagster: what it reports of its tenants."""

import pytest

from st_pipeline_tests.defs.platform import Platform, of_entities, pairs


@pytest.fixture
def two(platform: Platform) -> Platform:
    """Two tenants that were loaded."""
    platform.add("acme", "birch", customers=6, invoices=8)
    assert platform.run("full_sync", "acme", "birch", mode="full").success
    platform.change("DELETE FROM sync_log_entities")
    platform.change("DELETE FROM servicetitan_sync_logs")
    return platform


def test_a_run_reports_every_tenant_and_entity_changed_or_not(two: Platform):
    two.simulated["birch"].advance(changed={"invoices": 1})
    run = two.night()
    assert run.success
    assert of_entities(run) == {pair for pair in pairs("acme", "birch") if not pair[1].endswith("_stream")}
    assert two.partitions("invoices") == ({"acme", "birch"}, set())
    logged = two.rows("SELECT DISTINCT sync_type, mode, data_type, status FROM servicetitan_sync_logs")
    assert logged == [("scheduled", "full", "all", "completed")]
    tags = two.tags(run)
    assert (tags["sync_type"], tags["mode"]) == ("scheduled", "full")


def test_one_broken_tenant_fails_the_run_and_costs_the_other_nothing(two: Platform):
    two.simulated["acme"].fault("status", status=404, entity="invoices")
    run = two.night()
    assert not run.success
    assert {entity for tenant, entity in of_entities(run) if tenant == "birch"} >= {"invoices", "customers"}
    assert ("acme", "invoices") not in of_entities(run)
    assert two.rows("SELECT failed FROM night_plan WHERE failed <> '{}'") == [(["invoices", "invoices_stream"],)]
