"""Runs whose process is gone are failed, and no others: by their database session, not by a process id."""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from st_pipeline.defs.abandoned_runs import PAUSED_SECONDS, SILENT_SECONDS, fail_abandoned
from st_pipeline.defs.active_runs import active_workers
from st_pipeline.defs.resources import Postgres
from st_pipeline.defs.schedules import poll_request
from st_pipeline.defs.sensors import INTERVAL_SECONDS
from st_pipeline.runs.tags import MODE_TAG
from st_pipeline_tests.defs.platform import QUICK, Platform

MOMENT = 1.0


@pytest.fixture
def instance(emptied_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """One that keeps events."""
    return emptied_instance


def started(
    platform: Platform,
    job: str = "full_sync",
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.DagsterRun:
    """A run that has begun, and whose last word that was."""
    of = {MODE_TAG: "full"} if tags is None else tags
    run = platform.instance.create_run_for_job(QUICK.resolve_job_def(job), run_config=run_config, tags=of)
    platform.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name), run.run_id
    )
    return run


def status(platform: Platform, run: dg.DagsterRun) -> str:
    """What Dagster shows."""
    found = platform.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def test_a_worker_that_is_killed_frees_its_number_within_a_minute(platform: Platform):
    """The sensor looks twice a minute; the next tick launches the worker again."""
    request = poll_request(1, datetime(2026, 1, 31, tzinfo=UTC))
    run = started(platform, "incremental_poll", request.run_config, request.tags)
    between_two_looks = time.time() + 60 - INTERVAL_SECONDS
    with Postgres().engine(run.run_id):
        assert fail_abandoned(platform.instance, platform.engine, between_two_looks) == []
    assert fail_abandoned(platform.instance, platform.engine, time.time()) == []
    assert fail_abandoned(platform.instance, platform.engine, between_two_looks) == [run.run_id]
    assert active_workers(platform.instance) == set()


def test_a_run_whose_session_is_gone_is_failed_and_its_tenants_are_free(platform: Platform):
    run = started(platform)
    long_after = time.time() + SILENT_SECONDS + MOMENT
    with Postgres().engine(run.run_id):
        assert fail_abandoned(platform.instance, platform.engine, long_after) == []
    assert fail_abandoned(platform.instance, platform.engine, time.time()) == []  # it may be about to say how it ended
    assert fail_abandoned(platform.instance, platform.engine, long_after) == [run.run_id]
    assert status(platform, run) == "FAILURE"
    assert fail_abandoned(platform.instance, platform.engine, long_after) == []


def test_a_run_that_pauses_before_its_next_try_has_no_session_and_lives(platform: Platform):
    run = started(platform)
    pause = dg.DagsterEvent(dg.DagsterEventType.STEP_UP_FOR_RETRY.value, job_name=run.job_name, step_key="sync_tenants")
    platform.instance.report_dagster_event(pause, run.run_id)
    assert fail_abandoned(platform.instance, platform.engine, time.time() + SILENT_SECONDS + MOMENT) == []
    long_after = time.time() + PAUSED_SECONDS + MOMENT
    assert fail_abandoned(platform.instance, platform.engine, long_after) == [run.run_id]


def test_another_code_location_s_runs_are_not_ours_to_fail(platform: Platform):
    @dg.job
    def somebody_s() -> None:
        """Nothing."""

    run = platform.instance.create_run_for_job(somebody_s)
    platform.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name), run.run_id
    )
    assert fail_abandoned(platform.instance, platform.engine, time.time() + 10 * SILENT_SECONDS) == []
    assert status(platform, run) == "STARTED"


def test_a_run_keeps_its_sign_of_life_when_postgres_has_cut_its_sessions(platform: Platform):
    run_id = uuid.uuid4()
    with Postgres().engine(str(run_id)) as engine:
        platform.change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                        "AND datname = current_database()")  # fmt: skip
        with engine.connect():
            assert platform.value("SELECT session_lives(:id)", id=run_id)


def test_polls_and_asset_runs_show_that_they_live_while_they_sync(platform: Platform):
    platform.add("acme", customers=0, invoices=0)
    platform.change("CREATE TABLE seen (lives boolean)")
    platform.change("CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    "INSERT INTO seen VALUES (session_lives(NEW.sync_id)); RETURN NULL; END $$")  # fmt: skip
    platform.change("CREATE TRIGGER look AFTER INSERT ON servicetitan_sync_logs FOR EACH ROW EXECUTE FUNCTION look()")
    assert platform.run("incremental_sync", "acme", only="tag_types").success
    platform.change("UPDATE sync_cursors SET last_failed_at = now()")  # so that the poll leaves a row in the log
    assert platform.poll("acme").success
    assert platform.rows("SELECT lives FROM seen") == [(True,), (True,)]
