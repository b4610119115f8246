"""A run of the night: a worker that syncs tenant after tenant of the night's plan in full.

Here: the op, and what it tells of its tenants. Not here: the plan (tenants/), claiming and syncing (sync/), when runs
start (schedules).

It is an op, as the poll is: as asset runs, 10,000 tenants would be planned by 300,000 events before anything is read.
Each entity that was synced is reported, changed or not.
"""

import uuid
from collections.abc import Iterator

import dagster as dg

from st_pipeline.checks.spec import CheckedTenant
from st_pipeline.defs.checks import Event, RunChecks
from st_pipeline.defs.materialize import RunReport, failure, materialization
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.time_limits import run_deadline
from st_pipeline.defs.worker_runs import WorkerOptions, turn_of_worker
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.night_worker import NightSync, NightWorker

FULL = SyncConfiguration(sync_type="scheduled", incremental_only=False)


@dg.op(out=dg.Out(dg.Nothing, is_required=False), description="Sync the tenants of the night's plan in full, in turn.")
def sync_planned_tenants(
    context: dg.OpExecutionContext, config: WorkerOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[Event | dg.Output[None]]:
    """Sync until the plan is done or the run's time is up; the next run does the rest. Raises Failure if any failed."""
    report = RunReport()
    ended: list[NightSync] = []
    work = f"the nights of worker {config.worker}"
    with turn_of_worker(context, postgres, servicetitan, FULL, work) as (engine, settings, is_free):
        if not is_free:
            report.skipped.append(f"worker {config.worker} is working in another run")
        else:
            worker = NightWorker(engine, settings, uuid.UUID(context.run_id), run_deadline(context))
            checks = RunChecks(context.instance, context.run_id, engine, settings)
            for night, outcome in worker.outcomes():
                tenant = night.claim.partition_key
                if outcome is None:
                    yield from _check(checks, night)
                    # Dagster takes away what an earlier run said of all tenants; what this run says, it shows.
                    yield from checks.summaries() if len(worker.ended) == 1 else ()
                    continue
                report.counts.add(outcome.records)
                if outcome.error is None:
                    yield materialization(tenant, outcome.result, night.sync.log.id)
                else:
                    report.fail(f"{tenant} / {outcome.entity}", None, str(outcome.message))
                    context.log.error(f"{tenant} / {outcome.entity}: {outcome.message}")
            ended = worker.ended
            yield from checks.summaries()
    for night in ended:
        _tell(context, night, report)
    context.instance.add_run_tags(context.run_id, report.tags)
    if report.failures:
        raise failure(report)
    yield dg.Output(None, metadata=_metadata(ended, report))


def _check(checks: RunChecks, night: NightSync) -> Iterator[Event]:
    """A tenant's checks: all of them when the night is done with it, the known verdicts when another run continues."""
    tenant, outcomes = CheckedTenant(night.claim.credential_id, night.claim.partition_key), night.sync.result.outcomes
    has_ended = night.error is None and not night.continues
    yield from checks.after_sync(
        tenant,
        materialized=[one.entity for one in outcomes if one.error is None],
        changed=[one.entity for one in outcomes if one.error is not None or one.result.counts.changed],
        is_full=has_ended,
        with_tenant=has_ended,
    )


def _tell(context: dg.OpExecutionContext, night: NightSync, report: RunReport) -> None:
    """How a tenant's part of the night ended."""
    tenant, result = night.claim.partition_key, night.sync.result
    if night.error is not None and night.continues:
        report.skipped.append(str(night.error))
        context.log.info(str(night.error))
    elif night.error is not None:
        report.fail(tenant, None, str(night.error))
        context.log.error(f"{tenant}: {night.error}")
    elif result.paused is not None:
        context.log.info(f"{tenant}: {result.paused}; the next run does the rest")
    elif result.stopped is not None:
        report.fail(tenant, None, result.stopped)


def _metadata(ended: list[NightSync], report: RunReport) -> dict[str, dg.MetadataValue]:
    """As a sync log reads: who was synced, what changed, who is not done."""
    changed = {
        night.claim.partition_key: [one.entity for one in night.sync.result.outcomes if one.result.counts.changed]
        for night in ended
    }
    return {
        "synced": dg.MetadataValue.text(", ".join(night.claim.partition_key for night in ended) or "none"),
        "changed": dg.MetadataValue.json({tenant: names for tenant, names in changed.items() if names}),
        "not_done": dg.MetadataValue.json([night.claim.partition_key for night in ended if night.continues]),
        "skipped": dg.MetadataValue.json(report.skipped),
    }
