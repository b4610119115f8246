"""What a sync of a tenant tries, what a scheduled poll leaves out, and what makes a poll show in the log."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline.postgres.cursors import Cursor
from st_pipeline.settings import Settings
from st_pipeline.sync import poll_policy
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED

SETTINGS = Settings.model_construct(reference_poll_minutes=60)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# A list without a feed, an entity with one, one that is several lists, one that others need, a stream.
LIST, FEED, PARTS, STREAM = "campaigns", "customers", "custom_fields", "invoices_stream"
POLL = SyncConfiguration(sync_type="scheduled")


def minutes_ago(minutes: float) -> datetime:
    """Far enough from every limit of these tests, whatever the time."""
    return datetime.now(UTC) - timedelta(minutes=minutes)


def cursor(**changes: object) -> Cursor:
    """Of an entity that was loaded, and polled a minute ago; a number stands for so many minutes ago.

    Parameters are made when tests are collected, which may be long before they run.
    """
    seen = Cursor(last_full_at=LONG_AGO, last_polled_at=minutes_ago(1))
    moments = {name: minutes_ago(value) if isinstance(value, int) else value for name, value in changes.items()}
    return replace(seen, **moments)  # type: ignore[arg-type]


def all_cursors(**changed: Cursor) -> dict[str, Cursor]:
    """Every entity and stream, read a minute ago, but for the changed ones."""
    return {name: cursor() for name in SYNCED} | changed


def planned(known: dict[str, Cursor], configuration: SyncConfiguration = POLL, *, first_loads: bool = True) -> set[str]:
    """The entities of the plan."""
    return set(poll_policy.plan(configuration, SETTINGS, known, first_loads=first_loads).entities)


# The error; how many minutes ago it came first and last, and when the credential was tested; does the entity rest?
FAILING = {
    "failed once": ("ScopeMissing", 4, 4, None, False),
    "failed twice, a tick ago": ("ScopeMissing", 9, 4, None, True),
    "failed twice, two ticks ago": ("ScopeMissing", 14, 8, None, False),
    "failing for a month, half an hour ago": ("ScopeMissing", 43_000, 30, None, True),
    "failing for a month, an hour ago": ("ScopeMissing", 43_000, 61, None, False),
    "tested since": ("ScopeMissing", 43_000, 4, 3, False),
    "tested before": ("ScopeMissing", 43_000, 4, 5, True),
    "a bug of ours": ("KeyError", 43_000, 4, None, True),
    "a retry may help": ("ServiceUnavailable", 43_000, 4, None, False),
    "a retry may help with an error of another room": ("NoTokenInResponse", 43_000, 4, None, False),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_keeps_failing_rests_for_as_long_as_it_has_been_failing_unless_its_credential_was_tested(case: str):
    kind, first, last, tested, rests = FAILING[case]
    not_tried = cursor(failing_since=first, last_failed_at=last, failure_kind="NotTried")
    # Estimates need jobs, payments do not.
    known = all_cursors(jobs=replace(not_tried, failure_kind=kind), estimates=not_tried, payments=not_tried)
    tested_at = None if tested is None else minutes_ago(tested)
    found = poll_policy.resting(known, datetime.now(UTC), tested_at=tested_at)
    assert found == (frozenset({"jobs", "estimates"}) if rests else frozenset())


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (POLL, True),
        (SyncConfiguration(), False),
        (SyncConfiguration(sync_type="scheduled", incremental_only=False), False),
        (SyncConfiguration(sync_type="scheduled", modified_from=LONG_AGO), False),
    ],
)
def test_a_poll_is_what_a_schedule_starts_to_see_what_changed(configuration: SyncConfiguration, expected: bool):
    assert poll_policy.is_poll(configuration) is expected


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (LIST, {}, True),
        (LIST, {"last_polled_at": None}, False),
        (LIST, {"last_polled_at": 59}, True),
        (LIST, {"last_polled_at": 61}, False),
        (LIST, {"last_failed_at": 1}, False),
        (PARTS, {}, True),
        (FEED, {}, False),
        (STREAM, {}, False),
    ],
)
def test_a_list_without_a_feed_is_skipped_until_its_last_poll_is_an_hour_old(
    name: str,
    changes: dict[str, object],
    expected: bool,
):
    assert poll_policy.rests(name, cursor(**changes), SETTINGS) is expected


def test_a_poll_skips_what_rests_and_a_person_s_sync_nothing():
    resting = {name for name in SYNCED if poll_policy.rests(name, cursor(), SETTINGS)}
    assert LIST in resting
    assert planned(all_cursors()) == set(SYNCED) - resting
    assert planned(all_cursors(), SyncConfiguration()) == set(SYNCED)
    assert planned({}) == set(SYNCED)


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ("tag_types", ("customers", "jobs", "payments")),
        ("customers", ("customers", "jobs", "payments")),
        ("jobs", ("customers", "payments", "jobs")),
    ],
)
def test_the_plan_keeps_to_what_was_asked_for_with_what_failed_and_depends_on_it_last(
    failed: str, expected: tuple[str, ...]
):
    wanted = SyncConfiguration(only=("payments", "customers", "jobs"))
    known = all_cursors(**{failed: cursor(last_failed_at=minutes_ago(5))})
    assert poll_policy.plan(wanted, SETTINGS, known, first_loads=True).entities == expected


def test_a_run_of_polls_leaves_out_what_was_never_read_to_its_end_and_the_streams_that_need_it():
    never = cursor(last_full_at=None)
    everything = SyncConfiguration()
    assert planned(all_cursors(), everything, first_loads=False) == set(SYNCED)
    assert set(SYNCED) - planned(all_cursors(invoices=never), everything, first_loads=False) == {"invoices", STREAM}
    assert planned(all_cursors(invoices=never), everything) == set(SYNCED)
    assert planned({}, everything, first_loads=False) == set()


def test_of_several_lists_one_that_was_read_is_enough():
    known = all_cursors()
    del known[PARTS]
    assert PARTS not in planned(known, SyncConfiguration(), first_loads=False)
    part = SYNCED[PARTS].lists[0].name  # type: ignore[union-attr]
    assert PARTS in planned(known | {part: cursor()}, SyncConfiguration(), first_loads=False)
    assert PARTS not in planned(known | {part: cursor(last_full_at=None)}, SyncConfiguration(), first_loads=False)


def test_a_list_also_rests_until_the_last_poll_is_an_hour_old_that_asked_for_all_lists_and_found_nothing():
    old = cursor(last_polled_at=300)
    assert poll_policy.rests(LIST, old, SETTINGS, minutes_ago(59))
    assert not poll_policy.rests(LIST, old, SETTINGS, minutes_ago(61))
    assert poll_policy.rests(LIST, cursor(), SETTINGS, minutes_ago(61))


def test_a_poll_logs_whatever_is_found_and_only_what_failed_before_and_a_person_s_sync_everything():
    def logged(known: dict[str, Cursor], configuration: SyncConfiguration = POLL) -> frozenset[str]:
        return poll_policy.plan(configuration, SETTINGS, known, first_loads=True).logged

    failed = cursor(last_failed_at=LONG_AGO)
    assert logged(all_cursors()) == set()
    assert logged(all_cursors(), SyncConfiguration()) == set(SYNCED)
    assert logged(all_cursors(customers=failed)) == {"customers"}
