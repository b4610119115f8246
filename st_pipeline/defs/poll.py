"""The five-minute poll of many tenants, as cheap as a run can be.

Here: the op. Not here: which tenants a tick polls (schedules.py), how a tenant is synced (tenant_sync.py).

An op and not the assets: an asset run plans one event for each tenant and entity, and 500 tenants would write
4 million rows a day. This op writes materializations for what changed, failed, recovered, or was last reported an hour
ago; a poll that found nothing leaves a timestamp.
"""

import uuid
from collections.abc import Iterator

import dagster as dg

from st_pipeline.defs.materialize import RunReport, failure, materialization
from st_pipeline.defs.metadata import run_tags
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.errors import PipelineError, TenantBusy
from st_pipeline.logs import configure_logs
from st_pipeline.sync_configuration import SyncConfiguration
from st_pipeline.tenant_sync import TenantSync


class PollOptions(dg.Config):
    """The tenants of a tick's run, by partition key."""

    tenants: list[str]


@dg.op(
    out=dg.Out(dg.Nothing, is_required=False), description="Sync what changed since the last look, tenant by tenant."
)
def poll_tenants(
    context: dg.OpExecutionContext, config: PollOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[dg.AssetMaterialization]:
    """Poll each tenant. A busy one is left for the next tick. Raises Failure when something is newly broken."""
    configuration = SyncConfiguration(sync_type="scheduled")
    report = RunReport()
    context.instance.add_run_tags(context.run_id, run_tags(configuration, config.tenants, context.run_id))
    try:
        settings = servicetitan.settings()
        configure_logs(settings)
        with postgres.engine(context.run_id) as engine:
            for tenant in config.tenants:
                sync = TenantSync(
                    engine,
                    settings,
                    tenant,
                    configuration,
                    sync_id=uuid.UUID(context.run_id),
                    dagster_run_id=context.run_id,
                )
                yield from _poll(context, sync, report)
    except PipelineError as error:
        raise dg.Failure(str(error)) from error
    context.instance.add_run_tags(context.run_id, report.tags)
    if report.failures:
        raise failure(report)


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
    except TenantBusy as error:
        context.log.info(str(error))
    except PipelineError as error:
        if sync.is_news:
            report.fail(tenant, None, str(error))
        else:
            report.still_failing += 1
            context.log.warning(f"{tenant}: still failing: {error}")
