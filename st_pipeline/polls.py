"""What a scheduled poll leaves out, and what it finds worth telling.

Here: which lists rest until they are due, when an unchanged entity is reported all the same. Not here: when polls run
(defs/schedules.py), how an entity is synced (sync.py).
"""

from datetime import UTC, datetime, timedelta

from st_pipeline.data_types import SYNCED
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.records import Mode
from st_pipeline.settings import Settings
from st_pipeline.sync_configuration import SyncConfiguration


def is_poll(configuration: SyncConfiguration) -> bool:
    """Is it a scheduled look at what changed? A person's sync leaves nothing out."""
    return configuration.sync_type == "scheduled" and configuration.mode is Mode.INCREMENTAL


def rests(name: str, cursor: Cursor, settings: Settings) -> bool:
    """Does a poll leave this entity alone?

    A list without a feed is read whole or from an hour back, however little changed, and it changes once in weeks. One
    that failed is looked at again with the next poll.
    """
    spec = SYNCED[name]
    if not isinstance(spec, EntitySpec) or spec.feed_path is not None or cursor.last_failed_at is not None:
        return False
    return _is_within(cursor.last_polled_at, settings.reference_poll_minutes)


def is_due(cursor: Cursor, settings: Settings) -> bool:
    """Is an entity that did not change to be reported all the same? A failed one always: it may have recovered."""
    return cursor.last_failed_at is not None or not _is_within(
        cursor.last_reported_at, settings.report_unchanged_minutes
    )


def _is_within(moment: datetime | None, minutes: float) -> bool:
    return moment is not None and datetime.now(UTC) - moment < timedelta(minutes=minutes)
