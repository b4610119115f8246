"""Which entities a sync of a tenant tries, and what a scheduled poll leaves out.

Here: which lists rest until they are due, what rests after failures, what waits for its first load. Not here: when
polls run (defs/), how an entity is looked at and synced (look.py, entity.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import NotTried, retry_may_help
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.protocol import Mode
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.entity_order import failed_last

LONGEST_REST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """The entities a sync of a tenant tries, in this order. `logged`: those that get a row even if nothing is found."""

    entities: tuple[str, ...]
    logged: frozenset[str]


def plan(
    configuration: SyncConfiguration,
    settings: Settings,
    known: Mapping[str, Cursor],
    *,
    first_loads: bool,
    without: Collection[str] = (),
    lists_polled_at: datetime | None = None,
) -> Plan:
    """What to try. `known`: the tenant's cursors. `first_loads` false: without what was never read to its end.

    `lists_polled_at`: when a poll last asked for all lists without a feed and found nothing.
    """
    held = {name: known.get(name, Cursor()) for name in configuration.entities if name not in without}
    names = failed_last([*held], {name for name, cursor in held.items() if cursor.last_failed_at is not None})
    if is_poll(configuration):
        names = [name for name in names if not rests(name, held[name], settings, lists_polled_at)]
    if not first_loads:
        loaded = {name for name, cursor in known.items() if cursor.last_full_at is not None}
        names = [name for name in names if not _waits_for_first_load(name, loaded)]
    is_quiet = is_poll(configuration)
    logged = frozenset(name for name in names if not is_quiet or held[name].last_failed_at is not None)
    return Plan(tuple(names), logged)


def resting(known: Mapping[str, Cursor], now: datetime, *, tested_at: datetime | None) -> frozenset[str]:
    """What keeps failing for a reason that no retry helps, such as a missing scope, and what cannot do without it.

    It is asked again after as long as it has been failing, up to an hour, and at once after a test of the credential.
    """
    found: set[str] = set()
    for name in filter(known.__contains__, SYNCED):  # what an entity depends on comes before it
        failed_at, since = known[name].last_failed_at, known[name].failing_since
        if failed_at is None:
            continue
        was_tested = tested_at is not None and tested_at >= failed_at
        pause = min(failed_at - (since or failed_at), LONGEST_REST)
        if (now < failed_at + pause and not was_tested and _no_retry_helps(known[name])) or found.intersection(
            SYNCED[name].after
        ):
            found.add(name)
    return frozenset(found)


def _no_retry_helps(cursor: Cursor) -> bool:
    """Is the failure one of its own? What was not tried waits for what it depends on, however long that takes."""
    kind = cursor.failure_kind
    return kind is not None and kind != NotTried.__name__ and not retry_may_help(kind)


def is_poll(configuration: SyncConfiguration) -> bool:
    """Is it a poll? A person's sync leaves nothing out."""
    return configuration.sync_type == "scheduled" and configuration.mode is Mode.INCREMENTAL


def rests(name: str, cursor: Cursor, settings: Settings, lists_polled_at: datetime | None = None) -> bool:
    """Does a poll skip this entity?

    A list without a feed is read whole or from an hour back, however little changed, and it changes once in weeks. One
    that failed is read again with the next poll.
    """
    spec = SYNCED[name]
    if not isinstance(spec, EntitySpec) or spec.feed_path is not None or cursor.last_failed_at is not None:
        return False
    moments = [moment for moment in (cursor.last_polled_at, lists_polled_at) if moment is not None]
    return bool(moments) and datetime.now(UTC) - max(moments) < timedelta(minutes=settings.reference_poll_minutes)


def _waits_for_first_load(name: str, loaded: Collection[str]) -> bool:
    """Was it never read to its end, or does a stream need what never was? Of several lists, one that was is enough.

    A load takes long, and a run of polls has other tenants who wait: it gets a run of its own (first_loads.py).
    """
    spec = SYNCED[name]
    if isinstance(spec, EntitySpec):
        return name not in loaded and not any(part.name in loaded for part in spec.lists)
    return any(_waits_for_first_load(before, loaded) for before in spec.after)
