"""When a tenant is polled next."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.tenant_schedules import DEFAULT, TenantSchedule
from st_pipeline.tenants.schedule import (
    Grid,
    checked_cron,
    checked_holidays,
    half_of,
    left_out_until,
    next_poll,
    next_slot,
)

EVERY_FIVE = Grid("*/5 * * * *", ZoneInfo("UTC"))
CHICAGO = Grid("*/5 * * * *", ZoneInfo("America/Chicago"))


def at(clock: str, day: int = 31) -> datetime:
    """A time in January 2026, UTC."""
    return datetime.combine(datetime(2026, 1, day, tzinfo=UTC), datetime.strptime(clock, "%H:%M:%S").time(), UTC)  # noqa: DTZ007


@pytest.mark.parametrize(
    ("minutes", "after", "slot"),
    [
        (None, "06:05:00", "06:10:00"),
        (None, "06:09:59", "06:10:00"),
        (30, "05:59:59", "06:00:00"),
        (30, "06:00:00", "06:30:00"),
        (60, "06:05:00", "07:00:00"),
    ],
)
def test_the_next_poll_is_at_the_next_time_of_the_tenant_s_grid(minutes: int | None, after: str, slot: str):
    """Neither a long poll nor a late one shifts those that follow."""
    assert next_slot(TenantSchedule(poll_minutes=minutes), EVERY_FIVE, at(after)) == at(slot)


def test_an_interval_that_divides_a_day_is_counted_from_midnight_utc():
    slots, moment = [], at("00:00:00", day=7) - timedelta(seconds=1)
    for _ in range(4):
        found = next_slot(TenantSchedule(poll_minutes=480), EVERY_FIVE, moment)
        assert found is not None
        moment = found
        slots.append(found)
    assert slots == [at("00:00:00", 7), at("08:00:00", 7), at("16:00:00", 7), at("00:00:00", 8)]


def test_an_interval_of_a_week_ends_at_the_midnight_of_a_monday():
    monday = next_slot(TenantSchedule(poll_minutes=7 * 24 * 60), EVERY_FIVE, at("06:00:00", day=7))
    assert monday == at("00:00:00", 12)
    assert monday.isoweekday() == 1


@pytest.mark.parametrize(
    ("overtimes", "next_at"),
    [(0, "06:05:00"), (1, "06:05:00"), (2, "06:10:00"), (3, "06:15:00"), (4, "06:25:00"), (9, "07:05:00"),
     (30000, "07:05:00")],
)  # fmt: skip
def test_a_tenant_that_keeps_using_up_its_time_is_asked_at_growing_intervals(overtimes: int, next_at: str):
    assert next_poll("acme", DEFAULT, EVERY_FIVE, at("06:03:10"), overtimes) == at(next_at)


@pytest.mark.parametrize("written", ["", "every minute", "* * *", "61 * * * *", "0 0 30 2 *"])
def test_a_cron_expression_that_is_wrong_or_never_comes_is_refused(written: str):
    with pytest.raises(ConfigurationError, match="is not a valid cron expression"):
        checked_cron(written, "the schedule")


CHICAGO_S = {  # what is left out, a time before it, and the next poll; in winter Chicago is six hours behind UTC
    "days": (TenantSchedule(skip_days=(6, 7)), "2026-01-31T05:57:00", "2026-02-02T06:00:00"),
    "hours past midnight": (
        TenantSchedule(skip_from=time(22), skip_until=time(5, 30)), "2026-01-31T03:57:00", "2026-01-31T11:30:00",
    ),
    "hours of a day": (
        TenantSchedule(skip_from=time(12), skip_until=time(13)), "2026-01-31T17:57:00", "2026-01-31T19:00:00",
    ),
    "a holiday": (TenantSchedule(skip_holidays="US"), "2026-12-25T05:57:00", "2026-12-26T06:00:00"),
    "a holiday of a state": (TenantSchedule(skip_holidays="US-TX"), "2026-03-02T05:57:00", "2026-03-03T06:00:00"),
    "a holiday after a weekend": (
        TenantSchedule(skip_days=(6, 7), skip_holidays="US"), "2026-09-05T04:57:00", "2026-09-08T05:00:00",
    ),
    "its own times": (TenantSchedule(poll_cron="0 7,19 * * *"), "2026-01-31T13:00:00", "2026-02-01T01:00:00"),
    "its own times without Sundays": (
        TenantSchedule(poll_cron="0 7 * * *", skip_days=(7,)), "2026-01-31T13:00:00", "2026-02-02T13:00:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("left_out", CHICAGO_S)
def test_days_hours_and_holidays_are_left_out_in_the_time_zone_of_the_settings(left_out: str):
    schedule, before, expected = CHICAGO_S[left_out]
    after = datetime.fromisoformat(before).replace(tzinfo=UTC)
    found = next_slot(schedule, CHICAGO, after)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert left_out_until(schedule, CHICAGO.zone, found) is None


def test_times_of_the_day_stay_when_the_clocks_change():
    """In Chicago from 8 March 2026, 02:00, on."""
    daily = TenantSchedule(poll_cron="0 7 * * *")
    saturday = datetime(2026, 3, 7, 13, tzinfo=UTC)
    assert next_slot(daily, CHICAGO, saturday) == datetime(2026, 3, 8, 12, tzinfo=UTC)


def test_a_schedule_that_leaves_out_all_its_times_has_no_next_one_and_is_asked_again_in_a_day():
    never = TenantSchedule(poll_cron="0 3 * * *", skip_from=time(22), skip_until=time(6))
    assert next_slot(never, CHICAGO, at("06:00:00")) is None
    assert next_poll("acme", never, CHICAGO, at("06:00:00")) == at("06:00:00") + timedelta(days=1)
    assert next_slot(TenantSchedule(skip_days=(1, 2, 3, 4, 5, 6, 7)), CHICAGO, at("06:00:00")) is None


@pytest.mark.parametrize("code", ["ZZ", "US-ZZ", "Texas", ""])
def test_holidays_of_an_unknown_place_are_refused(code: str):
    with pytest.raises(ConfigurationError, match="holidays"):
        checked_holidays(code)


def test_half_of_the_tenants_are_polled_at_other_times_and_always_the_same_half():
    halves = [half_of(f"company-{number}") for number in range(1000)]
    assert 450 < halves.count(1) < 550
    assert halves[:8] == [half_of(f"company-{number}") for number in range(8)] == [2, 2, 2, 2, 1, 1, 1, 1]
    both = Grid("*/5 * * * *", ZoneInfo("UTC"), "*/30 * * * *")
    for tenant, expected in (("company-4", "06:10:00"), ("company-0", "06:30:00")):
        assert next_slot(DEFAULT, both.of_tenant(tenant), at("06:05:00")) == at(expected)
        own = TenantSchedule(poll_minutes=60)
        assert next_slot(own, both.of_tenant(tenant), at("06:05:00")) == at("07:00:00")
    assert EVERY_FIVE.of_tenant("company-0") == EVERY_FIVE
