"""When a tenant is polled next, by its own schedule or by everyone's.

Here: pure functions of a schedule and a time. Not here: the tables (postgres/), who claims whom (sync/).

Every schedule is a grid of fixed times, and a poll is due at the next of them: neither a long poll nor a late one
shifts those that follow. Days, hours and holidays may be left out of it.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import cache
from typing import Any, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.tenant_schedules import TenantSchedule
from st_pipeline.settings import Settings, variable_name

# From where intervals are counted: midnight UTC, and for those that do not divide a day the midnight of a Monday.
ORIGIN = datetime(2001, 1, 1, tzinfo=UTC)
# A tenant that used up its time twice in a row is asked after a pause, which doubles each time.
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)
# A schedule that leaves out every one of its times is refused; one that got into the table otherwise waits so long.
NO_SLOT_FOR = timedelta(days=1)
TRIES = 500  # times that are left out, one after the other, before a schedule counts as one that never comes


@dataclass(frozen=True, slots=True)
class Grid:
    """The times at which tenants without a schedule of their own are polled, and the zone in which all are meant.

    `second_half`: other times for half of the tenants.
    """

    cron: str
    zone: ZoneInfo
    second_half: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Everyone's. Raises ConfigurationError that names the setting."""
        crons = [getattr(settings, name) for name in ("incremental_cron", "second_half_cron")]
        cron = checked_cron(crons[0], variable_name("incremental_cron"))
        second = checked_cron(crons[1], variable_name("second_half_cron")) if crons[1] else None
        return cls(cron, settings.time_zone, second)

    def of_tenant(self, tenant: str) -> "Grid":
        """The times of a tenant, by its partition key."""
        return self.of_half(half_of(tenant))

    def of_half(self, half: int) -> "Grid":
        """The times of the first or the second half of the tenants."""
        return self if half == 1 or self.second_half is None else Grid(self.second_half, self.zone)

    def after(self, moment: datetime, cron: str | None = None) -> datetime:
        """The first of the times after the moment, or of those of another expression."""
        slot: datetime = next(CronSim(cron or self.cron, moment.astimezone(self.zone)))
        return slot.astimezone(UTC)


def half_of(tenant: str) -> int:
    """1 or 2: to which half of all tenants it belongs, by a hash of its partition key. It always stays the same."""
    return 1 + zlib.crc32(tenant.encode()) % 2


def checked_cron(written: str, name: str) -> str:
    """The expression. Raises ConfigurationError when it is not valid, or never comes."""
    try:
        next(CronSim(written, ORIGIN))
    except (CronSimError, StopIteration):
        raise ConfigurationError(
            f"{name}: {written!r} is not a valid cron expression; write five fields, such as */5 * * * *"
        ) from None
    return written


def checked_holidays(code: str) -> str:
    """A country's code, or that of a part of it. Raises ConfigurationError when its holidays are not known."""
    try:
        _holidays(code)
    except NotImplementedError:
        raise ConfigurationError(
            f"the holidays of {code!r} are not known: write a country, such as US, or a part of it, such as US-TX"
        ) from None
    return code


def next_poll(tenant: str, schedule: TenantSchedule, grid: Grid, ended_at: datetime, overtimes: int = 0) -> datetime:
    """When a tenant is due after a poll. `grid`: everyone's, of which it takes its half's times.

    `overtimes`: polls in a row, with this one, that used up their time.
    """
    after = ended_at + pause(overtimes)
    return next_slot(schedule, grid.of_tenant(tenant), after) or after + NO_SLOT_FOR


def pause(overtimes: int) -> timedelta:
    """How long a tenant that keeps using up its time waits, at least."""
    return timedelta() if overtimes <= 1 else min(FIRST_PAUSE * 2.0 ** min(overtimes - 2, 20), LONGEST_PAUSE)


def next_slot(schedule: TenantSchedule, grid: Grid, after: datetime) -> datetime | None:
    """The first time after `after` at which the tenant is to be polled. None: all its times are left out."""
    for _ in range(TRIES):
        slot = _next_of_all(schedule, grid, after)
        ends_at = left_out_until(schedule, grid.zone, slot)
        if ends_at is None:
            return slot
        after = ends_at - INSTANT
    return None


def _next_of_all(schedule: TenantSchedule, grid: Grid, after: datetime) -> datetime:
    """The next of its times, left out or not."""
    if schedule.poll_minutes is not None:
        interval = timedelta(minutes=schedule.poll_minutes)
        return ORIGIN + ((after - ORIGIN) // interval + 1) * interval
    return grid.after(after, schedule.poll_cron)


def left_out_until(schedule: TenantSchedule, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """When the day or the hours end that the tenant leaves out at this moment. None: it leaves out neither."""
    local = moment.astimezone(zone)
    if local.isoweekday() in (schedule.skip_days or ()) or _is_holiday(schedule.skip_holidays, local.date()):
        return _at(local.date() + DAY, time_of_day(), zone)
    begins, ends = schedule.skip_from, schedule.skip_until
    if begins is None or ends is None:
        return None
    now = local.time()
    if begins < ends:
        return _at(local.date(), ends, zone) if begins <= now < ends else None
    if now >= begins:
        return _at(local.date() + DAY, ends, zone)
    return _at(local.date(), ends, zone) if now < ends else None


def _at(day: date, clock: time_of_day, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


def _is_holiday(code: str | None, day: date) -> bool:
    return code is not None and day in _holidays(code)


@cache
def _holidays(code: str) -> Any:
    """Raises NotImplementedError: an unknown country, or an unknown part of it."""
    import holidays  # 0.3 s, which only those pay who leave out holidays

    country, _, part = code.partition("-")
    return holidays.country_holidays(country, subdiv=part or None)
