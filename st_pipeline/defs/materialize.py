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

from st_pipeline.data_types import SYNCED
from st_pipeline.defs.metadata import (
    MODE_TAG,
    asset_key,
    counts_from_tags,
    materialization_metadata,
    result_tags,
    run_tags,
)
from st_pipeline.defs.options import SyncOptions
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.errors import PipelineError
from st_pipeline.logs import configure_logs
from st_pipeline.records import Counts, Mode
from st_pipeline.tenant_sync import TenantSync
from st_pipeline.work import EntityResult

RESUME_TAG = "dagster/is_resume_retry"
AUTOMATION_TAGS = {"dagster/schedule_name", "dagster/sensor_name"}
EVENTS_A_PAGE = 1000


@dataclass(slots=True)
class RunReport:
    """What the run has done so far, over all tenants. `still_failing`: pairs whose failure an earlier poll told."""

    counts: Counts = field(default_factory=Counts)
    failures: dict[str, str] = field(default_factory=dict)
    still_failing: int = 0
    retry_helps: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """The result so far, as tags of the run."""
        return result_tags(self.counts, len(self.failures) + self.still_failing)

    def fail(self, name: str, message: str, *, retry_helps: bool) -> None:
        """Note what failed, under `tenant` or `tenant / entity`."""
        self.failures[name] = message
        self.retry_helps |= retry_helps


def materialize_tenants(
    context: dg.AssetExecutionContext, options: SyncOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[dg.AssetMaterialization]:
    """Sync each tenant of the run and yield one event for each entity that succeeded. Raises Failure if any failed."""
    selected = {key.path[-1] for key in context.selected_asset_keys}
    entities = [name for name in SYNCED if name in selected]
    sync_type = "scheduled" if AUTOMATION_TAGS & context.run.tags.keys() else "manual"
    job_is_full = context.run.tags.get(MODE_TAG) == Mode.FULL
    run_id = context.run.run_id
    report = RunReport(counts_so_far(context))
    try:
        configuration = options.configuration(entities, sync_type, job_is_full=job_is_full)  # type: ignore[arg-type]
        settings = servicetitan.settings()
        configure_logs(settings)
        tags = run_tags(configuration, context.partition_keys, run_id) | report.tags
        context.instance.add_run_tags(run_id, tags)
        done = done_by(context.instance, run_id)
        for carried in carried_over(context, done):
            yield carried
            done.add((str(carried.partition), carried.asset_key.path[-1]))
        with postgres.engine() as engine:
            for tenant in context.partition_keys:
                sync = TenantSync(
                    engine,
                    settings,
                    tenant,
                    configuration,
                    sync_id=uuid.UUID(run_id),
                    dagster_run_id=run_id,
                    wait_seconds=settings.lease_wait_seconds,
                    after_chunk=ProgressLines(context, tenant),
                )
                yield from _materialize_tenant(context, sync, report, done)
    except PipelineError as error:  # set-up: nothing was synced, or nothing more can be
        raise dg.Failure(str(error), allow_retries=error.retry_helps) from error
    context.instance.add_run_tags(run_id, report.tags)
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
                report.counts.add(outcome.records)
                if outcome.error is None:
                    yield materialization(tenant, outcome.result, sync.log.id)
                else:
                    retry_helps = isinstance(outcome.error, PipelineError) and outcome.error.retry_helps
                    report.fail(f"{tenant} / {outcome.entity}", str(outcome.message), retry_helps=retry_helps)
                    context.log.error(f"{tenant} / {outcome.entity}: {outcome.message}")
    except PipelineError as error:  # this tenant could not be opened: unknown, busy, credentials that do not decrypt
        report.fail(tenant, str(error), retry_helps=error.retry_helps)
        context.log.error(f"{tenant}: {error}")  # noqa: TRY400 - the message says it; a trace would bury it


def materialization(tenant: str, result: EntityResult, sync_log_id: int | None) -> dg.AssetMaterialization:
    """The event of one tenant and entity."""
    metadata = materialization_metadata(result, sync_log_id)
    return dg.AssetMaterialization(asset_key(result.entity), partition=tenant, metadata=metadata)


def counts_so_far(context: dg.AssetExecutionContext) -> Counts:
    """What the run has done before an in-run retry."""
    run = context.instance.get_run_by_id(context.run.run_id) if context.retry_number else None
    return counts_from_tags(run.tags) if run else Counts()


def carried_over(context: dg.AssetExecutionContext, done: set[tuple[str, str]]) -> list[dg.AssetMaterialization]:
    """One event for each tenant and entity that the run this one resumes did, and this one has not noted yet.

    Without it, what is not done again would show as failed when the resuming run fails too: it was planned once more.
    A plain re-execution carries nothing over: a person asks for it in order to do it all again.
    """
    parent = context.run.parent_run_id
    if context.run.tags.get(RESUME_TAG) != "true" or parent is None:
        return []
    before = done_by(context.instance, parent) - done
    context.log.info(f"resumes run {parent}, which did {len(before)} of its tenants' entities")
    return [
        dg.AssetMaterialization(
            asset_key(entity),
            partition=tenant,
            metadata={"carried_over_from": dg.MetadataValue.dagster_run(parent)},
        )
        for tenant, entity in sorted(before)
    ]


def done_by(instance: dg.DagsterInstance, run_id: str) -> set[tuple[str, str]]:
    """Tenant and entity pairs a run has materialized so far; for itself, before an in-run retry."""
    done: set[tuple[str, str]] = set()
    cursor, has_more = None, True
    while has_more:
        page = instance.get_records_for_run(
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
