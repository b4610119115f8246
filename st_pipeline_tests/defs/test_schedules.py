"""What a tick of each schedule asks for, and that a run can do it."""

import uuid
from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import text

from st_pipeline.defs.jobs import full_sync, incremental_poll, nightly_full_sync
from st_pipeline.defs.schedules import build_schedules, poll_request
from st_pipeline.postgres import night_plan, poll_claims, tenant_schedules
from st_pipeline_tests.defs.platform import QUICK, Platform

TICK = datetime(2026, 1, 31, 6, 5, tzinfo=UTC)
FIVE = ("acme", "birch", "cedar", "dune", "elm")


def tick(platform: Platform, name: str) -> list[dg.RunRequest] | str:
    """What the schedule asks for at TICK, or why it asks for nothing."""
    schedule = next(schedule for schedule in build_schedules() if schedule.name == name)
    with dg.build_schedule_context(
        instance=platform.instance, scheduled_execution_time=TICK, repository_def=QUICK.get_repository_def()
    ) as context:
        data = schedule.evaluate_tick(context)
    if data.run_requests:
        return list(data.run_requests)
    assert data.skip_message is not None
    return data.skip_message


@pytest.fixture
def instance(emptied_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """A tick reads an instance that other processes can open."""
    return emptied_instance


@pytest.fixture
def five(platform: Platform) -> Platform:
    """Five tenants that were synced and may be polled."""
    platform.add(*FIVE, customers=0, invoices=0)
    platform.change("UPDATE servicetitan_credentials SET last_sync_at = now(), connection_status = 'connected'")
    return platform


def begun(platform: Platform, worker: int, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> dg.DagsterRun:
    """A worker's run that has got so far."""
    request = poll_request(worker, TICK)
    return platform.instance.create_run_for_job(
        QUICK.resolve_job_def("incremental_poll"),
        run_config=request.run_config,
        status=status,
        tags=request.tags,
    )


def workers(platform: Platform) -> list[str] | str:
    """The workers that a tick launches, or why it launches none."""
    asked = tick(platform, "poll_every_tenant")
    return asked if isinstance(asked, str) else [request.tags["st_pipeline/poll_worker"] for request in asked]


def claimed(platform: Platform) -> list[str]:
    """Whom a worker would poll; nobody is claimed afterwards."""
    with platform.engine.connect() as connection:
        claims = poll_claims.claim(connection, run_id=uuid.UUID(int=1), limit=100, budget_seconds=150)
    return [one.partition_key for one in claims]


def test_a_tick_launches_every_worker(five: Platform, monkeypatch: pytest.MonkeyPatch):
    assert workers(five) == ["1"]
    monkeypatch.setenv("ST_PIPELINE_POLL_WORKERS", "3")
    requests = tick(five, "poll_every_tenant")
    assert [request.run_config["ops"]["poll_tenants"]["config"] for request in requests] == [
        {"worker": 1}, {"worker": 2}, {"worker": 3},
    ]  # fmt: skip
    assert claimed(five) == list(FIVE)


def test_the_run_keys_of_a_tick_are_the_same_when_it_is_evaluated_again(five: Platform):
    """A daemon that dies half-way through a tick evaluates it once more; a run key is launched once."""
    keys = [request.run_key for request in tick(five, "poll_every_tenant")]
    assert keys == ["2026-01-31T06:05:00+00:00 worker 1"]
    assert [request.run_key for request in tick(five, "poll_every_tenant")] == keys


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
)
def test_a_worker_whose_run_waits_or_runs_is_not_launched_again(
    five: Platform, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus
):
    """A run key keeps a worker from being launched twice in one tick, not in two."""
    monkeypatch.setenv("ST_PIPELINE_POLL_WORKERS", "2")
    run = begun(five, 2, status)
    assert workers(five) == ["1"]
    five.instance.report_run_failed(run)
    assert workers(five) == ["1", "2"]


def test_a_tick_with_every_worker_busy_says_so(five: Platform):
    begun(five, 1)
    assert "still polling" in workers(five)


@pytest.mark.parametrize(
    "unfit",
    [
        "UPDATE servicetitan_credentials SET last_sync_at = NULL",
        "UPDATE servicetitan_credentials SET connection_status = 'error'",
        "UPDATE servicetitan_credentials SET enabled = false",
        "UPDATE companies SET enabled = false",
    ],
    ids=["never synced", "refused", "disabled", "company disabled"],
)
def test_only_enabled_and_accepted_tenants_that_were_synced_once_are_polled(five: Platform, unfit: str):
    table = unfit.split()[1]
    column = "slug" if table == "companies" else "(SELECT slug FROM companies WHERE id = company_id)"
    five.change(f"{unfit} WHERE {column} = 'acme'")
    assert workers(five) == ["1"]
    assert claimed(five) == ["birch", "cedar", "dune", "elm"]
    five.change(unfit)
    assert claimed(five) == []
    assert "credentials list" in tick(five, "poll_every_tenant")


def test_a_paused_tenant_is_skipped_by_polls_and_by_nightly_full_syncs(five: Platform):
    schedule(five, "birch", paused_at="now")
    assert workers(five) == ["1"]
    assert claimed(five) == ["acme", "cedar", "dune", "elm"]
    assert nightly(five) == ["acme", "cedar", "dune", "elm"]
    schedule(five, "birch", paused_at=None)
    assert nightly(five) == list(FIVE)


def test_a_disabled_tenant_is_left_out_of_the_nightly_full_sync(five: Platform):
    five.change("UPDATE companies SET enabled = false WHERE slug = 'cedar'")
    assert nightly(five) == ["acme", "birch", "dune", "elm"]


def test_a_tenant_may_be_left_out_of_the_night_alone(five: Platform):
    schedule(five, "acme", nightly_full=False)
    assert nightly(five) == ["birch", "cedar", "dune", "elm"]
    assert workers(five) == ["1"]
    assert claimed(five)[:2] == ["acme", "birch"]


def test_what_is_switched_off_is_skipped_by_polls_and_by_nightly_full_syncs_and_the_tick_says_so(five: Platform):
    five.change("INSERT INTO switches (scope, name, because) VALUES ('company', 'birch', 'moves house')")
    assert workers(five) == ["1"]
    assert claimed(five) == ["acme", "cedar", "dune", "elm"]
    assert nightly(five) == ["acme", "cedar", "dune", "elm"]
    five.change("INSERT INTO switches (scope, name, because) VALUES ('everything', '', 'the emergency stop')")
    assert claimed(five) == []
    assert workers(five).endswith(
        "; everything is switched off: the emergency stop; company birch is switched off: moves house"
    )


def test_nothing_is_launched_before_somebody_is_due(five: Platform):
    assert workers(five) == ["1"]
    five.change("UPDATE tenant_polls SET due_at = now() + interval '1 hour'")
    assert "no tenant is due" in workers(five)


def schedule(platform: Platform, tenant: str, **changes: object) -> None:
    """Give a tenant a schedule of its own."""
    credential_id = platform.value("SELECT credential_id FROM tenants WHERE partition_key = :key", key=tenant)
    with platform.engine.begin() as connection:
        tenant_schedules.save(connection, credential_id, **changes)


def nightly(platform: Platform) -> list[str]:
    """Who is planned for the night, and can be claimed at once."""
    platform.change("DELETE FROM night_plan")
    tick(platform, "full_sync_every_night")
    found: list[str] = []
    with platform.engine.begin() as connection:
        # A claim of a run that is not alive can be claimed again, so each is taken out of the plan.
        while (claim := night_plan.claim(connection, uuid.UUID(int=1), 900)) is not None:
            found.append(claim.partition_key)
            connection.execute(text("DELETE FROM night_plan WHERE credential_id = :id"), {"id": claim.credential_id})
    return found


def test_a_tick_without_any_tenant_says_what_to_do(platform: Platform):
    assert "credentials list" in tick(platform, "poll_every_tenant")
    assert "st-pipeline plan" in tick(platform, "full_sync_every_night")


def night_workers(platform: Platform, name: str = "rest_of_the_night") -> list[str]:
    """The workers that a tick starts."""
    requests = tick(platform, name)
    return [] if isinstance(requests, str) else [request.tags["st_pipeline/night_worker"] for request in requests]


def test_the_night_is_planned_by_one_schedule_and_continued_by_the_other(
    five: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ST_PIPELINE_NIGHT_WORKERS", "2")
    assert "st-pipeline plan" in tick(five, "rest_of_the_night")
    assert night_workers(five, "full_sync_every_night") == ["1", "2"]
    assert night_workers(five) == ["1", "2"]
    five.change("UPDATE night_plan SET ended_at = now() WHERE place > 1")
    assert night_workers(five) == ["1"]
    five.change("UPDATE night_plan SET ended_at = now()")
    assert night_workers(five) == []


def test_while_a_worker_works_its_next_run_may_wait_and_no_third(five: Platform):
    """So no time is lost between two runs of 15 minutes."""
    (request,) = tick(five, "full_sync_every_night")

    def run(status: dg.DagsterRunStatus) -> None:
        job = QUICK.resolve_job_def("nightly_full_sync")
        five.instance.create_run_for_job(job, run_config=request.run_config, status=status, tags=request.tags)

    run(dg.DagsterRunStatus.STARTED)
    assert night_workers(five) == ["1"]
    run(dg.DagsterRunStatus.NOT_STARTED)
    assert "waits for the one before" in tick(five, "rest_of_the_night")


def test_polls_begin_before_nights_and_both_before_what_people_ask_for(five: Platform):
    (poll,), (night,) = tick(five, "poll_every_tenant"), tick(five, "full_sync_every_night")
    assert int(poll.tags["dagster/priority"]) > int(night.tags["dagster/priority"]) > 0


def test_jobs_carry_the_tags_that_the_queue_s_limits_go_by():
    assert incremental_poll.tags == {"st_pipeline/mode": "incremental", "dagster/max_runtime": "900"}
    assert full_sync.tags == {"st_pipeline/mode": "full", "dagster/max_runtime": "21600"}
    assert nightly_full_sync.tags == {"st_pipeline/mode": "night", "dagster/max_runtime": "900"}
