"""When each tenant is polled next, or why it is not.

Here: each tenant's schedule as people read it. Not here: what a schedule means (tenants/), keeping it (postgres/).
"""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import api_pauses, poll_claims, switches, tenant_schedules
from st_pipeline.postgres.tenant_schedules import TenantSchedule
from st_pipeline.protocol import Mode
from st_pipeline.settings import Settings
from st_pipeline.tenants.schedule import Grid, next_slot
from st_pipeline.tenants.selection import FEEDS, why_skipped
from st_pipeline.tenants.store import Tenant, all_tenants


def next_due(connection: Connection, settings: Settings, tenants: Sequence[Tenant]) -> dict[str, Any]:
    """How many tenants the next schedule tick polls; of the others, from when or why not."""
    now = datetime.now(UTC)
    tick = Grid.of(settings).after(now)
    known, polls = tenant_schedules.load_all(connection), poll_claims.load_all(connection)
    off, paused = switches.load(connection), api_pauses.current(connection)
    every_tick, later, skipped = 0, {}, {}
    for tenant in tenants:
        poll = polls.get(tenant.credential_id)
        schedule = known.get(tenant.credential_id, tenant_schedules.DEFAULT)
        why = why_skipped(tenant, schedule, off, None, now, Mode.INCREMENTAL)
        if why is not None:
            skipped[tenant.partition_key] = why
        elif poll is not None and poll.due_at > tick:
            later[tenant.partition_key] = poll.due_at.isoformat()
        else:
            every_tick += 1
    return {
        "cron": settings.incremental_cron,
        "with_next_tick": every_tick,
        "later": later,
        "skipped": skipped,
        "left_alone": skipped,  # the old name of `skipped`, until 0.2
        "switched_off": [str(one) for one in off.off],
        "paused_for_all": [str(one) for one in paused],
    }


def schedules(connection: Connection, settings: Settings) -> list[dict[str, Any]]:
    """Every tenant with its schedule, its last poll and the next, or why scheduled syncs skip it."""
    known, polls = tenant_schedules.load_all(connection), poll_claims.load_all(connection)
    synced, off = tenant_schedules.last_polls(connection, FEEDS), switches.load(connection)
    now = datetime.now(UTC)
    tick = Grid.of(settings).after(now)
    rows = []
    for tenant in all_tenants(connection):
        schedule = known.get(tenant.credential_id, tenant_schedules.DEFAULT)
        poll = polls.get(tenant.credential_id)
        last = last_poll(poll, synced.get(tenant.credential_id))
        in_future = poll.due_at if poll is not None and poll.due_at > tick else None
        skipped = why_skipped(tenant, schedule, off, None, now, Mode.INCREMENTAL)
        rows.append(
            {
                "tenant": tenant.partition_key,
                "polled": in_words(schedule),
                "poll_minutes": schedule.poll_minutes,
                "poll_cron": schedule.poll_cron,
                "skip_days": list(schedule.skip_days or ()),
                "skip_from": schedule.skip_from,
                "skip_until": schedule.skip_until,
                "skip_holidays": schedule.skip_holidays,
                "entities_off": list(schedule.entities_off or ()),
                "nightly_full": schedule.nightly_full is not False,
                "paused_at": schedule.paused_at,
                "paused_because": schedule.paused_because,
                "cron": settings.incremental_cron,
                "last_poll": last,
                "next_poll": in_future,
                "skipped_because": skipped,
                # Old names of the three above, until 0.2.
                "last_look": last,
                "next_look": in_future,
                "left_alone": skipped,
            }
        )
    return rows


def in_words(schedule: TenantSchedule) -> str:
    """When a tenant is polled, and what of it."""
    if schedule.poll_cron is not None:
        parts = [f"at {schedule.poll_cron}"]
    else:
        parts = ["every tick" if schedule.poll_minutes is None else f"every {schedule.poll_minutes} min"]
    if schedule.skip_days:
        parts.append(f"not on {', '.join(calendar.day_abbr[day - 1] for day in schedule.skip_days)}")
    if schedule.skip_from is not None:
        parts.append(f"not {schedule.skip_from:%H:%M}-{schedule.skip_until:%H:%M}")
    if schedule.skip_holidays is not None:
        parts.append(f"not on holidays of {schedule.skip_holidays}")
    if schedule.entities_off:
        parts.append(f"without {', '.join(schedule.entities_off)}")
    return "; ".join(parts)


def move_next_poll(connection: Connection, settings: Settings, tenant: Tenant) -> None:
    """After its schedule was changed: the tenant is due at the first time of the new one after its last poll.

    Raises ConfigurationError: the schedule leaves out all of its times.
    """
    schedule = tenant_schedules.load_all(connection).get(tenant.credential_id, tenant_schedules.DEFAULT)
    poll = poll_claims.load_all(connection).get(tenant.credential_id)
    last = last_poll(poll, tenant_schedules.last_polls(connection, FEEDS).get(tenant.credential_id))
    grid = Grid.of(settings).of_tenant(tenant.partition_key)
    due_at = next_slot(schedule, grid, last or datetime.now(UTC))
    if due_at is None:
        raise ConfigurationError(
            f"tenant {tenant.partition_key} would never be polled: its schedule leaves out all of its times. Leave out "
            "fewer days or hours, or pause it with `st-pipeline tenants pause`"
        )
    poll_claims.set_due(connection, tenant.credential_id, due_at)


def last_poll(poll: poll_claims.Poll | None, synced_at: datetime | None) -> datetime | None:
    """The later of a tenant's last poll and its last sync of any kind."""
    times = (synced_at, None if poll is None else poll.polled_at)
    return max((time for time in times if time is not None), default=None)
