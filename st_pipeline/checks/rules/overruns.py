"""Overruns: a sync that runs longer than one of its kind may.

Here: how long each may run. Not here: ending a sync, which its own time limits do (sync/).
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status, Threshold

NAME = "overruns"
POLL, FULL, TIMES, FIRST = "poll_minutes", "full_minutes", "full_times", "first_load_hours"

# What runs now is little; for a full sync also how long the tenant's last one took.
QUERY = """
    SELECT l.credential_id, l.mode, l.sync_type, l.started_at,
           extract(epoch FROM :now - l.started_at)::float8 / 60 AS minutes, last.minutes AS last_minutes,
           l.mode = 'full' AND last.minutes IS NULL AS is_first,
           (SELECT array_agg(e.entity ORDER BY e.entity) FROM sync_log_entities e
            WHERE e.sync_log_id = l.id AND e.status = 'running') AS entities
    FROM servicetitan_sync_logs l
    LEFT JOIN LATERAL (
        SELECT p.duration_seconds / 60 AS minutes FROM servicetitan_sync_logs p
        WHERE p.credential_id = l.credential_id AND p.id < l.id AND p.mode = 'full' AND p.status = 'completed'
        ORDER BY p.id DESC LIMIT 1) last ON l.mode = 'full'
    WHERE l.status = 'running' AND l.credential_id = ANY(:ids)
    ORDER BY l.started_at
"""


def overruns(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant: its longest sync that is over its time."""
    found: dict[int, Any] = {}
    for row in asked.rows(QUERY):
        if row.minutes > _allowed_minutes(row, asked):
            found.setdefault(row.credential_id, row)
    for credential_id, _ in asked.tenants:
        if credential_id not in found:
            yield Finding(credential_id, TENANT, Status.PASSED, "No sync runs past its time.")
            continue
        row = found[credential_id]
        allowed = _allowed_minutes(row, asked)
        kind = "first load" if row.is_first else f"{row.sync_type} {row.mode} sync"
        at = f", at {', '.join(row.entities)}" if row.entities else ""
        figures = {
            "running_minutes": round(row.minutes, 1),
            "allowed_minutes": round(allowed, 1),
            "began_at": row.started_at.isoformat(),
            "entities": {name: {} for name in row.entities or ()},
        }
        message = f"A {kind} has been running for {row.minutes:,.0f} minutes{at}; {allowed:,.0f} are allowed."
        yield Finding(credential_id, TENANT, Status.FAILED, message, figures)


def _allowed_minutes(row: Any, asked: CheckInput) -> float:
    def threshold(name: str) -> float:
        return asked.thresholds.value(row.credential_id, TENANT, NAME, name)

    if row.is_first:
        return timedelta(hours=threshold(FIRST)).total_seconds() / 60
    if row.mode == "incremental" and row.sync_type == "scheduled":
        return threshold(POLL)
    return max(threshold(FULL), threshold(TIMES) * (row.last_minutes or 0))


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.WARN,
        description="No sync of the tenant runs longer than one of its kind may.",
        advice="`st-pipeline sync-status --running-only` shows how far it is, `st-pipeline logs` what it waits for. "
        "Slow pages of the API show as long requests; a sync that should end can be cancelled in Dagster's UI.",
        thresholds=(
            Threshold(
                POLL, 10, "Minutes that a poll may run. It ends by itself after ST_PIPELINE_POLL_TENANT_SECONDS."
            ),
            Threshold(FULL, 60, "Minutes that a full sync, or one by hand, may run in any case."),
            Threshold(TIMES, 3, "How many times as long as its last full sync a tenant's full sync may run."),
            Threshold(FIRST, 24, "Hours that a first load may run."),
        ),
        rule=overruns,
        is_time_driven=True,
    ),
)
