"""In which order a night's full syncs run, and when each is expected to start.

Here: the order and the times. Not here: the table (postgres/), doing them (sync/).
"""

import heapq
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from st_pipeline.postgres import night_plan
from st_pipeline.postgres.night_plan import Candidate, Place
from st_pipeline.settings import Settings

# Of a tenant whose full syncs never ended.
UNKNOWN_SECONDS = 60.0
NOON = timedelta(hours=12)


def night_of(moment: datetime, zone: tzinfo = UTC) -> date:
    """The night that a moment belongs to: from noon to noon, named after the day it ends on."""
    return (moment.astimezone(zone) + NOON).date()


def plan_night(connection: Connection, settings: Settings, begins_at: datetime) -> int:
    """Plan the night, if that has not been done. Returns for how many tenants."""
    night = night_of(begins_at, settings.time_zone)
    places = placed(night_plan.candidates(connection, night), begins_at, settings.night_workers)
    night_plan.save(connection, night, places)
    return len(places)


def placed(candidates: Sequence[Candidate], begins_at: datetime, workers: int) -> list[Place]:
    """Their places: what an earlier night left over first, then the large ones.

    The large ones first: whatever is begun last is small then, and all workers end at about the same time.
    """
    expected = {one.credential_id: one.took_seconds or UNKNOWN_SECONDS for one in candidates}
    ordered = sorted(
        candidates, key=lambda one: (not one.is_left_over, -expected[one.credential_id], one.partition_key)
    )
    free_at = [begins_at] * workers
    places = []
    for number, one in enumerate(ordered, 1):
        starts_at = heapq.heappop(free_at)
        seconds = expected[one.credential_id]
        heapq.heappush(free_at, starts_at + timedelta(seconds=seconds))
        places.append(Place(one.credential_id, number, starts_at, seconds))
    return places
