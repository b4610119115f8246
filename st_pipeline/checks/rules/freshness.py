"""Freshness: each tenant's data is as new as its own schedule promises.

Here: how late an entity or stream is. Not here: when tenants are polled (tenants/schedule.py).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status, Threshold
from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import switches, tenant_schedules
from st_pipeline.postgres.database import transaction
from st_pipeline.protocol import Mode
from st_pipeline.streams import STREAMS
from st_pipeline.tenants.schedule import INSTANT, Grid, next_slot
from st_pipeline.tenants.selection import why_skipped
from st_pipeline.tenants.store import TENANTS, Tenant

NAME, LATE_MINUTES, LOAD_HOURS = "freshness", "late_minutes", "first_load_hours"
# Lists without a feed, which polls skip for an hour, and the streams that wait for them.
LISTS = frozenset(name for name, spec in ENTITIES.items() if spec.feed_path is None)
RESTING = LISTS | {name for name, stream in STREAMS.items() if not LISTS.isdisjoint(stream.after)}
WORST = 5  # entities in the message
LONGEST_IN_MINUTES, LONGEST_IN_HOURS = 180, 72

# Only what may be late: nothing while all is well, and what rests.
QUERY = """
    SELECT c.credential_id, c.entity, m.complete_through, c.last_failed_at
    FROM sync_cursors c JOIN completeness m USING (credential_id, entity)
    WHERE c.credential_id = ANY(:ids) AND (
        m.complete_through < CASE WHEN c.entity = ANY(:resting) THEN CAST(:rests_since AS timestamptz)
                                  ELSE CAST(:since AS timestamptz) END
        OR (m.complete_through IS NULL AND c.last_failed_at IS NOT NULL))
"""
KNOWN = """
    SELECT k.id AS credential_id, k.created_at, s.updated_at AS rescheduled_at
    FROM servicetitan_credentials k LEFT JOIN tenant_schedules s ON s.credential_id = k.id WHERE k.id = ANY(:ids)
"""
# When schedules began to sync again what was switched off or disabled.
RESUMED = """
    SELECT tenant, details ->> 'scope' AS scope, details ->> 'name' AS name, max(at) AS at FROM audit_log
    WHERE action IN ('switch.on', 'credentials.enable') AND result = 'done' AND at > :now - interval '7 days'
    GROUP BY 1, 2, 3
"""


def late(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant: its entities and streams that are later than its schedule promises, the latest first."""
    with transaction(asked.engine, "read the tenants' schedules") as connection:
        schedules = tenant_schedules.load_all(connection, asked.credential_ids)
        off = switches.load(connection)
    rows: Sequence[Sequence[Any]] = asked.rows(f"{TENANTS} WHERE credential_id = ANY(:ids)")
    tenants = {tenant.credential_id: tenant for tenant in (Tenant(*row) for row in rows)}
    found = _candidates(asked)
    known = {row.credential_id: row for row in asked.rows(KNOWN)}
    resumed = asked.rows(RESUMED) if found else ()
    grid, off_for_all = Grid.of(asked.settings), frozenset(one.name for one in off.off if one.scope == "entity")
    for credential_id, _ in asked.tenants:
        if credential_id not in tenants or credential_id not in known:  # removed meanwhile
            continue
        tenant, of_tenant = tenants[credential_id], known[credential_id]
        schedule = schedules.get(credential_id, tenant_schedules.DEFAULT)
        skipped = None
        if not tenant.is_suspended(asked.now):
            skipped = why_skipped(tenant, schedule, off, None, asked.now, Mode.INCREMENTAL)
        if skipped is not None:
            yield Finding(credential_id, TENANT, Status.NOT_CHECKABLE, f"Schedules skip it: {skipped}.")
            continue
        without = _with_streams(off_for_all.union(schedule.entities_off or ()))
        old = [row for row in found.get(credential_id, ()) if row.entity not in without]
        minutes = {}
        for row in old:
            begins = _counted_from(row, of_tenant, _resumed_at(resumed, tenant, row.entity), asked)
            slot = None if begins is None else next_slot(schedule, grid.of_tenant(tenant.partition_key), begins)
            allowed = asked.thresholds.value(credential_id, row.entity, NAME, LATE_MINUTES)
            if slot is not None and asked.now - slot > timedelta(minutes=allowed):
                minutes[row.entity] = (asked.now - slot).total_seconds() / 60
        yield _finding(tenant, minutes, {row.entity: row.complete_through for row in old}, of_tenant, asked)


def _with_streams(entities: frozenset[str]) -> frozenset[str]:
    """What is switched off, and the streams that are only as complete as one of these."""
    return entities | {name for name, stream in STREAMS.items() if not entities.isdisjoint(stream.after)}


def _candidates(asked: CheckInput) -> dict[int, list[Any]]:
    """What is so old that it may be late, by credential."""
    since = asked.now - timedelta(minutes=asked.thresholds.smallest(NAME, LATE_MINUTES))
    found: dict[int, list[Any]] = {}
    for row in asked.rows(QUERY, resting=list(RESTING), since=since, rests_since=since - _rest(asked)):
        found.setdefault(row.credential_id, []).append(row)
    return found


def _rest(asked: CheckInput) -> timedelta:
    return timedelta(minutes=asked.settings.reference_poll_minutes)


def _resumed_at(resumed: Sequence[Any], tenant: Tenant, entity: str) -> datetime | None:
    """When schedules last began again to sync this entity of the tenant."""
    mine = {
        ("everything", ""),
        ("environment", tenant.environment),
        ("company", tenant.company),
        ("entity", entity),
    }
    return max((one.at for one in resumed if one.tenant == tenant.partition_key or (one.scope, one.name) in mine),
               default=None)  # fmt: skip


def _counted_from(row: Any, of_tenant: Any, resumed_at: datetime | None, asked: CheckInput) -> datetime | None:
    """From when the entity's next read was to come; None: its first load may take a while yet."""
    if row.complete_through is None:
        hours = asked.thresholds.value(row.credential_id, row.entity, NAME, LOAD_HOURS)
        loaded_by: datetime = of_tenant.created_at + timedelta(hours=hours)
        return loaded_by if loaded_by < asked.now else None
    begins: datetime = row.complete_through + (_rest(asked) - INSTANT if row.entity in RESTING else timedelta())
    return max(one for one in (begins, of_tenant.rescheduled_at, resumed_at) if one is not None)


def _finding(
    tenant: Tenant, minutes: dict[str, float], complete: dict[str, Any], of_tenant: Any, asked: CheckInput
) -> Finding:
    ids = tenant.credential_id, TENANT
    if not minutes and tenant.last_sync_at is None:
        hours = asked.thresholds.value(tenant.credential_id, TENANT, NAME, LOAD_HOURS)
        if asked.now - of_tenant.created_at <= timedelta(hours=hours):
            return Finding(*ids, Status.NOT_CHECKABLE, "It is new: nothing was read yet.")
        message = f"Nothing was read in {hours:g} hours since it was added."
        return Finding(*ids, Status.FAILED, message, {"created_at": of_tenant.created_at.isoformat()})
    if not minutes:
        return Finding(*ids, Status.PASSED, "Everything was read when its schedule promised.")
    worst = sorted(minutes, key=lambda name: (-minutes[name], name))
    figures = {
        "late_minutes": round(minutes[worst[0]], 1),
        "entities": {
            name: {
                "late_minutes": round(minutes[name], 1),
                "complete_through": None if complete[name] is None else complete[name].isoformat(),
            }
            for name in worst
        },
    }
    named = ", ".join(worst[:WORST]) + (f" and {len(worst) - WORST} more" if len(worst) > WORST else "")
    are = "1 of its tables is late, by" if len(worst) == 1 else f"{len(worst)} of its tables are late, the latest by"
    message = f"{are} {_in_words(minutes[worst[0]])}: {named}."
    return Finding(*ids, Status.FAILED, message, figures)


def _in_words(minutes: float) -> str:
    hours = minutes / 60
    if hours < LONGEST_IN_MINUTES / 60:
        return f"{minutes:.0f} minutes"
    return f"{hours:.0f} hours" if hours < LONGEST_IN_HOURS else f"{hours / 24:,.0f} days"


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.ERROR,
        description="Every entity and stream was read to its end when the tenant's schedule promised. The days, hours "
        "and holidays that it leaves out do not count.",
        advice="`st-pipeline sync-status` shows what fails or runs; `st-pipeline doctor` whether Dagster's daemon and "
        "the API answer.",
        thresholds=(
            Threshold(LATE_MINUTES, 30, "Minutes that a read may end after the time of its schedule."),
            Threshold(LOAD_HOURS, 24, "Hours that a first load may take before it counts as late."),
        ),
        rule=late,
        is_time_driven=True,
    ),
)
