"""The poll: one run that syncs many tenants every few minutes, at the lowest cost.

Here: the op. Not here: which tenants a tick polls (tenants/), how a tenant is synced (sync/).

It is an op, not an asset run: that would plan one event for each tenant and entity, 4 million rows a day for 500
tenants. The op writes materializations only for what changed, recovered, or was last reported an hour ago; a poll that
finds nothing updates a timestamp.
"""

import uuid
from collections.abc import Iterator, Sequence

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.defs.materialize import RunReport, failure, materialization
from st_pipeline.defs.metadata import run_tags
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.time_limits import run_deadline
from st_pipeline.errors import PipelineError, TenantBusy
from st_pipeline.logs import configure_logs
from st_pipeline.postgres.database import transaction
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.selection import longest_waiting_first


class PollOptions(dg.Config):
    """The tenants of a tick's run, by partition key."""

    tenants: list[str]


@dg.op(
    out=dg.Out(dg.Nothing, is_required=False), description="Sync what changed since the last poll, tenant by tenant."
)
def poll_tenants(
    context: dg.OpExecutionContext, config: PollOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[dg.AssetMaterialization]:
    """Poll each tenant; a busy one is left to the next tick. Raises Failure when something has newly failed."""
    configuration = SyncConfiguration(sync_type="scheduled")
    report = RunReport()
    context.instance.add_run_tags(context.run_id, run_tags(configuration, config.tenants, context.run_id))
    try:
        settings = servicetitan.settings()
        configure_logs(settings)
        run, seconds = run_deadline(context), settings.poll_tenant_seconds
        budget = seconds, f"a poll gives a tenant {seconds:g} s (ST_PIPELINE_POLL_TENANT_SECONDS)"
        with postgres.engine(context.run_id) as engine:
            tenants = turns(engine, config.tenants)
            while tenants and not run.has_passed:
                tenant = tenants.pop(0)
                sync = TenantSync(
                    engine,
                    settings,
                    tenant,
                    configuration,
                    sync_id=uuid.UUID(context.run_id),
                    dagster_run_id=context.run_id,
                    deadline=run,
                    budget=budget,
                    first_loads=False,
                )
                yield from _poll(context, sync, report)
        if tenants:
            report.skipped.append(f"not started, as {run.limit}; the next poll begins with them: {', '.join(tenants)}")
            context.log.warning(report.skipped[-1])
    except PipelineError as error:
        raise dg.Failure(str(error)) from error
    context.instance.add_run_tags(context.run_id, report.tags)
    if report.failures:
        raise failure(report)


def turns(engine: Engine, tenants: Sequence[str]) -> list[str]:
    """The tenants in the order of their turns: the longest waiting first."""
    with transaction(engine, "choose whose turn it is") as connection:
        return longest_waiting_first(connection, tenants)


def _poll(context: dg.OpExecutionContext, sync: TenantSync, report: RunReport) -> Iterator[dg.AssetMaterialization]:
    tenant = sync.result.tenant
    try:
        with sync:
            for outcome in sync.entities():
                report.counts.add(outcome.records)
                if outcome.error is None and outcome.report:
                    yield materialization(tenant, outcome.result, sync.log.id)
                elif outcome.error is not None and outcome.report:
                    report.fail(f"{tenant} / {outcome.entity}", None, str(outcome.message))
                elif outcome.error is not None:
                    report.still_failing += 1
                    context.log.warning(f"{tenant} / {outcome.entity}: still failing: {outcome.message}")
        if sync.result.stopped is not None:
            context.log.warning(f"{tenant}: {sync.result.stopped}")
    except TenantBusy as error:
        context.log.info(str(error))
    except PipelineError as error:
        if sync.is_news:
            report.fail(tenant, None, str(error))
        else:
            report.still_failing += 1
            context.log.warning(f"{tenant}: still failing: {error}")
