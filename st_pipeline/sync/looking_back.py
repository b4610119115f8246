"""From which time a list, or a feed that starts again, is read once more.

Here: the time. Not here: reading (entity.py, look.py), the cursor it is computed from (postgres/).
"""

from datetime import UTC, datetime, timedelta

from st_pipeline.postgres.cursors import Cursor
from st_pipeline.validation.timestamps import parse_timestamp, written

EARLIEST = datetime.min.replace(tzinfo=UTC)  # also what .NET writes for "no date"


def looking_back(cursor: Cursor, minutes: float) -> str | None:
    """The time to read from again: inclusive, and a while before the newest record seen. None: from the beginning.

    No later than the last complete read began: one record dated in the future would hide all that follow it.
    """
    if cursor.newest_modified_on is None:
        return None
    newest = parse_timestamp(cursor.newest_modified_on)
    if cursor.complete_through is not None:
        newest = min(newest, cursor.complete_through)
    back = timedelta(minutes=minutes)
    return as_parameter(newest - back) if newest > EARLIEST + back else None


def as_parameter(value: datetime | None) -> str | None:
    """A time as ServiceTitan's parameters have it."""
    return None if value is None else written(value)
