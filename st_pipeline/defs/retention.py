"""The daily job that deletes old rows, and its schedule.

Here: what Dagster starts, and what the run shows. Not here: what is deleted (operations/). It runs at
noon, when full syncs have left a place in the queue; killed or out of time, it continues the next day.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from st_pipeline.defs.resources import Postgres
from st_pipeline.defs.schedules import cron
from st_pipeline.defs.time_limits import MAX_RUNTIME_TAG, RETENTION_MAX_SECONDS, run_deadline
from st_pipeline.errors import PipelineError
from st_pipeline.operations.retention import Report, dagster_engine, delete_old_rows
from st_pipeline.settings import load_settings


@dg.op(out=dg.Out(dg.Nothing), description="Delete what is older than the settings say, in small batches.")
def delete_old_history(context: dg.OpExecutionContext, postgres: Postgres) -> None:
    """Delete old rows until none is left or the run's time is up. Raises Failure."""
    deadline = run_deadline(context)
    try:
        with postgres.engine(context.run_id) as engine:
            settings = load_settings()
            with dagster_engine(engine, settings, os.environ) as dagster:
                report = delete_old_rows(
                    engine,
                    settings,
                    dagster=dagster,
                    forget_compute_logs=compute_logs_of(context.instance),
                    keep_going=lambda: not deadline.has_passed,
                )
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.add_output_metadata(shown(report))


@dg.job(
    name="retention",
    executor_def=dg.in_process_executor,
    description="Deletes old rows of the sync log and of Dagster's own history, as the settings say. Every day.",
    tags={MAX_RUNTIME_TAG: str(RETENTION_MAX_SECONDS), "dagster/priority": "-1"},
)
def retention() -> None:
    """Delete old rows."""
    delete_old_history()


def build_retention_schedule() -> dg.ScheduleDefinition:
    """Once a day, at the time the settings give when definitions load."""
    settings = load_settings()
    return dg.ScheduleDefinition(
        name="retention_every_day",
        job=retention,
        cron_schedule=cron(settings, "retention_cron"),
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Delete what is older than the settings say.",
    )


def compute_logs_of(instance: dg.DagsterInstance) -> Callable[[str], None]:
    """What deletes the output of a run's process."""
    return lambda run_id: instance.compute_log_manager.delete_logs(prefix=[run_id])


@contextmanager
def compute_logs_at_home() -> Iterator[Callable[[str], None]]:
    """The same of the instance that DAGSTER_HOME names."""
    with dg.DagsterInstance.get() as instance:
        yield compute_logs_of(instance)


def shown(report: Report) -> dict[str, str | int]:
    """The rows deleted, for the run's page."""
    left = [] if report.is_complete else ["the run ran out of time; the next day's run continues"]
    left += [f"others had {kind} locked" for kind in sorted(report.skipped)]
    return {**report.deleted, "left": "; ".join(left) or "nothing"}
