"""The five-minute poll: what it writes when nothing happened, what when something did, and what makes a run red."""

import uuid

import pytest
from sqlalchemy import text

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import poll_claims
from st_pipeline.postgres.scheduled_work import only_one
from st_pipeline.tenants import store
from st_pipeline.tenants.diagnosis import test_credentials as diagnose
from st_pipeline_tests.defs.platform import ALL, WRONG_SECRET, Platform, failures, materialized, of_entities, pairs

SCOPES = {scope for spec in ENTITIES.values() for scope in spec.scopes}
# What the scope of invoices opens: they, their custom fields, and what is built from them.
WITH_THE_SCOPE = ("custom_fields", "invoices", "invoices_stream")
LOGS = "SELECT count(*) FROM servicetitan_sync_logs"
# Dagster's own: run and step start and end, resources. A run of the assets would plan six more for each tenant.
EVENTS_OF_ANY_RUN = 20


@pytest.fixture(autouse=True)
def _no_list_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every poll reads everything."""
    monkeypatch.setenv("ST_PIPELINE_REFERENCE_POLL_MINUTES", "0")


def test_a_poll_that_finds_nothing_leaves_a_timestamp_and_nothing_else(synced: Platform):
    cursors = synced.rows("SELECT * FROM sync_cursors ORDER BY 1, 2")
    logs = synced.value(LOGS)
    before = synced.value("SELECT now()")
    run = synced.poll("acme", "birch")
    assert run.success
    assert materialized(run) == {}
    assert synced.value(LOGS) == logs
    assert synced.rows("SELECT * FROM sync_cursors ORDER BY 1, 2") == cursors
    polls = synced.rows("SELECT polled_at, hourly_at FROM tenant_polls")
    assert len(polls) == 2
    assert all(polled_at > before and hourly_at > before for polled_at, hourly_at in polls)
    # Nor is anything planned, which is why the poll is an op: 500 tenants would plan 4 million events a day.
    events = [entry.dagster_event for entry in synced.instance.all_logs(run.run_id) if entry.is_dagster_event]
    assert len(events) <= EVENTS_OF_ANY_RUN
    assert not [event for event in events if event.is_asset_materialization_planned]


def test_a_change_makes_exactly_its_own_materialization(synced: Platform):
    birch = synced.simulated["birch"]
    for invoice in birch.ids("invoices")[:2]:
        birch.patch("invoices", invoice, {"summary": "mended"})
    logs = synced.value(LOGS)
    run = synced.poll("acme", "birch")
    events = materialized(run)
    assert events.keys() == {("birch", "invoices"), ("birch", "invoices_stream")}
    assert {(metadata["updated"], metadata["created"]) for metadata in events.values()} == {(2, 0)}
    assert synced.value(LOGS) == logs + 1
    newest = "SELECT dagster_run_id, sync_type, mode, status FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1"
    assert synced.rows(newest) == [(run.run_id, "scheduled", "incremental", "completed")]
    tags = synced.tags(run)
    assert (tags["sync_type"], tags["mode"], tags["company"]) == ("scheduled", "incremental", "several")
    assert synced.figures(run)["updated"] == 2


def test_every_entity_s_row_in_the_log_of_a_poll_is_closed(synced: Platform):
    """What comes after a changed entity shares its log, though nothing of it changed."""
    synced.simulated["acme"].advance(changed={"customers": 1})
    synced.poll("acme")
    states = synced.rows(
        "SELECT DISTINCT status FROM sync_log_entities UNION SELECT status FROM servicetitan_sync_logs"
    )
    assert states == [("completed",)]


def test_a_busy_tenant_is_skipped_and_nothing_fails(synced: Platform):
    synced.simulated["acme"].advance(changed={"customers": 1})
    synced.simulated["birch"].advance(changed={"customers": 1})
    with synced.held("acme"):
        run = synced.poll("acme", "birch")
    assert run.success
    assert of_entities(run) == {("birch", "customers")}
    assert of_entities(synced.poll("acme", "birch")) == {("acme", "customers")}


def test_a_newly_broken_entity_fails_the_run_once_and_its_recovery_is_reported(synced: Platform):
    """Red only for news. Meanwhile the log keeps every failure, and the other entities go on."""
    synced.simulated["birch"].change(scopes=sorted(SCOPES - {"tn.acc.invoices:r"}))
    first = synced.poll("acme", "birch")
    assert not first.success
    assert failures(first).keys() == {f"birch / {entity}" for entity in WITH_THE_SCOPE}
    assert synced.figures(first)["failed_entities"] == 3

    synced.simulated["birch"].advance(changed={"customers": 1})
    second = synced.poll("acme", "birch")
    assert second.success
    assert of_entities(second) == {("birch", "customers")}
    assert synced.figures(second)["failed_entities"] == 3
    failed = "SELECT count(*) FROM sync_log_entities WHERE entity = 'invoices' AND status = 'failed'"
    assert synced.value(failed) == 2

    synced.simulated["birch"].change(scopes=sorted(SCOPES))
    with synced.engine.begin() as connection:  # it rests, and its pause is over
        connection.execute(text("UPDATE sync_cursors SET last_failed_at = last_failed_at - interval '1 hour'"))
    third = synced.poll("acme", "birch")
    assert third.success
    assert materialized(third).keys() == {("birch", entity) for entity in WITH_THE_SCOPE}
    assert synced.figures(third)["failed_entities"] == 0

    synced.simulated["birch"].change(scopes=sorted(SCOPES - {"tn.acc.invoices:r"}))
    assert not synced.poll("acme", "birch").success  # broken once more: news again


def test_a_tenant_whose_credentials_are_refused_is_suspended_until_a_test_of_them_passes(synced: Platform):
    def pollable() -> list[str]:
        with synced.engine.connect() as connection:
            return [tenant.partition_key for tenant in store.enabled_tenants(connection) if tenant.is_pollable]

    assert pollable() == ["acme", "birch"]
    synced.store_secret("birch", WRONG_SECRET)
    run = synced.poll("acme", "birch")
    assert not run.success
    assert failures(run).keys() == {f"birch / {entity}" for entity in ALL}
    assert pollable() == ["acme"]
    assert not diagnose("birch", settings=synced.settings_of_runs(), engine=synced.engine).connected
    assert pollable() == ["acme"]

    synced.store_secret("birch", synced.simulated["birch"].client_secret)
    assert diagnose("birch", settings=synced.settings_of_runs(), engine=synced.engine).connected
    assert pollable() == ["acme", "birch"]
    recovered = synced.poll("acme", "birch")
    assert recovered.success
    assert materialized(recovered).keys() == pairs("birch")


def test_a_tenant_whose_secret_does_not_open_is_news_once_and_stands_in_the_log_and_the_status(synced: Platform):
    birch = "id = (SELECT credential_id FROM tenants WHERE partition_key = 'birch')"
    sealed = synced.value(f"SELECT client_secret FROM servicetitan_credentials WHERE {birch}")  # noqa: S608 - ours
    change = f"UPDATE servicetitan_credentials SET client_secret = :sealed WHERE {birch}"  # noqa: S608 - ours
    synced.change(change, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]))
    synced.simulated["birch"].requests(reset=True)

    first = synced.poll("acme", "birch")
    assert failures(first).keys() == {"birch"}
    newest = "SELECT status, message, dagster_run_id FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1"
    assert synced.rows(newest) == [("failed", failures(first)["birch"], first.run_id)]
    assert "client_secret of birch cannot be decrypted" in failures(first)["birch"]
    state = "SELECT connection_status, connection_message FROM tenants WHERE partition_key = 'birch'"
    assert synced.rows(state) == [("error", failures(first)["birch"])]
    assert synced.value("SELECT count(*) FROM tenant_leases") == 0

    synced.change("UPDATE tenant_polls SET due_at = now() - interval '1 minute'")
    assert set(claimed(synced)) == {"acme", "birch"}
    second = synced.poll("acme", "birch")
    assert second.success
    assert synced.figures(second)["failed_entities"] == 1
    assert synced.rows(newest)[0][2] == second.run_id
    assert synced.simulated["birch"].requests()["total"] == 0

    synced.change(change, sealed=sealed)
    assert synced.poll("acme", "birch").success
    assert synced.rows(state) == [("connected", None)]


def test_a_poll_turns_a_failed_partition_green(synced: Platform):
    synced.simulated["acme"].change(scopes=sorted(SCOPES - {"tn.acc.invoices:r"}))
    synced.run("incremental_sync", "acme")
    assert synced.failed() == {("acme", entity) for entity in WITH_THE_SCOPE}
    synced.simulated["acme"].change(scopes=sorted(SCOPES))
    synced.poll("acme")
    assert synced.failed() == set()


def test_whoever_waited_longest_goes_first_and_who_is_not_reached_is_first_the_next_time(
    synced: Platform, monkeypatch: pytest.MonkeyPatch
):
    """A run is over before Dagster interrupts it. Then no tenant stands behind the same one in trouble each time."""
    for source in synced.simulated.values():
        source.advance(changed={"customers": 1})
        source.fault("slow", seconds=30, entity="tag_types", times=1)
    monkeypatch.setenv("ST_PIPELINE_POLL_THREADS", "1")
    short = {"dagster/max_runtime": "4"}  # it ends by itself after one
    first = synced.poll("birch", "acme", tags=short)
    assert "customers" not in {entity for _, entity in materialized(first)}
    assert synced.tags(first)["skipped"] == "ended, as a run may take 4 s; the next poll begins with what is still due"
    assert claimed(synced) == ["acme"]
    second = synced.work(short)
    assert synced.tags(second)["skipped"].startswith("ended, as a run may take 4 s")
    assert of_entities(synced.poll("acme", "birch")) >= {("acme", "customers"), ("birch", "customers")}


def claimed(platform: Platform) -> list[str]:
    """Whom a worker would poll; nobody is claimed afterwards."""
    with platform.engine.connect() as connection:
        claims = poll_claims.claim(connection, run_id=uuid.UUID(int=1), limit=100, budget_seconds=150)
    return [one.partition_key for one in claims]


def test_a_run_says_who_was_polled_what_changed_and_what_failed(synced: Platform):
    """It reads as a log of its syncs, by name."""
    synced.simulated["birch"].advance(changed={"customers": 1})
    run = synced.poll("acme", "birch")
    (output,) = [event.step_output_data.metadata for event in run.all_events if event.is_successful_output]
    assert (output["polled"].value, output["polled_tenants"].value) == (2, "acme, birch")
    assert "customers" in output["changed"].value["birch"]
    assert output["failed"].value == {}
    assert synced.value("SELECT count(*) FROM tenant_polls WHERE claimed_until IS NULL AND due_at > now()") == 2


def test_a_second_run_of_a_worker_ends_at_once(synced: Platform):
    """Dagster may start a run twice, and launch another when it takes a living one for dead."""
    synced.simulated["acme"].advance(changed={"customers": 1})
    with only_one(synced.engine, "the polls of worker 1"):
        run = synced.poll("acme")
    assert run.success
    assert materialized(run) == {}
    assert synced.tags(run)["skipped"] == "worker 1 is polling in another run"
    assert of_entities(synced.poll("acme")) == {("acme", "customers")}


def test_a_poll_loads_nothing_for_the_first_time(synced: Platform):
    synced.change("UPDATE sync_cursors SET last_full_at = NULL WHERE entity = 'invoices'")
    synced.simulated["acme"].advance(changed={"invoices": 1, "payments": 1})
    run = synced.poll("acme")
    assert run.success
    assert of_entities(run) == {("acme", "payments")}
