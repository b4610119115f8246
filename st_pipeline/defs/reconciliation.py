"""The job that compares tenants with ServiceTitan, a few each day, and its schedule.

Here: what Dagster starts, and what the run shows. Not here: comparing, and whose turn it is (reconciliation/).

A run tells verdicts and figures, never a record. That something differs fails the check `reconciliation`, not the run.
"""

from collections import Counter

import dagster as dg

from st_pipeline.defs.active_runs import ACTIVE
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.time_limits import MAX_RUNTIME_TAG, RECONCILIATION_MAX_SECONDS, run_deadline
from st_pipeline.errors import PipelineError
from st_pipeline.logs import configure_logs
from st_pipeline.postgres import reconciliations
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.postgres.scheduled_work import only_one
from st_pipeline.reconciliation.worker import ReconciliationWorker, due_since, is_open
from st_pipeline.settings import load_settings

JOB = "reconciliation"
WORK = "the scheduled reconciliation"


@dg.op(out=dg.Out(dg.Nothing), description="Compare the tenants that have waited longest with ServiceTitan.")
def reconcile_tenants(context: dg.OpExecutionContext, postgres: Postgres, servicetitan: ServiceTitan) -> None:
    """Compare tenant after tenant until the run's time is up or nobody is due. Raises Failure."""
    verdicts: Counter[str] = Counter()
    told: dict[str, str] = {}
    requests = 0
    try:
        settings = servicetitan.settings()
        configure_logs(settings)
        with postgres.engine(context.run_id) as engine, only_one(engine, WORK) as is_free:
            worker = ReconciliationWorker(engine, settings, run_deadline(context))
            for finding in worker.findings() if is_free else ():
                verdict = finding.verdict.value
                verdicts[verdict] += 1
                requests += sum(one.requests for one in finding.entities)
                told[finding.tenant] = verdict if finding.error is None else f"{verdict}: {finding.error}"
                context.log.info(f"{finding.tenant}: {told[finding.tenant]}")
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.add_output_metadata({**verdicts, "requests": requests, "tenants": dg.MetadataValue.json(told)})


@dg.job(
    name=JOB,
    executor_def=dg.in_process_executor,
    description="Compares tenants with ServiceTitan, as the settings say how often, and keeps the verdicts.",
    # After everything else that waits: polls, nights, and what people ask for.
    tags={MAX_RUNTIME_TAG: str(RECONCILIATION_MAX_SECONDS), "dagster/priority": "-1"},
)
def reconciliation() -> None:
    """Compare the tenants that are due."""
    reconcile_tenants()


@dg.schedule(
    name="reconcile_every_tenant",
    job=reconciliation,
    cron_schedule="*/5 * * * *",  # outside its hours a tick costs nothing, within them a query
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="In the hours that the settings give, start a run while tenants are due for their comparison.",
)
def reconcile_every_tenant(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run at a time."""
    settings, tick = load_settings(), context.scheduled_execution_time
    if not is_open(settings, tick):
        return dg.SkipReason("not at this time of the day: ST_PIPELINE_RECONCILIATION_CRON, _HOURS and _EVERY_DAYS")
    with main_engine(settings) as engine, transaction(engine, "see who is to be reconciled") as connection:
        due = reconciliations.number_due(connection, due_since(settings, tick))
    if not due:
        return dg.SkipReason("every tenant was compared; `st-pipeline reconcile --all --last` shows the results")
    if context.instance.get_runs_count(dg.RunsFilter(job_name=JOB, statuses=ACTIVE)):
        return dg.SkipReason("a run of it is waiting or at work")
    return dg.RunRequest(run_key=tick.isoformat())
