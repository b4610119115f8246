"""The plan of the nightly full syncs, as people read it: the night that is running, or the one to come.

Here: the plan as values, before it is made as after. Not here: making it (tenants/), printing it (cli/).
"""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cronsim import CronSim
from sqlalchemy import Connection

from st_pipeline.postgres import night_plan
from st_pipeline.postgres.night_plan import Planned
from st_pipeline.settings import Settings
from st_pipeline.tenants.night_plan import night_of, placed
from st_pipeline.tenants.schedule import checked_cron


@dataclass(frozen=True, slots=True)
class Row:
    """A tenant's place. `state`: planned, running, done, left over, failed, or tried again at a time."""

    tenant: str
    state: str
    starts_at: datetime
    expected_seconds: float
    took_seconds: float
    done: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Night:
    """A night. `is_made`: its plan is stored; otherwise it is what would be planned now."""

    night: date
    begins_at: datetime
    ends_at: datetime
    workers: int
    is_made: bool
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "night": self.night.isoformat()}


def read_night(connection: Connection, settings: Settings, now: datetime | None = None) -> Night:
    """The night whose plan is stored, while it is not over; otherwise the next one."""
    now = now or datetime.now(UTC)
    planned = night_plan.load(connection)
    tonight = night_of(now, settings.time_zone)
    if any(one.night == tonight or one.ended_at is None for one in planned):
        rows = tuple(Row(one.partition_key, _state(one, now), one.starts_at, one.expected_seconds, one.took_seconds,
                         len(one.done), tuple(one.failed)) for one in planned)  # fmt: skip
        return _night(max(one.night for one in planned), min(row.starts_at for row in rows), settings, rows)
    begins_at = next_night(settings, now)
    night = night_of(begins_at, settings.time_zone)
    found = night_plan.candidates(connection, night)
    names = {one.credential_id: one.partition_key for one in found}
    rows = tuple(
        Row(names[place.credential_id], "planned", place.starts_at, place.expected_seconds, 0.0, 0)
        for place in placed(found, begins_at, settings.night_workers)
    )
    return _night(night, begins_at, settings, rows, is_made=False)


def next_night(settings: Settings, now: datetime) -> datetime:
    """When the next night begins."""
    cron = checked_cron(settings.full_cron, "ST_PIPELINE_FULL_CRON")
    begins_at: datetime = next(CronSim(cron, now.astimezone(settings.time_zone)))
    return begins_at.astimezone(UTC)


def _night(
    night: date, begins_at: datetime, settings: Settings, rows: tuple[Row, ...], *, is_made: bool = True
) -> Night:
    ends = [row.starts_at + timedelta(seconds=row.expected_seconds) for row in rows]
    return Night(night, begins_at, max(ends, default=begins_at), settings.night_workers, is_made, rows)


def _state(one: Planned, now: datetime) -> str:
    if one.ended_at is not None:
        return f"failed: {', '.join(one.failed)}" if one.failed else "done"
    if one.claimed_until is not None and one.claimed_until > now:
        return "running"
    if one.not_before is not None and one.not_before > now:
        return f"tried again at {one.not_before.astimezone(UTC):%H:%M} UTC"
    return "continues" if one.done or one.took_seconds else "planned"
