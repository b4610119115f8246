"""When a tenant is polled next, by its own schedule or by everyone's.

Here: pure functions of a schedule and a time. Not here: the tables (postgres/), who claims whom (sync/).

Every schedule is a grid of fixed times, and a poll is due at the next of them: neither a long poll nor a late one
shifts those that follow.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cronsim import CronSim, CronSimError

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.tenant_schedules import TenantSchedule
from st_pipeline.settings import Settings, variable_name

# From where intervals are counted: midnight UTC, and for those that do not divide a day the midnight of a Monday.
ORIGIN = datetime(2001, 1, 1, tzinfo=UTC)
# A tenant that used up its time twice in a row is asked after a pause, which doubles each time.
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The times at which tenants without an interval of their own are polled."""

    cron: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Everyone's. Raises ConfigurationError that names the setting."""
        return cls(checked_cron(settings.incremental_cron, variable_name("incremental_cron")))

    def after(self, moment: datetime) -> datetime:
        """The first of the times after the moment."""
        return next(CronSim(self.cron, moment.astimezone(UTC)))


def checked_cron(written: str, name: str) -> str:
    """The expression. Raises ConfigurationError when it is not valid, or never comes."""
    try:
        next(CronSim(written, ORIGIN))
    except (CronSimError, StopIteration):
        raise ConfigurationError(
            f"{name}: {written!r} is not a valid cron expression; write five fields, such as */5 * * * *"
        ) from None
    return written


def next_slot(schedule: TenantSchedule, grid: Grid, after: datetime) -> datetime:
    """The first time after `after` at which the tenant is to be polled."""
    if schedule.poll_minutes is None:
        return grid.after(after)
    interval = timedelta(minutes=schedule.poll_minutes)
    return ORIGIN + ((after - ORIGIN) // interval + 1) * interval


def next_poll(schedule: TenantSchedule, grid: Grid, ended_at: datetime, overtimes: int) -> datetime:
    """When a tenant is due after a poll. `overtimes`: polls in a row, with this one, that used up their time."""
    return next_slot(schedule, grid, ended_at + pause(overtimes))


def pause(overtimes: int) -> timedelta:
    """How long a tenant that keeps using up its time waits, at least."""
    return timedelta() if overtimes <= 1 else min(FIRST_PAUSE * 2.0 ** min(overtimes - 2, 20), LONGEST_PAUSE)
