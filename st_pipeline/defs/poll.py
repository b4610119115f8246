"""The poll: one run in which a worker polls tenant after tenant, at the lowest cost.

Here: the op, and what it tells of its tenants. Not here: which tenants are due and how they are polled (sync/).

It is an op, not an asset run: that would plan one event for each tenant and entity, 4 million rows a day for 500
tenants. The op writes materializations only for what changed or recovered; a poll that finds nothing leaves no trace in
Dagster.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg

from st_pipeline.checks.spec import CheckedTenant
from st_pipeline.defs.checks import Event, RunChecks
from st_pipeline.defs.materialize import RunReport, failure, materialization
from st_pipeline.defs.poll_checks import PollChecks
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.time_limits import run_deadline
from st_pipeline.defs.worker_runs import WorkerOptions, turn_of_worker
from st_pipeline.errors import TenantBusy
from st_pipeline.postgres import switches
from st_pipeline.postgres.database import transaction
from st_pipeline.sync.configuration import SyncResult
from st_pipeline.sync.poll_worker import PollWorker
from st_pipeline.sync.polling import POLL, TenantPoll

NAMES_SHOWN = 200  # of the tenants that were polled; those that changed or failed are all named


@dataclass(slots=True)
class PollReport(RunReport):
    """What the worker did. `changed`: the entities of each tenant in which something changed."""

    polled: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, dg.MetadataValue]:
        """As a sync log reads: who was polled, what changed, what failed."""
        names = ", ".join(sorted(self.polled)[:NAMES_SHOWN])
        more = len(self.polled) - NAMES_SHOWN
        return {
            "polled": dg.MetadataValue.int(len(self.polled)),
            "polled_tenants": dg.MetadataValue.text(f"{names} and {more} more" if more > 0 else names or "none"),
            "changed": dg.MetadataValue.json(self.changed),
            "still_failing": dg.MetadataValue.int(self.still_failing),
            "skipped": dg.MetadataValue.json(self.skipped),
        }


@dg.op(
    out=dg.Out(dg.Nothing, is_required=False), description="Sync what changed since the last poll, tenant by tenant."
)
def poll_tenants(
    context: dg.OpExecutionContext, config: WorkerOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[Event | dg.Output[None]]:
    """Poll the tenants that are due; a busy one waits for its next time. Raises Failure when something newly failed."""
    report = PollReport()
    work = f"the polls of worker {config.worker}"
    with turn_of_worker(context, postgres, servicetitan, POLL, work) as (engine, settings, is_free):
        if not is_free:
            report.skipped.append(f"worker {config.worker} is polling in another run")
        else:
            deadline = run_deadline(context)
            worker = PollWorker(engine, settings, uuid.UUID(context.run_id), deadline)
            checks = RunChecks(context.instance, context.run_id, engine, settings)
            with PollChecks(checks.found_after, checks.show, deadline) as beside:
                for poll in worker.polls():
                    yield from _tell(context, poll, report, beside)
                    yield from beside.shown()
                yield from beside.shown(wait=True)
            yield from checks.summaries()
            if deadline.has_passed:
                report.skipped.append(f"ended, as {deadline.limit}; the next poll begins with what is still due")
            with transaction(engine, "see what is switched off") as connection:
                report.skipped += map(str, switches.load(connection).off)
            report.skipped += map(str, worker.paused)
    context.instance.add_run_tags(context.run_id, report.tags)
    if report.failures:
        raise failure(report, report.metadata)
    yield dg.Output(None, metadata={**report.metadata, "failed": dg.MetadataValue.json({})})


def _tell(context: dg.OpExecutionContext, poll: TenantPoll, report: PollReport, checks: PollChecks) -> Iterator[Event]:
    """What a tenant's poll found, as events, lines of the run's log, and in the report."""
    tenant = poll.claim.partition_key
    if isinstance(poll.error, TenantBusy):
        report.skipped.append(str(poll.error))
        context.log.info(str(poll.error))
        return
    report.polled.append(tenant)
    if poll.message is not None and poll.is_news:
        report.fail(tenant, None, poll.message)
    elif poll.message is not None:
        report.still_failing += 1
        context.log.warning(f"{tenant}: still failing: {poll.message}")
    if poll.result is not None:
        yield from _tell_outcomes(context, poll.result, report)
        outcomes = poll.result.outcomes
        checks.begin(
            CheckedTenant(poll.claim.credential_id, tenant),
            materialized=[one.entity for one in outcomes if one.error is None and one.report],
            changed=[one.entity for one in outcomes if one.report or one.result.counts.failed],
        )


def _tell_outcomes(
    context: dg.OpExecutionContext, result: SyncResult, report: PollReport
) -> Iterator[dg.AssetMaterialization]:
    tenant = result.tenant
    for outcome in result.outcomes:
        report.counts.add(outcome.records)
        if outcome.result.counts.changed:
            report.changed.setdefault(tenant, []).append(outcome.entity)
        if outcome.error is None and outcome.report:
            yield materialization(tenant, outcome.result, result.sync_log_id)
        elif outcome.error is not None and outcome.report:
            report.fail(f"{tenant} / {outcome.entity}", None, str(outcome.message))
        elif outcome.error is not None:
            report.still_failing += 1
            context.log.warning(f"{tenant} / {outcome.entity}: still failing: {outcome.message}")
    if result.stopped is not None:
        context.log.warning(f"{tenant}: {result.stopped}")
