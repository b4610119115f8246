"""The body of the multi-asset: every tenant of the run, one after the other.

Here: what makes a run over many tenants tell the truth about each. Not here: how a tenant is synced (tenant_sync.py).

A partition is shown as failed when the run failed and did not materialize it. So each tenant and entity that succeeded
is materialized by an event of its own, nothing is returned for the range as a whole, and a run with any failure ends
in one. Then exactly the broken tenants show as failed, and retrying the backfill redoes exactly those.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg

from st_pipeline.defs.metadata import materialization_metadata, result_tags, run_tags
from st_pipeline.defs.options import SyncOptions
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.entities import ENTITIES
from st_pipeline.errors import PipelineError
from st_pipeline.logs import configure_logs
from st_pipeline.records import Counts
from st_pipeline.tenant_sync import TenantSync

RESUME_TAG = "dagster/is_resume_retry"
SCHEDULE_TAG = "dagster/schedule_name"
EVENTS_A_PAGE = 1000


@dataclass(slots=True)
class RunReport:
    """What the run has done so far, over all tenants."""

    counts: Counts = field(default_factory=Counts)
    failures: dict[str, str] = field(default_factory=dict)
    retry_helps: bool = False

    def fail(self, name: str, message: str, *, retry_helps: bool) -> None:
        """Note what failed, under `tenant` or `tenant / entity`."""
        self.failures[name] = message
        self.retry_helps |= retry_helps


def materialize_tenants(
    context: dg.AssetExecutionContext, options: SyncOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[dg.AssetMaterialization]:
    """Sync each tenant of the run and yield one event for each entity that succeeded. Raises Failure if any failed."""
    selected = {key.path[-1] for key in context.selected_asset_keys}
    entities = [name for name in ENTITIES if name in selected]
    sync_type = "scheduled" if SCHEDULE_TAG in context.run.tags else "manual"
    report = RunReport()
    try:
        configuration = options.configuration(entities, sync_type)  # type: ignore[arg-type]
        settings = servicetitan.settings()
        configure_logs(settings)
        done = already_done(context)
        tags = run_tags(configuration, context.partition_keys, context.run_id)
        context.instance.add_run_tags(context.run_id, tags)
        with postgres.engine() as engine:
            for tenant in context.partition_keys:
                sync = TenantSync(
                    engine,
                    settings,
                    tenant,
                    configuration,
                    sync_id=uuid.UUID(context.run_id),
                    dagster_run_id=context.run_id,
                    wait_seconds=settings.lease_wait_seconds,
                    after_chunk=ProgressLines(context, tenant),
                )
                yield from _materialize_tenant(context, sync, report, done)
    except PipelineError as error:  # set-up: nothing was synced, or nothing more can be
        raise dg.Failure(str(error), allow_retries=error.retry_helps) from error
    context.instance.add_run_tags(context.run_id, result_tags(report.counts, len(report.failures)))
    if report.failures:
        raise failure(report)


def _materialize_tenant(
    context: dg.AssetExecutionContext, sync: TenantSync, report: RunReport, done: set[tuple[str, str]]
) -> Iterator[dg.AssetMaterialization]:
    tenant = sync.result.tenant
    if all((tenant, entity) in done for entity in sync.configuration.entities):
        context.log.info(f"{tenant}: done before, in this run or the one it resumes")
        return
    try:
        with sync:
            for outcome in sync.entities(skip=lambda entity: (tenant, entity) in done):
                report.counts.add(outcome.result.counts)
                if outcome.error is None:
                    yield materialization(tenant, sync, outcome.entity)
                else:
                    retry_helps = isinstance(outcome.error, PipelineError) and outcome.error.retry_helps
                    report.fail(f"{tenant} / {outcome.entity}", str(outcome.message), retry_helps=retry_helps)
                    context.log.error(f"{tenant} / {outcome.entity}: {outcome.message}")
    except PipelineError as error:  # this tenant could not be opened: unknown, busy, credentials that do not decrypt
        report.fail(tenant, str(error), retry_helps=error.retry_helps)
        context.log.error(f"{tenant}: {error}")


def materialization(tenant: str, sync: TenantSync, entity: str) -> dg.AssetMaterialization:
    """The event of one tenant and entity."""
    result = next(outcome.result for outcome in sync.result.outcomes if outcome.entity == entity)
    return dg.AssetMaterialization(
        dg.AssetKey(["servicetitan", entity]),
        partition=tenant,
        metadata=materialization_metadata(result, sync.log.id),
    )


def already_done(context: dg.AssetExecutionContext) -> set[tuple[str, str]]:
    """Tenant and entity pairs this run has done before an in-run retry, or the run it resumes did before it failed.

    Not on a plain re-execution, which a person asks for in order to do it all again.
    """
    run_ids = [context.run_id]
    if context.run.tags.get(RESUME_TAG) == "true" and context.run.parent_run_id is not None:
        run_ids.append(context.run.parent_run_id)
    done: set[tuple[str, str]] = set()
    for run_id in run_ids:
        cursor, has_more = None, True
        while has_more:
            page = context.instance.get_records_for_run(
                run_id, cursor=cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, limit=EVENTS_A_PAGE
            )
            cursor, has_more = page.cursor, page.has_more
            done |= {
                (record.partition_key, record.asset_key.path[-1])
                for record in page.records
                if record.partition_key is not None and record.asset_key is not None
            }
    return done


def failure(report: RunReport) -> dg.Failure:
    """The failure that ends a run, with every failed tenant and entity and what to do."""
    first = next(iter(report.failures.values()))
    more = f" (and {len(report.failures) - 1} more, see the metadata)" if len(report.failures) > 1 else ""
    return dg.Failure(
        f"{first}{more}",
        metadata={"failed": dg.MetadataValue.json(report.failures)},
        allow_retries=report.retry_helps,
    )


class ProgressLines:
    """A line in the run's log every fifth chunk: 10,000 rows. Each line is a row in Dagster's event table."""

    CHUNKS_A_LINE = 5

    def __init__(self, context: dg.AssetExecutionContext, tenant: str) -> None:
        self.context = context
        self.tenant = tenant
        self.chunks = 0

    def __call__(self, entity: str, counts: Counts) -> None:
        """After a committed chunk."""
        self.chunks += 1
        if self.chunks % self.CHUNKS_A_LINE == 0:
            self.context.log.info(f"{self.tenant} / {entity}: {counts.processed:,} records so far")
