"""Runs whose process is gone: the machine lost its power, or the container was removed.

Here: finding and failing them, so that their tenants are polled again. Without this they would count as running until
Dagster's own limits: 15 minutes for a poll, six hours for a full sync. Not here: the sync log's rows of such a run
(postgres/).
"""

import time
import uuid

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.postgres import run_sessions
from st_pipeline.postgres.database import transaction
from st_pipeline.runs.tags import PREFIX, WORKER_TAG

# A living run has no session for some seconds before its body begins and after it ended, and, after a restart of
# Postgres, until its request at hand has ended.
SILENT_SECONDS = 180.0
# A worker that polls has a session all the time, that of its number's lock: as the sensor looks twice a minute, the
# number of a dead one is free within a minute.
WORKER_SILENT_SECONDS = 25.0
# Between two tries a run pauses for RETRY_DELAY_SECONDS, then for twice as long; jitter may double each.
PAUSED_SECONDS = 480.0
PAUSE = dg.DagsterEventType.STEP_UP_FOR_RETRY
MESSAGE = (
    "its process is gone: it has no database session, and has logged nothing for minutes. What is committed stays; "
    "the next sync continues from there"
)


def fail_abandoned(instance: dg.DagsterInstance, engine: Engine, now: float | None = None) -> list[str]:
    """Fail our runs that have no database session and are silent. Returns their ids. `now`: Unix time."""
    runs = {
        uuid.UUID(run.run_id): run
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        if any(tag.startswith(f"{PREFIX}/") for tag in run.tags)  # other jobs do not use our database
    }
    if not runs:
        return []
    with transaction(engine, "look for runs whose process is gone") as connection:
        gone = runs.keys() - run_sessions.living_runs(connection, runs)
    now = time.time() if now is None else now
    failed = [runs[run_id] for run_id in gone if _is_silent(instance, runs[run_id], now)]
    for run in failed:
        instance.report_run_failed(run, MESSAGE)
    return [run.run_id for run in failed]


def _is_silent(instance: dg.DagsterInstance, run: dg.DagsterRun, now: float) -> bool:
    """Whether it has logged nothing for longer than a living run without a session would."""
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    if not last:
        return False
    event = last[0].event_log_entry
    is_paused = event.is_dagster_event and event.get_dagster_event().event_type is PAUSE
    silent_seconds = WORKER_SILENT_SECONDS if WORKER_TAG in run.tags else SILENT_SECONDS
    return now - event.timestamp > (PAUSED_SECONDS if is_paused else silent_seconds)
