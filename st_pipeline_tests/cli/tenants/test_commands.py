"""`st-pipeline tenants`: pausing, resuming, schedules of their own; what the schedules make of it is in defs/."""

import pytest

from st_pipeline.postgres import poll_figures
from st_pipeline.postgres.poll_figures import PollFigures
from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation, widest

SCHEDULES = (
    "SELECT partition_key, paused_at IS NOT NULL, paused_because, poll_minutes, nightly_full "
    "FROM tenant_schedules JOIN tenants USING (credential_id) ORDER BY 1"
)
TRAIL = "SELECT action, tenant, details FROM audit_log WHERE action LIKE 'tenants.%' ORDER BY id"


def test_a_tenant_is_paused_and_resumed(installation: Installation, command: Command):
    installation.add("acme", "birch")
    assert command("tenants", "pause", "acme", "birch", "--because", "moves house").out == (
        "tenant acme: paused\ntenant birch: paused\n"
    )
    assert command("tenants", "pause", "acme", "--because", "moves house").out == "tenant acme: nothing changed\n"
    assert command("tenants", "pause", "acme").out == "tenant acme: paused\n"  # the reason is another
    assert installation.rows(SCHEDULES) == [
        ("acme", True, None, None, None),
        ("birch", True, "moves house", None, None),
    ]
    assert command("tenants", "resume", "acme", "birch").out == "tenant acme: resumed\ntenant birch: resumed\n"
    assert command("tenants", "resume", "acme").out == "tenant acme: nothing changed\n"
    assert installation.rows(SCHEDULES) == [("acme", False, None, None, None), ("birch", False, None, None, None)]
    assert installation.rows(TRAIL)[0] == ("tenants.pause", "acme", {"paused_because": "moves house"})
    assert [action for action, *_ in installation.rows(TRAIL)].count("tenants.resume") == 2


def test_a_tenant_has_a_schedule_of_its_own_and_the_default_again(installation: Installation, command: Command):
    installation.add("acme")
    schedule = ("tenants", "schedule", "acme")
    assert command(*schedule, "--every", "60", "--nightly-full", "no").out == "tenant acme: schedule changed\n"
    assert command(*schedule, "--every", "60").out == "tenant acme: nothing changed\n"
    assert installation.rows(SCHEDULES) == [("acme", False, None, 60, False)]
    command(*schedule, "--nightly-full", "yes")
    command(*schedule, "--every", "default")
    assert installation.rows(SCHEDULES) == [("acme", False, None, None, True)]
    command(*schedule, "--nightly-full", "default")
    assert installation.rows(SCHEDULES) == [("acme", False, None, None, None)]


def test_the_list_shows_each_schedule_its_last_poll_and_the_next(installation: Installation, command: Command):
    assert "no tenant yet" in command("tenants", "list").out
    installation.add("acme", "birch", "cedar", customers=0, invoices=0)
    installation.synced("acme", "cedar")
    command("tenants", "schedule", "acme", "--every", "1440", "--nightly-full", "no")
    command("tenants", "pause", "birch", "--because", "moves house")
    said = command("tenants", "list")
    assert widest(said.out) <= 80
    rows = {row["tenant"]: row for row in command("tenants", "list", "--json").json}
    assert (rows["acme"]["polled"], rows["acme"]["nightly_full"]) == ("every 1440 min", False)
    assert rows["acme"]["next_poll"].endswith("T00:00:00+00:00")
    assert rows["birch"]["skipped_because"] == "paused: moves house"
    assert rows["birch"]["last_poll"] is None
    assert (rows["cedar"]["polled"], rows["cedar"]["next_poll"], rows["cedar"]["skipped_because"]) == (
        "every tick", None, None,
    )  # fmt: skip
    assert rows["cedar"]["last_poll"] is not None
    assert "paused: moves house" in said.words
    assert "next tick" in said.out


def test_a_tenant_leaves_out_days_hours_holidays_and_entities(installation: Installation, command: Command):
    installation.add("acme")
    schedule = ("tenants", "schedule", "acme")
    times = ("--cron", "0 6-20 * * *", "--skip-days", "sat, Sun", "--skip-hours", "22-5:30", "--skip-holidays", "US-TX")
    assert command(*schedule, *times, "--entity-off", "estimates").out == "tenant acme: schedule changed\n"
    assert command(*schedule, *times, "--entity-off", "estimates").out == "tenant acme: nothing changed\n"
    assert command("tenants", "list", "--json").json[0]["polled"] == (
        "at 0 6-20 * * *; not on Sat, Sun; not 22:00-05:30; not on holidays of US-TX; without estimates"
    )
    details = {"poll_cron": "0 6-20 * * *", "skip_days": "6, 7", "skip_from": "22:00:00", "skip_until": "05:30:00",
               "skip_holidays": "US-TX", "entities_off": "estimates"}  # fmt: skip
    assert installation.rows(TRAIL) == [("tenants.schedule", "acme", details)]
    command(*schedule, "--entity-off", "jobs", "--entity-on", "estimates", "--skip-days", "none")
    command(*schedule, "--skip-hours", "none", "--skip-holidays", "none", "--every", "30")
    assert command("tenants", "list", "--json").json[0]["polled"] == "every 30 min; without jobs"
    odd = command("tenants", "schedule", "acme", "--every", "7")
    assert "polls begin at ticks of */5 * * * *, 5 minutes apart; with --every 7 each waits for" in odd.err
    assert command("tenants", "schedule", "acme", "--every", "30").err == ""
    command(*schedule, "--entity-on", "jobs", "--cron", "default")
    assert command("tenants", "list", "--json").json[0]["polled"] == "every tick"


def test_a_changed_schedule_moves_the_next_poll_at_once(installation: Installation, command: Command):
    installation.add("acme", customers=0, invoices=0)
    installation.synced("acme")
    due = "SELECT due_at - now() > interval '10 minutes' FROM tenant_polls"
    command("tenants", "schedule", "acme", "--every", "10080")
    assert installation.rows(due) == [(True,)]
    command("tenants", "schedule", "acme", "--every", "default")
    assert installation.rows(due) == [(False,)]
    refused = command("tenants", "schedule", "acme", "--cron", "0 3 * * *", "--skip-hours", "22-6")
    assert_refused(refused, "would never be polled")
    assert installation.rows(due) == [(False,)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("pause", "acme", "acm"), "unknown tenant 'acm'"),
        (("pause", "acme", "--because", " "), "--because is empty"),
        (("pause", "acme", "--because", "one\ntwo"), "characters that cannot be printed"),
        (("schedule", "acme"), "nothing to change"),
        (("schedule", "acme", "--every", "0"), "--every 0: write whole minutes"),
        (("schedule", "acme", "--every", "hourly"), "--every hourly: write whole minutes"),
        (("schedule", "acme", "--every", "10081"), "from 1 to 10080"),
        (("schedule", "acme", "--every", "5", "--cron", "* * * * *"), "contradict each other"),
        (("schedule", "acme", "--cron", "hourly"), "--cron: 'hourly' is not a valid cron expression"),
        (("schedule", "acme", "--skip-days", "sun,day"), "--skip-days sun,day: write some of mon,tue"),
        (("schedule", "acme", "--skip-hours", "22"), "--skip-hours 22: write two times"),
        (("schedule", "acme", "--skip-hours", "7-7"), "write two times"),
        (("schedule", "acme", "--skip-holidays", "TX"), "the holidays of 'TX' are not known"),
        (("schedule", "acme", "--entity-off", "invoice"), "unknown entity 'invoice': did you mean invoices"),
        (("schedule", "acme", "--entity-off", "jobs", "--entity-on", "jobs"), "contradict each other: jobs"),
    ],
)
def test_wrong_use_changes_nobody(
    installation: Installation, command: Command, arguments: tuple[str, ...], reason: str
):
    installation.add("acme")
    assert_refused(command("tenants", *arguments), reason)
    assert installation.rows(SCHEDULES) == []


def test_two_intervals_are_compared_by_half_of_the_tenants(
    installation: Installation, command: Command, monkeypatch: pytest.MonkeyPatch
):
    assert command("tenants", "compare").out == "no poll has ended yet\n"
    monkeypatch.setenv("ST_PIPELINE_SECOND_HALF_CRON", "0 * * * *")
    with installation.engine.begin() as connection:
        first = PollFigures(150, 3000, 300, 42000, 60.0, 2850, 855000.0, 310.0)
        poll_figures.add(connection, {1: first, 2: PollFigures(150, 1500, 150, 21000, 30.0)})
        poll_figures.add(connection, {2: PollFigures(149, 1500, 150, 21000, 30.0)})
    one, two = command("tenants", "compare", "--json").json
    assert (one["cron"], two["cron"]) == ("*/5 * * * *", "0 * * * *")
    assert one | {"half": 2, "cron": "0 * * * *", "mean_age_seconds": None, "oldest_seconds": None} == two
    assert (one["requests_a_poll"], one["mean_age_seconds"], one["oldest_seconds"]) == (14, 150, 310)
    said = command("tenants", "compare")
    assert widest(said.out) <= 80
    assert "2.5 min" in said.words
