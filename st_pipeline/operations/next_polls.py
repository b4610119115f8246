"""When each tenant is polled next, or why it is not.

Here: each tenant's schedule as people read it. Not here: what a schedule means (tenants/), keeping it (postgres/).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from st_pipeline.postgres import tenant_schedules
from st_pipeline.protocol import Mode
from st_pipeline.settings import Settings
from st_pipeline.tenants.selection import FEEDS, next_poll, why_skipped
from st_pipeline.tenants.store import Tenant, all_tenants


def next_due(connection: Connection, settings: Settings, tenants: Sequence[Tenant]) -> dict[str, Any]:
    """How many tenants the next schedule tick polls; of the others, from when or why not."""
    now = datetime.now(UTC)
    known, polls = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    every_tick, later, skipped = 0, {}, {}
    for tenant in tenants:
        schedule = known.get(tenant.credential_id, tenant_schedules.DEFAULT)
        due_from = next_poll(schedule.poll_minutes, polls.get(tenant.credential_id))
        why = why_skipped(tenant, schedule, None, now, Mode.INCREMENTAL)
        if why is not None:
            skipped[tenant.partition_key] = why
        elif due_from is not None and due_from > now:
            later[tenant.partition_key] = due_from.isoformat()
        else:
            every_tick += 1
    return {
        "cron": settings.incremental_cron,
        "with_next_tick": every_tick,
        "later": later,
        "skipped": skipped,
        "left_alone": skipped,  # the old name of `skipped`, until 0.2
    }


def schedules(connection: Connection, settings: Settings) -> list[dict[str, Any]]:
    """Every tenant with its schedule, its last poll and the next, or why scheduled syncs skip it."""
    known, polls = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    now = datetime.now(UTC)
    rows = []
    for tenant in all_tenants(connection):
        schedule = known.get(tenant.credential_id, tenant_schedules.DEFAULT)
        last_poll = polls.get(tenant.credential_id)
        due_from = next_poll(schedule.poll_minutes, last_poll)
        in_future = due_from if due_from is not None and due_from > now else None
        skipped = why_skipped(tenant, schedule, None, now, Mode.INCREMENTAL)
        rows.append(
            {
                "tenant": tenant.partition_key,
                "polled": "every tick" if schedule.poll_minutes is None else f"every {schedule.poll_minutes} min",
                "poll_minutes": schedule.poll_minutes,
                "nightly_full": schedule.nightly_full is not False,
                "paused_at": schedule.paused_at,
                "paused_because": schedule.paused_because,
                "cron": settings.incremental_cron,
                "last_poll": last_poll,
                "next_poll": in_future,
                "skipped_because": skipped,
                # Old names of the three above, until 0.2.
                "last_look": last_poll,
                "next_look": in_future,
                "left_alone": skipped,
            }
        )
    return rows
