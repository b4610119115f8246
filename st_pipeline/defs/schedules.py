"""The schedules: polls every few minutes, full syncs every night.

Here: the runs that each tick launches, which are workers that claim their tenants. Not here: which tenants are due or
planned (postgres/, tenants/), what a run does.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import dagster as dg
from sqlalchemy import Connection

from st_pipeline.defs.active_runs import active_workers, queued_night_workers
from st_pipeline.defs.jobs import incremental_poll, nightly_full_sync
from st_pipeline.postgres import api_pauses, cursors, night_plan, poll_claims, switches
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.runs.tags import NIGHT_WORKER_TAG, WORKER_TAG
from st_pipeline.settings import Settings, load_settings, variable_name
from st_pipeline.tenants.night_plan import plan_night
from st_pipeline.tenants.schedule import checked_cron

# Of runs that wait for a place the one with the highest priority begins first; a person's have 0.
PRIORITY_TAG, POLL_PRIORITY, NIGHT_PRIORITY = "dagster/priority", "2", "1"
REST_CRON = "*/5 * * * *"  # an idle tick costs a query
Found = TypeVar("Found")


def build_schedules() -> list[dg.ScheduleDefinition]:
    """All of them, at the times the settings give when definitions load."""
    settings = load_settings()

    @dg.schedule(
        name="poll_every_tenant",
        job=incremental_poll,
        cron_schedule=cron(settings, "incremental_cron"),
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Start the workers that poll every enabled tenant that is due, neither paused nor suspended.",
    )
    def poll_every_tenant(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        settings = load_settings()
        why_nobody = _with_connection(settings, lambda c: _why_nobody_is_due(c, context.scheduled_execution_time))
        if why_nobody is not None:
            return dg.SkipReason(why_nobody)
        busy = active_workers(context.instance)
        workers = [number for number in range(1, settings.poll_workers + 1) if str(number) not in busy]
        requests = [poll_request(number, context.scheduled_execution_time) for number in workers]
        return requests or dg.SkipReason("the workers are still polling; they take what has become due")

    @dg.schedule(
        name="full_sync_every_night",
        job=nightly_full_sync,
        cron_schedule=cron(settings, "full_cron"),
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Plan the night, and start the workers that read every tenant in full and mark deleted records.",
    )
    def full_sync_every_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        settings, tick = load_settings(), context.scheduled_execution_time
        _with_connection(settings, lambda connection: plan_night(connection, settings, tick))
        return _night_requests(context, settings)

    @dg.schedule(
        name="rest_of_the_night",
        job=nightly_full_sync,
        cron_schedule=REST_CRON,
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Start workers again while the night's plan is not done.",
    )
    def rest_of_the_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return _night_requests(context, load_settings())

    return [poll_every_tenant, full_sync_every_night, rest_of_the_night]


def _night_requests(context: dg.ScheduleEvaluationContext, settings: Settings) -> list[dg.RunRequest] | dg.SkipReason:
    """A run for each worker that has none waiting: while one works, the next may wait, so that no time is lost."""
    waiting = _with_connection(settings, night_plan.number_waiting)
    if not waiting:
        return dg.SkipReason("nothing of the night's plan is left to begin; `st-pipeline plan` shows it")
    queued = queued_night_workers(context.instance)
    free = [number for number in range(1, settings.night_workers + 1) if str(number) not in queued]
    requests = [night_request(number, context.scheduled_execution_time) for number in free[:waiting]]
    return requests or dg.SkipReason("each worker has a run that waits for the one before it to end")


def cron(settings: Settings, field: str) -> str:
    """The cron expression of a setting. Raises ConfigurationError that names the setting."""
    return checked_cron(getattr(settings, field), f"wrong setting: {variable_name(field)}")


def poll_request(worker: int, tick: datetime) -> dg.RunRequest:
    """The run of a worker; Dagster launches it once in a tick, by its run key."""
    return dg.RunRequest(
        run_key=f"{tick.isoformat()} worker {worker}",
        run_config={"ops": {"poll_tenants": {"config": {"worker": worker}}}},
        tags={WORKER_TAG: str(worker), PRIORITY_TAG: POLL_PRIORITY},
    )


def night_request(worker: int, tick: datetime) -> dg.RunRequest:
    """The run of a night's worker; Dagster launches it once in a tick, by its run key."""
    return dg.RunRequest(
        run_key=f"{tick.isoformat()} night worker {worker}",
        run_config={"ops": {"sync_planned_tenants": {"config": {"worker": worker}}}},
        tags={NIGHT_WORKER_TAG: str(worker), PRIORITY_TAG: NIGHT_PRIORITY},
    )


def _why_nobody_is_due(connection: Connection, tick: datetime) -> str | None:
    """Why the tick has nothing to launch; None when a tenant is due. Postgres's clock may be behind the tick."""
    poll_claims.include_loaded(connection)
    if poll_claims.number_due(connection, now=max(tick, cursors.now(connection))):
        return None
    off = [*map(str, switches.load(connection).off), *map(str, api_pauses.current(connection))]
    also = f"; {'; '.join(off)}" if off else ""
    return (
        "no tenant is due: it must be enabled, synced once, neither paused nor suspended; see `st-pipeline credentials "
        f"list` and `st-pipeline tenants list`{also}"
    )


def _with_connection(settings: Settings, ask: Callable[[Connection], Found]) -> Found:
    with main_engine(settings) as engine, transaction(engine, "choose the tenants of a tick") as connection:
        return ask(connection)
