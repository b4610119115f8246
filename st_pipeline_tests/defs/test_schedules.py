"""What a tick of each schedule asks for, and that a run can do it."""

import uuid
from datetime import UTC, datetime

import dagster as dg
import pytest

from st_pipeline.defs.jobs import full_sync, incremental_poll
from st_pipeline.defs.schedules import build_schedules, poll_request
from st_pipeline.postgres import poll_claims, tenant_schedules
from st_pipeline_tests.defs.platform import QUICK, Platform, pairs

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
def five(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Five tenants that were synced and may be polled, two to a run."""
    monkeypatch.setenv("ST_PIPELINE_TENANTS_PER_RUN", "2")
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
    """A run's range may not reach over it."""
    schedule(five, "birch", paused_at="now")
    assert workers(five) == ["1"]
    assert claimed(five) == ["acme", "cedar", "dune", "elm"]
    assert nightly(five) == [("acme", "acme"), ("cedar", "dune"), ("elm", "elm")]
    schedule(five, "birch", paused_at=None)
    assert nightly(five) == [("acme", "birch"), ("cedar", "dune"), ("elm", "elm")]


def test_a_disabled_tenant_whose_partition_is_still_there_is_left_out_of_the_nightly_full_sync(five: Platform):
    """During a backfill no partition is removed."""
    five.change("UPDATE companies SET enabled = false WHERE slug = 'cedar'")
    assert nightly(five) == [("acme", "birch"), ("dune", "elm")]


def test_a_tenant_may_be_left_out_of_the_night_alone(five: Platform):
    schedule(five, "acme", nightly_full=False)
    assert nightly(five) == [("birch", "cedar"), ("dune", "elm")]
    assert workers(five) == ["1"]
    assert claimed(five)[:2] == ["acme", "birch"]


def test_what_is_switched_off_is_skipped_by_polls_and_by_nightly_full_syncs_and_the_tick_says_so(five: Platform):
    five.change("INSERT INTO switches (scope, name, because) VALUES ('company', 'birch', 'moves house')")
    assert workers(five) == ["1"]
    assert claimed(five) == ["acme", "cedar", "dune", "elm"]
    assert nightly(five) == [("acme", "acme"), ("cedar", "dune"), ("elm", "elm")]
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


def nightly(platform: Platform) -> list[tuple[str, str]]:
    """The ranges of the nightly full sync."""
    return [
        (request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"])
        for request in tick(platform, "full_sync_every_night")
    ]


def test_a_tick_without_any_tenant_says_what_to_do(platform: Platform):
    assert "credentials list" in tick(platform, "poll_every_tenant")
    assert "credentials add" in tick(platform, "full_sync_every_night")


def test_the_nightly_sync_takes_ranges_of_neighbouring_partitions(five: Platform):
    """In the order of the partitions: a run covers a range of it, and tenants registered later stand at its end."""
    five.add("aaron", customers=0, invoices=0)
    assert [
        (request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"])
        for request in tick(five, "full_sync_every_night")
    ] == [("acme", "birch"), ("cedar", "dune"), ("elm", "aaron")]


def test_a_nightly_request_runs_as_a_scheduled_full_sync_of_its_tenants(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ST_PIPELINE_TENANTS_PER_RUN", "25")
    platform.add("acme", "birch")
    (request,) = tick(platform, "full_sync_every_night")
    assert request.run_config == {}
    run = QUICK.resolve_job_def("full_sync").execute_in_process(instance=platform.instance, tags=dict(request.tags))
    assert platform.partitions("invoices") == ({"acme", "birch"}, set())
    assert platform.tags(run)["sync_type"] == "scheduled"
    logged = platform.rows("SELECT DISTINCT sync_type, mode, data_type, status FROM servicetitan_sync_logs")
    assert logged == [("scheduled", "full", "all", "completed")]
    assert pairs("acme", "birch") == set(
        platform.rows(
            "SELECT partition_key, entity FROM sync_cursors JOIN tenants USING (credential_id) "
            "WHERE last_full_at IS NOT NULL AND entity NOT LIKE 'custom_fields_%'"
        )
    )


def test_jobs_carry_the_tags_that_the_queue_s_limits_go_by():
    assert incremental_poll.tags == {"st_pipeline/mode": "incremental", "dagster/max_runtime": "900"}
    assert full_sync.tags == {"st_pipeline/mode": "full", "dagster/max_runtime": "21600"}
