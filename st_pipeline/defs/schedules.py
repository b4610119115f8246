"""The two schedules: polls every few minutes, full syncs every night.

Here: the runs that each tick launches: the workers that poll, and a full sync for each 25 tenants
(`ST_PIPELINE_TENANTS_PER_RUN`). Not here: which tenants are due (postgres/, tenants/), what a run does.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TypeVar

import dagster as dg
from sqlalchemy import Connection

from st_pipeline.defs.active_runs import active_workers
from st_pipeline.defs.jobs import full_sync, incremental_poll
from st_pipeline.defs.partitions import TENANTS_NAME
from st_pipeline.postgres import api_pauses, cursors, poll_claims, switches
from st_pipeline.postgres.database import main_url, open_engine, transaction
from st_pipeline.runs.tags import RANGE_END_TAG, RANGE_START_TAG, WORKER_TAG
from st_pipeline.settings import Settings, load_settings, variable_name
from st_pipeline.tenants.schedule import checked_cron
from st_pipeline.tenants.selection import skipped_by_nightly_full_sync

Found = TypeVar("Found")


def build_schedules() -> list[dg.ScheduleDefinition]:
    """The two schedules, at the times the settings give when definitions load."""
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
        job=full_sync,
        cron_schedule=cron(settings, "full_cron"),
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Read every tenant in full and mark deleted records.",
    )
    def full_sync_every_night(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        # The partitions' own order: a run covers a range of it.
        settings = load_settings()
        partitions = context.instance.get_dynamic_partitions(TENANTS_NAME)
        skipped = _with_connection(settings, skipped_by_nightly_full_sync) if partitions else set()
        requests = [
            full_request(shard, context.scheduled_execution_time)
            for neighbours in between(partitions, skipped)
            for shard in shards(neighbours, settings.tenants_per_run)
        ]
        return requests or dg.SkipReason("no tenant is registered: add one with `st-pipeline credentials add`")

    return [poll_every_tenant, full_sync_every_night]


def cron(settings: Settings, field: str) -> str:
    """The cron expression of a setting. Raises ConfigurationError that names the setting."""
    return checked_cron(getattr(settings, field), f"wrong setting: {variable_name(field)}")


def poll_request(worker: int, tick: datetime) -> dg.RunRequest:
    """The run of a worker; Dagster launches it once in a tick, by its run key."""
    return dg.RunRequest(
        run_key=f"{tick.isoformat()} worker {worker}",
        run_config={"ops": {"poll_tenants": {"config": {"worker": worker}}}},
        tags={WORKER_TAG: str(worker)},
    )


def full_request(shard: Sequence[str], tick: datetime) -> dg.RunRequest:
    """One full sync of these tenants, which are consecutive partitions."""
    return dg.RunRequest(
        run_key=f"{tick.isoformat()} {shard_name(shard)}",
        tags={RANGE_START_TAG: shard[0], RANGE_END_TAG: shard[-1]},
    )


def shards(tenants: Sequence[str], size: int) -> list[Sequence[str]]:
    """Consecutive groups of at most `size` tenants."""
    return [tenants[start : start + size] for start in range(0, len(tenants), size)]


def between(partitions: Sequence[str], skipped: Collection[str]) -> list[list[str]]:
    """The consecutive partitions between the skipped ones, which a run's range must not cover."""
    groups: list[list[str]] = [[]]
    for key in partitions:
        if key in skipped:
            groups.append([])
        else:
            groups[-1].append(key)
    return [group for group in groups if group]


def shard_name(shard: Sequence[str]) -> str:
    """A shard's name: its first and last tenant."""
    return shard[0] if len(shard) == 1 else f"{shard[0]}...{shard[-1]}"


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
    engine = open_engine(main_url(settings))
    try:
        with transaction(engine, "choose the tenants of a tick") as connection:
            return ask(connection)
    finally:
        engine.dispose()
