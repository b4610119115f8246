"""One tenant, one run: what the events, the run's tags and the sync log say, and that they say the same."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
import pytest

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.entities import ENTITIES
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.defs.conftest import set_environment
from st_pipeline_tests.defs.platform import Platform, materialized, pairs
from st_pipeline_tests.onboarding import database_copied, settings_for

Run = tuple[Platform, dg.ExecuteInProcessResult]
FIGURES = ("processed", "successful", "failed", "created", "updated", "unchanged", "deleted")


@pytest.fixture(scope="module")
def first_run(
    postgres_server: EmbeddedServer, servicetitan_simulator: SimulatorControl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """A tenant's first run, whose traces several tests read."""
    with (
        database_copied(postgres_server, TEMPLATE) as engine,
        dg.DagsterInstance.ephemeral() as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        settings = settings_for(engine, tmp_path_factory.mktemp("home"))
        set_environment(settings, servicetitan_simulator, patch)
        platform = Platform(engine, settings, instance, partial(made_by, servicetitan_simulator))
        platform.add("acme")
        yield platform, platform.run("incremental_sync", "acme")
        platform.simulated["acme"].remove()


def made_by(simulator: SimulatorControl, environment: str, **spec: Any) -> SimulatedTenant:
    """A new tenant."""
    return simulator.create_tenant(environment=environment, **spec)


def test_a_first_run_materializes_every_entity_with_its_figures(first_run: Run):
    platform, run = first_run
    assert run.success
    events = materialized(run)
    assert events.keys() == pairs("acme")
    truth = platform.simulated["acme"].truth()
    log_id = platform.value("SELECT id FROM servicetitan_sync_logs")
    for stream, anchor in {"members_stream": "customers", "invoices_stream": "invoices"}.items():
        counts = events.pop(("acme", stream))
        assert counts["created"] == truth[anchor]["live"] + truth[anchor]["deleted"]
    for (_, entity), metadata in events.items():
        # The simulator keeps an entity's lists apart, and is silent about what has no records.
        lists = [figures for name, figures in truth.items() if name.partition(".")[0] == entity]
        deleted = sum(figures["deleted"] for figures in lists) if ENTITIES[entity].feed_path else 0
        read = sum(figures["live"] for figures in lists) + deleted
        assert {name: metadata[name] for name in FIGURES} == {
            "processed": read,
            "successful": read,
            "failed": 0,
            "created": read,
            "updated": 0,
            "unchanged": 0,
            "deleted": deleted,
        }
        assert metadata["pages"] == len(ENTITIES[entity].read_as)
        assert metadata["mode"] == "full"  # the first sync of an entity reads everything
        assert (metadata["rows_per_second"] > 0) == (read > 0)
        assert metadata["seconds"] > 0
        assert metadata["cursor_before"] == "none"
        has_a_position = ENTITIES[entity].feed_path is not None or (read > 0 and not ENTITIES[entity].lists)
        assert (metadata["cursor_after"] != "none") == has_a_position
        assert metadata["sync_log_id"] == log_id
    with platform.engine.connect() as connection:
        assert prove_tenant(connection, "acme", truth).differences == []
    assert platform.failed() == set()


def test_the_next_run_goes_on_from_the_cursor_of_the_one_before(synced: Platform):
    first = materialized(synced.run("incremental_sync", "acme", only="invoices"))
    changed = synced.simulated["acme"].advance(changed={"invoices": 3}, created={"customers": 0})["invoices"]
    metadata = materialized(synced.run("incremental_sync", "acme", only="invoices"))["acme", "invoices"]
    assert (metadata["mode"], metadata["updated"], metadata["created"]) == ("incremental", len(changed["changed"]), 0)
    assert metadata["cursor_before"] == first["acme", "invoices"]["cursor_after"] != metadata["cursor_after"]


def test_the_run_s_tags_say_what_was_asked_and_what_came_of_it(platform: Platform):
    platform.add("acme@integration", customers=1, invoices=0)
    run = platform.run("incremental_sync", "acme@integration")
    truth = platform.simulated["acme@integration"].truth(*ENTITIES).values()
    read, deleted = sum(t["live"] + t["deleted"] for t in truth), sum(t["deleted"] for t in truth)
    assert platform.tags(run) == {
        "sync_type": "manual",
        "mode": "incremental",
        "data_type": "all",
        "company": "acme",
        "environment": "integration",
        "sync_id": run.run_id,
        "result": f"processed {read}, successful {read}, failed 0, created {read}, updated 0, unchanged 0, "
        f"deleted {deleted}, failed_entities 0",
    }


def test_the_sync_log_carries_the_run_s_id_and_the_same_figures(first_run: Run):
    platform, run = first_run
    (row,) = platform.rows(
        "SELECT dagster_run_id, sync_id::text, sync_type, mode, data_type, status, message FROM servicetitan_sync_logs"
    )
    assert row == (run.run_id, run.run_id, "manual", "incremental", "all", "completed", None)
    columns = ", ".join(f"records_{name}" for name in FIGURES)
    columns += ", pages, coalesce(cursor_after, 'none')"  # a stream has no cursor
    logged = platform.rows(f"SELECT entity, {columns}, status FROM sync_log_entities")  # noqa: S608
    shown = {entity: metadata for (_, entity), metadata in materialized(run).items()}
    assert {entity: (*figures,) for entity, *figures in logged} == {
        entity: (*(metadata[name] for name in (*FIGURES, "pages")), metadata["cursor_after"], "completed")
        for entity, metadata in shown.items()
    }


def test_a_run_of_one_entity_touches_that_entity_only(platform: Platform):
    """`customers` is also the name of a data type, which stands for five entities."""
    platform.add("acme")
    run = platform.run("incremental_sync", "acme", only="customers")
    assert materialized(run).keys() == {("acme", "customers")}
    assert platform.tags(run)["data_type"] == "only customers"
    assert platform.rows("SELECT entity FROM sync_log_entities") == [("customers",)]
    assert platform.value("SELECT count(*) FROM st_customers") > 0
    assert platform.value("SELECT count(*) FROM st_invoices") == 0


def test_runs_that_nobody_started_are_scheduled_ones(platform: Platform):
    platform.add("acme")
    for tag in ("dagster/schedule_name", "dagster/sensor_name"):
        run = platform.run("incremental_sync", "acme", only="customers", tags={tag: "some_automation"})
        assert platform.tags(run)["sync_type"] == "scheduled"
    assert platform.rows("SELECT DISTINCT sync_type FROM servicetitan_sync_logs") == [("scheduled",)]


def test_no_secret_is_in_anything_a_run_leaves_in_dagster(first_run: Run):
    platform, run = first_run
    acme = platform.simulated["acme"]
    token = platform.value("SELECT access_token IS NOT NULL FROM servicetitan_credentials")
    assert token is True
    written = "".join(str(entry) for entry in platform.instance.all_logs(run.run_id))
    written += str(platform.instance.get_run_by_id(run.run_id))
    assert "acme" in written
    for secret in (acme.client_id, acme.client_secret, acme.app_key, "eyJ"):
        assert secret not in written


def test_a_long_entity_says_in_the_run_s_log_how_far_it_is(platform: Platform):
    """A line every fifth chunk. Each line is a row of Dagster's, so not one for every chunk."""
    platform.add("acme")
    run = platform.run("incremental_sync", "acme", only="customers", batch_size=2)
    lines = [entry.user_message for entry in platform.instance.all_logs(run.run_id) if "so far" in entry.user_message]
    assert lines == [f"acme / customers: {records} records so far" for records in (10, 20, 30)]
