"""Times of alerts: the zone in which people read them, quiet hours, the day of a digest.

Here: reckoning with the settings. Not here: what is sent then (queue.py).
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from st_pipeline.settings import Settings


def zone(settings: Settings) -> ZoneInfo:
    """The time zone of messages."""
    return settings.alert_time_zone or settings.time_zone


def end_of_quiet_hours(settings: Settings, now: datetime) -> datetime | None:
    """When the quiet hours end in which `now` lies; None when it lies in none."""
    if not settings.alert_quiet_hours:
        return None
    begin, end = map(time.fromisoformat, settings.alert_quiet_hours.split("-"))
    here = now.astimezone(zone(settings))
    at = here.time().replace(tzinfo=None)
    is_quiet = begin <= at < end if begin < end else at >= begin or at < end
    if not is_quiet:
        return None
    day = here.date() if at < end else here.date() + timedelta(days=1)
    return datetime.combine(day, end, here.tzinfo).astimezone(UTC)


def day_of_digest(settings: Settings, now: datetime) -> date | None:
    """The day whose digest is due by now; None when there are no digests, or it is too early in the day."""
    if not settings.alert_digest_time:
        return None
    here = now.astimezone(zone(settings))
    is_due = here.time().replace(tzinfo=None) >= time.fromisoformat(settings.alert_digest_time)
    return here.date() if is_due else None


def shown(settings: Settings, at: datetime) -> str:
    """A time for people: 2026-01-31 14:05 CST."""
    return at.astimezone(zone(settings)).strftime("%Y-%m-%d %H:%M %Z")


def lasting(seconds: float) -> str:
    """How long, in the two largest units: 25 minutes, 3 hours 10 minutes, 2 days 4 hours."""
    minutes = max(0, round(seconds / 60))
    amounts = ((minutes // 1440, "day"), (minutes % 1440 // 60, "hour"), (minutes % 60, "minute"))
    named = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in amounts if number]
    return " ".join(named[:2]) or "less than a minute"
