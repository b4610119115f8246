"""Verdicts that change without a sync: as time passes, by a command, or because the run that found them died.

Here: the tick that evaluates what time alone can make fail, and the run that tells Dagster what has changed. Not here:
evaluating (checks/), what runs of syncs tell (checks).

The tick asks one query a rule for all tenants, in the code server's process. It does not depend on polls: that none
begins is what it has to notice. A run, 2.6 CPU seconds, is started only for a change.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.checks.evaluate import every_tenant, time_driven
from st_pipeline.defs.active_runs import CHECKS_JOB, is_showing_checks
from st_pipeline.defs.checks import Event, RunChecks, known_pairs
from st_pipeline.defs.resources import Postgres
from st_pipeline.defs.schedules import POLL_PRIORITY, PRIORITY_TAG, cron
from st_pipeline.defs.time_limits import MAX_RUNTIME_TAG, POLL_MAX_SECONDS, run_deadline
from st_pipeline.errors import PipelineError
from st_pipeline.logs import configure_logs
from st_pipeline.postgres import shown_verdicts
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.runs.tags import MODE_TAG
from st_pipeline.settings import Settings, load_settings


@dg.op(out=dg.Out(dg.Nothing, is_required=False), description="Tell Dagster of the verdicts that have changed.")
def show_changed_checks(context: dg.OpExecutionContext, postgres: Postgres) -> Iterator[Event | dg.Output[None]]:
    """Tenant after tenant; what the run's time does not reach is left to the next tick. Raises Failure."""
    deadline, told = run_deadline(context), []
    try:
        settings = load_settings()
        configure_logs(settings)
        with postgres.engine(context.run_id) as engine:
            checks = RunChecks(context.instance, context.run_id, engine, settings)
            waiting = _waiting(engine, settings)
            with transaction(engine, "list the tenants whose verdicts have changed") as connection:
                tenants = [one for one in every_tenant(connection) if one.credential_id in waiting]
            for tenant in tenants:
                if deadline.has_passed:
                    break
                yield from checks.catch_up(tenant)
                told.append(tenant.partition_key)
            yield from checks.summaries()
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    yield dg.Output(None, metadata={"tenants": dg.MetadataValue.text(", ".join(told) or "none")})


@dg.job(
    name=CHECKS_JOB,
    executor_def=dg.in_process_executor,
    description="Shows which tenants' checks have changed without a sync. Started by the tick that evaluates them.",
    tags={MODE_TAG: "checks", MAX_RUNTIME_TAG: str(POLL_MAX_SECONDS), PRIORITY_TAG: POLL_PRIORITY},
)
def changed_checks() -> None:
    """Tell Dagster of verdicts that have changed."""
    show_changed_checks()


def build_checks_schedule() -> dg.ScheduleDefinition:
    """With every tick of the polls, whether or not anybody is polled."""
    settings = load_settings()

    @dg.schedule(
        name="check_every_tenant",
        job=changed_checks,
        cron_schedule=cron(settings, "incremental_cron"),
        execution_timezone=settings.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Evaluate the checks that time alone can make fail, and show what has changed.",
    )
    def check_every_tenant(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        settings, tick = load_settings(), context.scheduled_execution_time
        with main_engine(settings) as engine:
            tenants = evaluate_tick(engine, settings, datetime.now(UTC))
        if not tenants:
            return dg.SkipReason("no verdict has changed; `st-pipeline checks list` shows them all")
        if is_showing_checks(context.instance):
            return dg.SkipReason("a run that shows changed verdicts has not ended")
        return dg.RunRequest(run_key=f"{tick.isoformat()} checks of {tenants} tenants")

    return check_every_tenant


def evaluate_tick(engine: Engine, settings: Settings, now: datetime) -> int:
    """Evaluate what time alone can make fail. Returns how many tenants have verdicts that Dagster was not told of."""
    time_driven(engine, settings, now)
    return len(_waiting(engine, settings))


def _waiting(engine: Engine, settings: Settings) -> set[int]:
    known = known_pairs(settings)
    with transaction(engine, "see which verdicts have changed") as connection:
        return {key.credential_id for key in shown_verdicts.unshown(connection) if (key.asset, key.check) in known}
