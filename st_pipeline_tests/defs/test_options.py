"""The launchpad's options: what the engine is asked to do, and what a contradiction says."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from st_pipeline.defs.options import ModeChoice, SyncOptions
from st_pipeline.errors import ConfigurationError
from st_pipeline.protocol import Mode
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline_tests.defs.platform import ALL, Platform

MAY = "2026-05-01T06:00:00Z"
JUNE = "2026-06-01T06:00:00Z"
CUSTOMERS = ("customers", "customer_contacts", "locations", "location_contacts", "memberships", "membership_types")


def asked(*, entities: tuple[str, ...] = ALL, job_is_full: bool = False, **options: object) -> SyncConfiguration:
    """The engine's configuration for these options."""
    return SyncOptions(**options).configuration(list(entities), "manual", job_is_full=job_is_full)


@pytest.mark.parametrize(
    ("options", "job_is_full", "mode"),
    [
        ({}, False, Mode.INCREMENTAL),
        ({}, True, Mode.FULL),
        ({"mode": ModeChoice.incremental}, True, Mode.INCREMENTAL),
        ({"mode": ModeChoice.full}, False, Mode.FULL),
        ({"mode": ModeChoice.window, "modified_from": MAY}, False, Mode.WINDOW),
        ({"mode": ModeChoice.window, "modified_to": MAY}, True, Mode.WINDOW),
        ({"mode": ModeChoice.window, "modified_from": MAY, "modified_to": JUNE}, False, Mode.WINDOW),
    ],
)
def test_the_mode_is_as_chosen_or_as_the_job_says(options: dict[str, object], job_is_full: bool, mode: Mode):
    assert asked(job_is_full=job_is_full, **options).mode is mode


def test_every_option_reaches_the_engine():
    configuration = asked(
        mode=ModeChoice.window,
        modified_from=MAY,
        modified_to="2026-06-01",
        batch_size=50,
        rewrite=True,
        allow_deletions=True,
    )
    assert configuration == SyncConfiguration(
        data_type="all",
        sync_type="manual",
        modified_from=datetime(2026, 5, 1, 6, tzinfo=UTC),
        modified_to=datetime(2026, 6, 1, tzinfo=UTC),
        batch_size=50,
        rewrite=True,
        allow_deletions=True,
    )


def test_what_is_not_chosen_is_the_engine_s_default():
    assert asked() == SyncConfiguration(sync_type="manual")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T06:00:00.123+02:00", datetime(2026, 1, 31, 6, 0, 0, 123000, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_times_are_iso_and_a_bare_day_is_its_start(written: str, moment: datetime):
    assert asked(mode=ModeChoice.window, modified_from=written).modified_from == moment


@pytest.mark.parametrize(
    ("selected", "label"),
    [
        (ALL, "all"),
        ((*CUSTOMERS, "members_stream"), "customers"),
        (("invoices", "payments", "invoices_stream"), "invoices"),
        ((*CUSTOMERS, "members_stream", "invoices", "payments", "invoices_stream"), "both"),
        (("invoices",), "only invoices"),
        (("customers",), "only customers"),
        (("locations", "customers"), "only customers, locations"),
    ],
)
def test_the_selected_assets_are_exactly_the_entities_synced(selected: tuple[str, ...], label: str):
    """`customers` is an asset and also a data type, which stands for seven of them."""
    configuration = asked(entities=selected)
    assert set(configuration.entities) == set(selected)
    assert configuration.label == label


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": ModeChoice.window}, "mode window needs modified_from or modified_to"),
        ({"modified_from": MAY}, "no other mode takes them; mode is incremental"),
        ({"mode": ModeChoice.full, "modified_to": MAY}, "no other mode takes them; mode is full"),
        (
            {"mode": ModeChoice.window, "modified_from": "yesterday"},
            "modified_from is not a valid time: write 2026-01-31",
        ),
        ({"mode": ModeChoice.window, "modified_to": "2026-13-01"}, "modified_to is not a valid time"),
        ({"mode": ModeChoice.window, "modified_from": "2026-01-31T06:00"}, "has no zone"),
        ({"mode": ModeChoice.window, "modified_from": JUNE, "modified_to": MAY}, "before it starts"),
        ({"batch_size": -1}, "take 1 or more"),
    ],
)
def test_a_contradiction_is_one_line_that_says_what_to_do(options: dict[str, object], reason: str):
    with pytest.raises(ConfigurationError, match=reason) as caught:
        asked(**options)
    assert "\n" not in str(caught.value)


def test_a_bad_window_fails_the_run_at_once_with_that_line(platform: Platform):
    platform.add("acme", customers=0, invoices=0)
    run = platform.run("incremental_sync", "acme", mode="window")
    (failed,) = [event.step_failure_data for event in run.all_events if event.is_step_failure]
    assert failed.user_failure_data.description == (
        "mode window needs modified_from or modified_to, and no other mode takes them; mode is window"
    )
    assert not [event for event in run.all_events if event.is_step_up_for_retry]
    assert platform.value("SELECT count(*) FROM servicetitan_sync_logs") == 0


def test_a_window_reads_what_was_modified_in_it_and_moves_no_cursor(synced: Platform):
    platform = synced
    before = platform.rows("SELECT entity, continue_from, newest_modified_on FROM sync_cursors ORDER BY 1, 2")
    run = platform.run(
        "incremental_sync", "acme", mode="window", modified_from="2026-01-01", batch_size=7, rewrite=True
    )
    assert run.success
    assert platform.tags(run)["mode"] == "window"
    assert platform.figures(run)["updated"] == platform.figures(run)["processed"] > 0
    assert platform.rows("SELECT entity, continue_from, newest_modified_on FROM sync_cursors ORDER BY 1, 2") == before


def test_a_person_s_word_lets_a_full_sync_mark_an_unusual_share_as_deleted(platform: Platform):
    platform.add("acme")
    assert platform.run("incremental_sync", "acme", only="customers").success
    acme = platform.simulated["acme"]
    gone = acme.ids("customers")[:15]
    for customer in gone:
        acme.delete("customers", customer)
    refused = platform.run("full_sync", "acme", only="customers")
    assert not refused.success
    marked = "SELECT count(*) FROM st_customers WHERE deleted_at IS NOT NULL"
    assert platform.value(marked) == 0
    assert platform.run("full_sync", "acme", only="customers", allow_deletions=True).success
    assert platform.value(marked) == len(gone)
