"""What the sync log says of runs that are being followed, while they run and when they have ended.

Here: the queries and the figures of each tenant. A Dagster run's id is also its sync's id. Not here: showing them
(cli/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.runs.follow import TenantRun
from st_pipeline.runs.tags import figures_of

FIGURES = ("processed", "successful", "failed", "created", "updated", "unchanged", "deleted")
_COLUMNS = ", ".join(f"l.records_{name}" for name in FIGURES)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a tenant's sync is. `done`: how many entities have ended; `entity`: the one being synced."""

    processed: int
    expected: int | None
    done: int
    entity: str | None
    entity_processed: int


def progress_of(connection: Connection, runs: Sequence[TenantRun]) -> dict[str, Progress]:
    """By run id, for the runs that have written something."""
    query = text("""
        SELECT l.dagster_run_id, l.records_processed, l.records_expected,
               (SELECT count(*) FROM sync_log_entities e WHERE e.sync_log_id = l.id AND e.status <> 'running'),
               r.entity, coalesce(r.records_processed, 0)
        FROM servicetitan_sync_logs l
        LEFT JOIN LATERAL (SELECT entity, records_processed FROM sync_log_entities
            WHERE sync_log_id = l.id AND status = 'running' ORDER BY started_at DESC LIMIT 1) r ON true
        WHERE l.status = 'running' AND l.sync_id = ANY(CAST(:runs AS uuid[]))
    """)
    return {run_id: Progress(*rest) for run_id, *rest in connection.execute(query, _bound(runs))}


def results_of(connection: Connection, runs: Sequence[TenantRun]) -> list[dict[str, Any]]:
    """One for each run. A poll that found nothing has no row in the sync log: its run's tags have the figures."""
    query = text(f"""
        SELECT l.dagster_run_id, l.id, l.message, {_COLUMNS},
               ARRAY(SELECT entity FROM sync_log_entities e WHERE e.sync_log_id = l.id AND e.status = 'failed'
                     ORDER BY e.started_at)
        FROM servicetitan_sync_logs l
        WHERE l.sync_id = ANY(CAST(:runs AS uuid[])) ORDER BY l.id
    """)  # noqa: S608 - constant column names
    logged = {run_id: rest for run_id, *rest in connection.execute(query, _bound(runs))}
    return [_result(run, logged.get(run.run_id or "")) for run in runs]


def _result(run: TenantRun, logged: list[Any] | None) -> dict[str, Any]:
    told = figures_of(run.state.tags) if run.state is not None else {}
    log_id, message, *rest = logged or [None, None, *(told.get(name, 0) for name in FIGURES), []]
    *figures, failed = rest
    began = run.began_at if run.began_at is not None else run.submitted_at
    return {
        "tenant": run.tenant,
        "credential_id": run.credential_id,
        "status": run.status,
        "message": run.message or message,
        "sync_log_id": log_id,
        "dagster_run_id": run.run_id,
        **{f"records_{name}": figure for name, figure in zip(FIGURES, figures, strict=True)},
        "failed_entities": failed,
        "seconds": round(run.ended_at - began, 1) if run.ended_at is not None and run.run_id else 0.0,
    }


def _bound(runs: Sequence[TenantRun]) -> dict[str, Any]:
    return {"runs": [run.run_id for run in runs if run.run_id is not None]}
