"""First syncs that the sensor starts: of new tenants, and of entities that were never read to their end."""

import re
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from st_pipeline.defs import sensors
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.defs.platform import QUICK, Platform
from st_pipeline_tests.defs.sensor_ticks import DISABLE, Ticks, new_tenants


@pytest.fixture
def instance(emptied_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """A tick reads an instance that other processes can open."""
    return emptied_instance


@pytest.mark.parametrize("registered", [False, True], ids=["by the sensor", "by who added it"])
def test_a_new_tenant_s_first_sync_starts_a_tick_after_it_was_seen(ticks: Ticks, registered: bool):
    """So that who adds and registers it may start it otherwise, as the demo does."""
    ticks.platform.add("acme", customers=0, invoices=0, register=registered)
    assert ticks.first_syncs() == []
    (request,) = ticks()
    assert request.partition_key == "acme"
    assert re.fullmatch(r"first sync of acme, credential \d+, untested", str(request.run_key))


def test_a_first_sync_that_did_not_succeed_is_not_started_over_and_over(ticks: Ticks):
    """A run key is launched once; it changes when somebody tests the credential."""
    new_tenants(ticks.platform, "acme")
    ticks()
    assert [request.run_key for request in ticks()] == [request.run_key for request in ticks()]
    ticks.platform.change("UPDATE servicetitan_credentials SET last_tested_at = '2026-01-31T06:00:00Z'")
    (request,) = ticks()
    assert str(request.run_key).endswith(", tested 2026-01-31T06:00:00+00:00")


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/partition": "birch"},
        {"dagster/asset_partition_range_start": "acme", "dagster/asset_partition_range_end": "cedar"},
    ],
    ids=["one partition", "a range of partitions"],
)
def test_a_tenant_that_a_run_works_on_is_not_started_again(ticks: Ticks, tags: dict[str, str]):
    new_tenants(ticks.platform, "acme", "birch", "cedar", "dune")
    ticks()
    job = QUICK.resolve_job_def("full_sync")
    run = ticks.platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    busy = {"birch"} if "dagster/partition" in tags else {"acme", "birch", "cedar"}
    assert set(ticks.first_syncs()) == {"acme", "birch", "cedar", "dune"} - busy
    ticks.platform.instance.report_run_failed(run)
    assert ticks.first_syncs() == ["acme", "birch", "cedar", "dune"]


def test_a_tenant_of_a_range_that_lost_its_end_is_not_started_again(ticks: Ticks):
    new_tenants(ticks.platform, "acme", "birch", "cedar")
    ticks()
    ends = {"dagster/asset_partition_range_start": "acme", "dagster/asset_partition_range_end": "birch"}
    job = QUICK.resolve_job_def("full_sync")
    ticks.platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED, tags=ends)
    ticks.platform.change(DISABLE, slug="acme")
    ticks()
    assert ticks.partitions == ["birch", "cedar"]
    assert ticks.first_syncs() == ["cedar"]


@pytest.mark.parametrize("state", ["connection_status = 'error'", "enabled = false"], ids=["refused", "disabled"])
def test_tenants_that_are_refused_or_disabled_are_not_started(ticks: Ticks, state: str):
    new_tenants(ticks.platform, "acme")
    ticks()
    ticks.platform.change(f"UPDATE servicetitan_credentials SET {state}")  # noqa: S608 - ours
    assert ticks.first_syncs() == []


def loaded(platform: Platform, *but: str) -> None:
    """Let all be read to its end, except some entities."""
    platform.change(
        "INSERT INTO sync_cursors (credential_id, entity, last_full_at) SELECT k.id, e, now() "
        "FROM servicetitan_credentials k CROSS JOIN unnest(CAST(:entities AS text[])) e",
        entities=[name for name in SYNCED if name not in but],
    )


def failed_load(platform: Platform, entity: str, at: str) -> None:
    """Let a first load of an entity have failed."""
    platform.change(
        "WITH l AS (INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, "
        "started_at, completed_at) SELECT id, gen_random_uuid(), 'scheduled', 'full', 'all', 'failed', :at, :at "
        "FROM servicetitan_credentials RETURNING id) INSERT INTO sync_log_entities (sync_log_id, entity, mode, status, "
        "started_at) SELECT id, :entity, 'full', 'failed', :at FROM l", at=at, entity=entity,
    )  # fmt: skip
    platform.change(
        "INSERT INTO sync_cursors (credential_id, entity, last_failed_at) SELECT id, :entity, :at "
        "FROM servicetitan_credentials ON CONFLICT (credential_id, entity) DO UPDATE SET last_failed_at = :at",
        at=at, entity=entity,
    )  # fmt: skip


def test_a_tenant_that_was_read_in_full_is_not_started(ticks: Ticks):
    new_tenants(ticks.platform, "acme")
    loaded(ticks.platform)
    assert [ticks.first_syncs() for _ in range(2)] == [[], []]


def test_an_entity_that_was_never_loaded_is_loaded_with_what_is_built_from_it(ticks: Ticks):
    """It came with a new version, or its first load failed; polls leave it out."""
    ticks.platform.add("acme", register=False)
    loaded(ticks.platform, "memberships", "members_stream")
    ticks()
    (request,) = ticks()
    assert [key.path[-1] for key in request.asset_selection] == ["memberships", "members_stream"]
    assert re.fullmatch(
        r"first sync of acme, credential \d+, untested, memberships members_stream", str(request.run_key)
    )
    run = QUICK.resolve_job_def("full_sync").execute_in_process(
        instance=ticks.platform.instance, partition_key="acme", asset_selection=request.asset_selection
    )
    assert run.success
    assert ticks.first_syncs() == []


def test_a_first_load_that_failed_is_tried_again_with_growing_pauses(ticks: Ticks):
    """A company may take weeks to grant a scope: not every five minutes, and not never."""
    new_tenants(ticks.platform, "acme")
    loaded(ticks.platform, "jobs")
    ticks()

    def ago(minutes: float) -> str:
        return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()

    keys = []
    for minutes in (10, 20, 40):
        failed_load(ticks.platform, "jobs", ago(minutes - 1))
        assert [ticks.first_syncs() for _ in range(2)] == [[], []]
        ticks.platform.change("UPDATE sync_cursors SET last_failed_at = :at WHERE entity = 'jobs'", at=ago(minutes + 1))
        ticks()
        (request,) = ticks()
        keys.append(request.run_key)
    assert len(set(keys)) == 3
    for _ in range(9):
        failed_load(ticks.platform, "jobs", ago(23 * 60))
    assert ticks.first_syncs() == []
    failed_load(ticks.platform, "jobs", ago(25 * 60))
    assert [ticks.first_syncs() for _ in range(2)][-1] == ["acme"]
    failed_load(ticks.platform, "jobs", ago(1))
    assert ticks.first_syncs() == []
    ticks.platform.change("UPDATE servicetitan_credentials SET last_tested_at = now()")  # a person has done something
    assert [ticks.first_syncs() for _ in range(2)][-1] == ["acme"]


def test_what_a_killed_first_sync_never_came_to_is_not_forgotten(ticks: Ticks):
    """The entity it died in pauses; a run key of its own lets the others begin."""
    new_tenants(ticks.platform, "acme")
    ticks()
    (before,) = ticks()
    failed_load(ticks.platform, "customers", (datetime.now(UTC) - timedelta(minutes=11)).isoformat())
    ticks()
    (after,) = ticks()
    assert after.run_key != before.run_key


def test_many_new_tenants_are_started_a_few_a_tick(ticks: Ticks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sensors, "FIRST_SYNCS_A_TICK", 2)
    new_tenants(ticks.platform, "acme", "birch", "cedar")
    ticks()
    assert ticks.first_syncs() == ["acme", "birch"]


def test_a_first_sync_runs_and_is_then_over(ticks: Ticks):
    ticks.platform.add("acme", register=False)
    ticks()
    (request,) = ticks()
    run = QUICK.resolve_job_def("full_sync").execute_in_process(
        instance=ticks.platform.instance,
        partition_key=request.partition_key,
        tags=dict(request.tags),
    )
    assert ticks.platform.tags(run)["sync_type"] == "scheduled"
    assert ticks.platform.rows("SELECT DISTINCT mode FROM servicetitan_sync_logs") == [("full",)]
    assert ticks.first_syncs() == []


def test_a_paused_tenant_has_no_first_sync_until_it_is_resumed(ticks: Ticks):
    ticks.platform.add("acme", register=False)
    ticks.platform.change("INSERT INTO tenant_schedules (credential_id, paused_at) SELECT id, now() "
                          "FROM servicetitan_credentials")  # fmt: skip
    assert [ticks.first_syncs() for _ in range(3)] == [[], [], []]
    assert ticks.partitions == ["acme"]  # a person may sync it
    ticks.platform.change("UPDATE tenant_schedules SET paused_at = NULL")
    assert [ticks.first_syncs() for _ in range(2)] == [[], ["acme"]]
