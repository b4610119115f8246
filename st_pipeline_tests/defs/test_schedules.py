"""What a tick of each schedule asks for, and that a run can do it."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
import pytest

from st_pipeline.defs.jobs import full_sync, incremental_poll
from st_pipeline.defs.schedules import build_schedules, poll_request
from st_pipeline.postgres import tenant_schedules
from st_pipeline.tenants.selection import FEEDS
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


def begun(platform: Platform, tags: Mapping[str, str]) -> dg.DagsterRun:
    """A running poll."""
    request = poll_request(["acme"], TICK)
    return platform.instance.create_run_for_job(
        QUICK.resolve_job_def("incremental_poll"),
        run_config=request.run_config,
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
    )


def test_a_tick_polls_every_tenant_in_shards(five: Platform):
    requests = tick(five, "poll_every_tenant")
    assert [request.run_config["ops"]["poll_tenants"]["config"]["tenants"] for request in requests] == [
        ["acme", "birch"],
        ["cedar", "dune"],
        ["elm"],
    ]
    assert [request.tags["st_pipeline/shard"] for request in requests] == ["acme...birch", "cedar...dune", "elm"]


def test_the_run_keys_of_a_tick_are_the_same_when_it_is_evaluated_again(five: Platform):
    """A daemon that dies half-way through a tick evaluates it once more; a run key is launched once."""
    keys = [request.run_key for request in tick(five, "poll_every_tenant")]
    assert keys == [
        "2026-01-31T06:05:00+00:00 acme...birch",
        "2026-01-31T06:05:00+00:00 cedar...dune",
        "2026-01-31T06:05:00+00:00 elm",
    ]
    assert [request.run_key for request in tick(five, "poll_every_tenant")] == keys


def test_a_shard_whose_run_still_goes_on_is_left_out(five: Platform):
    run = begun(five, {"st_pipeline/shard": "cedar...dune"})

    def shards() -> list[str]:
        return [request.tags["st_pipeline/shard"] for request in tick(five, "poll_every_tenant")]

    assert shards() == ["acme...birch", "elm"]
    five.instance.report_run_failed(run)
    assert shards() == ["acme...birch", "cedar...dune", "elm"]


def test_a_tick_with_every_shard_busy_says_so(five: Platform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_TENANTS_PER_RUN", "25")
    (request,) = tick(five, "poll_every_tenant")
    begun(five, request.tags)
    assert "earlier tick" in tick(five, "poll_every_tenant")


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
    assert [request.tags["st_pipeline/shard"] for request in tick(five, "poll_every_tenant")] == [
        "birch...cedar",
        "dune...elm",
    ]
    five.change(unfit)
    assert "credentials list" in tick(five, "poll_every_tenant")


def test_a_paused_tenant_is_skipped_by_polls_and_by_nightly_full_syncs(five: Platform):
    """A run's range may not reach over it."""
    schedule(five, "birch", paused_at="now")
    polled = [request.tags["st_pipeline/shard"] for request in tick(five, "poll_every_tenant")]
    assert polled == ["acme...cedar", "dune...elm"]
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
    assert tick(five, "poll_every_tenant")[0].tags["st_pipeline/shard"] == "acme...birch"


def test_a_tenant_with_an_interval_of_its_own_is_polled_once_in_each(five: Platform):
    """Counted from midnight UTC, by the oldest poll of a feed; lists without a feed do not count."""
    schedule(five, "acme", poll_minutes=30)

    def is_polled() -> bool:
        requests = tick(five, "poll_every_tenant")
        return "acme" in requests[0].run_config["ops"]["poll_tenants"]["config"]["tenants"]

    assert is_polled()  # never polled
    for entity in FEEDS:
        polled(five, "acme", entity, "2026-01-31T06:00:03Z")
    assert not is_polled()  # at 06:05
    polled(five, "acme", FEEDS[0], "2026-01-31T05:59:59Z")
    assert is_polled()
    polled(five, "acme", FEEDS[0], None, failed="2026-01-31T06:01:00Z")  # a failed poll is a poll
    assert not is_polled()
    schedule(five, "acme", poll_minutes=None)
    assert is_polled()


def schedule(platform: Platform, tenant: str, **changes: object) -> None:
    """Give a tenant a schedule of its own."""
    credential_id = platform.value("SELECT credential_id FROM tenants WHERE partition_key = :key", key=tenant)
    with platform.engine.begin() as connection:
        tenant_schedules.save(connection, credential_id, **changes)


def polled(platform: Platform, tenant: str, entity: str, at: str | None, failed: str | None = None) -> None:
    """Set when an entity was polled."""
    platform.change(
        "INSERT INTO sync_cursors (credential_id, entity, last_polled_at, last_failed_at, last_full_at) "
        "SELECT credential_id, :entity, :at, :failed, now() FROM tenants WHERE partition_key = :key ON CONFLICT "
        "(credential_id, entity) DO UPDATE SET last_polled_at = excluded.last_polled_at, "
        "last_failed_at = excluded.last_failed_at",
        entity=entity, at=at, failed=failed, key=tenant,
    )  # fmt: skip


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
