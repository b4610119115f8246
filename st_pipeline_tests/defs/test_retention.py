"""The daily job: what it deletes, and what its run shows."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from st_pipeline.defs.resources import Postgres
from st_pipeline.defs.retention import build_retention_schedule, retention, shown
from st_pipeline.operations.retention import LOCK, Report
from st_pipeline.settings import Settings
from st_pipeline_tests.postgres.test_sync_figures import put_sync
from st_pipeline_tests.tenants import planted


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.Definitions(jobs=[retention], resources={"postgres": Postgres()}).resolve_job_def(
        "retention"
    ).execute_in_process(instance=instance, raise_on_error=False)  # fmt: skip


@pytest.mark.usefixtures("environment")
def test_the_run_shows_what_it_deleted(engine: Engine, settings: Settings, instance: dg.DagsterInstance):
    tenant = planted.put_tenant(engine, settings)
    with engine.begin() as connection:
        for days in (40, 35, 1):
            put_sync(connection, tenant.credential_id, datetime.now(UTC) - timedelta(days=days))
    made = run(instance)
    assert made.success
    (output,) = [event for event in made.all_events if event.is_successful_output]
    told = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (told["sync_log"], told["left"]) == (2, "nothing")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM servicetitan_sync_logs")).scalar_one() == 1


@pytest.mark.usefixtures("environment")
def test_a_run_beside_another_fails_and_says_why(engine: Engine, instance: dg.DagsterInstance):
    with engine.connect() as another:
        another.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        made = run(instance)
        another.invalidate()
    (failed,) = [event.step_failure_data for event in made.all_events if event.is_step_failure]
    assert "another process does so now" in str(failed.user_failure_data or failed.error)


def test_what_is_left_is_told():
    report = Report(is_complete=False, skipped={"sync_log"})
    report.deleted["dagster_runs"] = 4
    assert shown(report) == {
        "dagster_runs": 4,
        "left": "the run ran out of time; the next day's run continues; others had sync_log locked",
    }
    assert shown(Report())["left"] == "nothing"


def test_it_is_scheduled_when_the_settings_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_RETENTION_CRON", "5 4 * * *")
    assert build_retention_schedule().cron_schedule == "5 4 * * *"
