"""The scheduled reconciliation in Dagster: when a tick launches it, and what a run tells."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from st_pipeline.defs.reconciliation import reconcile_every_tenant, reconciliation
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline_tests.defs.platform import Platform

OURS = dg.Definitions(jobs=[reconciliation], resources={"postgres": Postgres(), "servicetitan": ServiceTitan()})
TICK = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)  # 06:05 in Chicago


@pytest.fixture
def instance(emptied_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """A tick reads an instance that other processes can open."""
    return emptied_instance


def tick(platform: Platform, at: datetime = TICK) -> str | list[str | None]:
    """The run keys that a tick asks for, or why it asks for nothing."""
    with dg.build_schedule_context(instance=platform.instance, scheduled_execution_time=at) as context:
        data = reconcile_every_tenant.evaluate_tick(context)
    return [request.run_key for request in data.run_requests or ()] or str(data.skip_message)


def test_a_tick_launches_one_run_while_somebody_is_due(platform: Platform):
    platform.add("acme", "birch", customers=0, invoices=0)
    assert "every tenant was compared" in tick(platform)
    platform.change("UPDATE servicetitan_credentials SET last_sync_at = now(), connection_status = 'connected'")
    assert "not at this time" in tick(platform, TICK.replace(hour=3))
    assert tick(platform) == [TICK.isoformat()]
    platform.instance.create_run_for_job(OURS.resolve_job_def("reconciliation"), status=dg.DagsterRunStatus.STARTED)
    assert "at work" in tick(platform)


def test_a_run_tells_verdicts_and_no_record(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    platform.add("acme", customers=6, invoices=8)
    assert platform.run("full_sync", "acme", mode="full").success
    lost = min(platform.simulated["acme"].ids("invoices"))
    platform.change("DELETE FROM st_invoices WHERE st_id = :id", id=lost)
    monkeypatch.setenv("ST_PIPELINE_RECONCILIATION_CRON", "* * * * *")
    run = OURS.resolve_job_def("reconciliation").execute_in_process(instance=platform.instance, raise_on_error=False)
    assert run.success
    outputs = [event for event in run.all_events if event.event_type_value == "STEP_OUTPUT"]
    told = outputs[0].event_specific_data
    assert told.metadata["differs"].value == 1
    assert told.metadata["tenants"].data == {"acme": "differs"}
    assert str(lost) not in str(told.metadata)
