"""When a tenant is polled next."""

from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.tenant_schedules import DEFAULT, TenantSchedule
from st_pipeline.tenants.schedule import Grid, checked_cron, next_poll, next_slot

EVERY_FIVE = Grid("*/5 * * * *")


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
        moment = next_slot(TenantSchedule(poll_minutes=480), EVERY_FIVE, moment)
        slots.append(moment)
    assert slots == [at("00:00:00", 7), at("08:00:00", 7), at("16:00:00", 7), at("00:00:00", 8)]


def test_an_interval_of_a_week_ends_at_the_midnight_of_a_monday():
    monday = next_slot(TenantSchedule(poll_minutes=7 * 24 * 60), EVERY_FIVE, at("06:00:00", day=7))
    assert (monday, monday.isoweekday()) == (at("00:00:00", 12), 1)


@pytest.mark.parametrize(
    ("overtimes", "next_at"),
    [(0, "06:05:00"), (1, "06:05:00"), (2, "06:10:00"), (3, "06:15:00"), (4, "06:25:00"), (9, "07:05:00"),
     (30000, "07:05:00")],
)  # fmt: skip
def test_a_tenant_that_keeps_using_up_its_time_is_asked_at_growing_intervals(overtimes: int, next_at: str):
    assert next_poll(DEFAULT, EVERY_FIVE, at("06:03:10"), overtimes) == at(next_at)


@pytest.mark.parametrize("written", ["", "every minute", "* * *", "61 * * * *", "0 0 30 2 *"])
def test_a_cron_expression_that_is_wrong_or_never_comes_is_refused(written: str):
    with pytest.raises(ConfigurationError, match="is not a valid cron expression"):
        checked_cron(written, "the schedule")
