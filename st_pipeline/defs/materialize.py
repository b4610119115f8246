"""The body of the multi-asset: every tenant of the run, one after the other.

Here: what makes a run over many tenants report each one truthfully. Not here: how a tenant is synced (sync/).

Dagster shows a partition as failed when the run failed and did not materialize it. So each tenant and entity that
succeeded is materialized by an event of its own, nothing is returned for the range as a whole, and a run with any
failure fails. Then exactly the broken tenants show as failed, and retrying the backfill retries exactly those.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.checks.spec import ALL_TENANTS, TENANT, CheckedTenant
from st_pipeline.defs.checks import Event, RunChecks, planned_in
from st_pipeline.defs.metadata import asset_key, counts_from_tags, materialization_metadata, result_tags, run_tags
from st_pipeline.defs.options import SyncOptions
from st_pipeline.defs.partitions import TENANTS_NAME
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.run_tenants import records_of, tenants_of
from st_pipeline.defs.time_limits import run_deadline
from st_pipeline.errors import ConfigurationError, OutOfTime, PipelineError, SyncStopped, TenantBusy
from st_pipeline.logs import configure_logs
from st_pipeline.postgres.database import transaction
from st_pipeline.protocol import Counts, Mode
from st_pipeline.runs.tags import DUE_TAG, MESSAGE_TAG, MODE_TAG, REQUEST_TAG, SKIPPED_TAG
from st_pipeline.servicetitan.deadline import why_ended
from st_pipeline.sync.context import EntityResult
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.store import all_tenants

RESUME_TAG = "dagster/is_resume_retry"
# A run with any of these is a scheduled sync. DUE_TAG: a command that syncs what is due.
AUTOMATION_TAGS = {"dagster/schedule_name", "dagster/sensor_name", DUE_TAG}


@dataclass(slots=True)
class RunReport:
    """What the run has done so far, over all tenants.

    `still_failing`: tenant and entity pairs whose failure an earlier poll reported. `skipped`: why tenants were
    skipped. `is_last_try`: whoever started the run does not want retries inside it.
    """

    counts: Counts = field(default_factory=Counts)
    failures: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    still_failing: int = 0
    retry_helps: bool = False
    is_last_try: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """The result so far, as tags of the run."""
        tags = result_tags(self.counts, len(self.failures) + self.still_failing)
        if self.failures:
            tags[MESSAGE_TAG] = first_of(self.failures)
        if self.skipped:
            tags[SKIPPED_TAG] = "; ".join(self.skipped)
        return tags

    def fail(self, name: str, error: Exception | None, message: str) -> None:
        """Record what failed, under `tenant` or `tenant / entity`."""
        self.failures[name] = message
        self.retry_helps |= isinstance(error, PipelineError) and error.retry_helps
        self.is_last_try |= isinstance(error, SyncStopped | OutOfTime)


def materialize_tenants(
    context: dg.AssetExecutionContext, options: SyncOptions, postgres: Postgres, servicetitan: ServiceTitan
) -> Iterator[Event]:
    """Sync each tenant of the run and yield one event for each entity that succeeded. Raises Failure if any failed.

    Without an entity, as when a person selects checks or asset `tenant` alone, the checks are evaluated.
    """
    selected = {key.path[-1] for key in context.selected_asset_keys}
    entities = [name for name in SYNCED if name in selected]
    sync_type = "scheduled" if AUTOMATION_TAGS & context.run.tags.keys() else "manual"
    job_is_full = context.run.tags.get(MODE_TAG) == Mode.FULL
    run_id = context.run.run_id
    is_due = DUE_TAG in context.run.tags  # then a busy tenant is skipped, and the next tick is its retry
    # A person waits for a command's run and wants to hear of a failure at once, not after minutes of retries.
    is_last_try = REQUEST_TAG in context.run.tags
    report, deadline = RunReport(counts_so_far(context), is_last_try=is_last_try), run_deadline(context)
    try:
        configuration = options.configuration(entities, sync_type, job_is_full=job_is_full)  # type: ignore[arg-type]
        settings = servicetitan.settings()
        configure_logs(settings)
        planned = planned_in(context.selected_asset_check_keys)
        tenants = tenants_of(context.instance, context.run) or _partitions(context, planned)
        tags = run_tags(configuration, tenants, run_id) | report.tags
        context.instance.add_run_tags(run_id, tags)
        done = done_by(context.instance, run_id)
        for carried in carried_over(context, done):
            yield carried
            done.add((str(carried.partition), carried.asset_key.path[-1]))
        with postgres.engine(run_id) as engine:
            checks = RunChecks(context.instance, run_id, engine, settings, planned)
            for tenant in still_to_sync(engine, tenants, report):
                if not entities:
                    yield from checks.evaluate(tenant, with_tenant=TENANT in selected)
                    continue
                sync = TenantSync(
                    engine,
                    settings,
                    tenant.partition_key,
                    configuration,
                    sync_id=uuid.UUID(run_id),
                    dagster_run_id=run_id,
                    wait_seconds=0 if is_due else settings.lease_wait_seconds,
                    deadline=deadline,
                    after_chunk=ProgressLines(context, tenant.partition_key),
                )
                yield from _materialize_tenant(context, sync, report, done)
                before = {name for of, name in done if of == tenant.partition_key}
                yield from _check_tenant(checks, tenant, sync, before, with_tenant=TENANT in selected)
            yield from checks.summaries()
    except PipelineError as error:  # an error of the run as a whole: no further tenant can be synced
        context.instance.add_run_tags(run_id, {MESSAGE_TAG: str(error)})
        raise dg.Failure(str(error), allow_retries=error.retry_helps and not is_last_try) from error
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        # Without allow_retries=False Dagster would retry even a run that a person has ended.
        ended = (
            f"{why_ended(type(interrupt), deadline)}; what is committed stays, and the next sync continues from there"
        )
        context.instance.add_run_tags(run_id, {MESSAGE_TAG: ended} | report.tags)
        raise dg.Failure(ended, allow_retries=False) from None
    context.instance.add_run_tags(run_id, report.tags)
    if report.failures:
        raise failure(report)


def _partitions(context: dg.AssetExecutionContext, planned: Collection[tuple[str, str]]) -> Sequence[str]:
    """The run's partitions; all of them when a person executes all checks of an asset, for which the UI asks none."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    of_tenants = any(name != ALL_TENANTS for _, name in planned)
    return context.instance.get_dynamic_partitions(TENANTS_NAME) if of_tenants else ()


def still_to_sync(engine: Engine, tenants: Sequence[str], report: RunReport) -> Iterator[CheckedTenant]:
    """The run's tenants, each looked up when its turn comes: some may have been disabled or removed meanwhile.

    Raises ConfigurationError when none is left: a run that did nothing must not look like a success.
    """
    gone = []
    for tenant in tenants:
        with transaction(engine, f"see whether tenant {tenant} is enabled") as connection:
            known = {one.partition_key: one for one in all_tenants(connection)}
        if tenant in known and known[tenant].enabled:
            yield CheckedTenant(known[tenant].credential_id, tenant)
        else:
            gone.append(f"tenant {tenant} " + ("is disabled" if tenant in known else "has been removed"))
            report.skipped.append(gone[-1])
    if gone and len(gone) == len(tenants):
        raise ConfigurationError(
            f"nothing to sync: {'; '.join(gone)}; `st-pipeline credentials enable` enables one that is disabled"
        )


def _materialize_tenant(
    context: dg.AssetExecutionContext, sync: TenantSync, report: RunReport, done: set[tuple[str, str]]
) -> Iterator[dg.AssetMaterialization]:
    tenant = sync.result.tenant
    if all((tenant, entity) in done for entity in sync.configuration.entities):
        context.log.info(f"{tenant}: already done, in this run or the one it resumes")
        return
    try:
        with sync:
            for outcome in sync.entities(skip=lambda entity: (tenant, entity) in done):
                report.counts.add(outcome.records)
                if outcome.error is not None:
                    report.fail(f"{tenant} / {outcome.entity}", outcome.error, str(outcome.message))
                    context.log.error(f"{tenant} / {outcome.entity}: {outcome.message}")
                elif outcome.report:
                    yield materialization(tenant, outcome.result, sync.log.id)
        if sync.result.stopped is not None:
            report.fail(tenant, None, f"{tenant}: {sync.result.stopped}")
    except PipelineError as error:  # the sync could not begin: unknown, busy, credentials that do not decrypt
        if isinstance(error, TenantBusy) and DUE_TAG in context.run.tags:
            report.skipped.append(str(error))
            context.log.info(str(error))
            return
        report.fail(tenant, error, str(error))
        context.log.error(f"{tenant}: {error}")  # noqa: TRY400 - the message says it; a trace would bury it


def _check_tenant(
    checks: RunChecks, tenant: CheckedTenant, sync: TenantSync, before: set[str], *, with_tenant: bool
) -> Iterator[Event]:
    """The tenant's checks after its sync. `before`: what the run, or the one it resumes, has materialized already."""
    outcomes, is_full = sync.result.outcomes, sync.configuration.mode is Mode.FULL
    began = bool(outcomes or before)
    yield from checks.after_sync(
        tenant,
        materialized={one.entity for one in outcomes if one.error is None and one.report} | before,
        changed=[one.entity for one in outcomes if is_full or one.error is not None or _has_news(one.result.counts)],
        is_full=is_full and began and sync.configuration.label == "all",
        with_tenant=with_tenant and began and TENANT not in before,
    )


def _has_news(counts: Counts) -> bool:
    """Did rows or rejects change?"""
    return bool(counts.changed or counts.failed)


def materialization(tenant: str, result: EntityResult, sync_log_id: int | None) -> dg.AssetMaterialization:
    """The event of one tenant and entity."""
    metadata = materialization_metadata(result, sync_log_id)
    return dg.AssetMaterialization(asset_key(result.entity), partition=tenant, metadata=metadata)


def counts_so_far(context: dg.AssetExecutionContext) -> Counts:
    """What the run has done before an in-run retry."""
    run = context.instance.get_run_by_id(context.run.run_id) if context.retry_number else None
    return counts_from_tags(run.tags) if run else Counts()


def carried_over(context: dg.AssetExecutionContext, done: set[tuple[str, str]]) -> list[dg.AssetMaterialization]:
    """One event for each tenant and entity that the resumed run did and this one has not reported yet.

    Otherwise what is not done again would show as failed if this run fails too, because it was planned again. A plain
    re-execution carries nothing over: it is meant to do everything again.
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
    """The tenant and entity pairs that a run has materialized so far."""
    return {
        (record.partition_key, record.asset_key.path[-1])
        for record in records_of(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        if record.partition_key is not None and record.asset_key is not None
    }


def failure(report: RunReport, metadata: Mapping[str, dg.MetadataValue] | None = None) -> dg.Failure:
    """The failure that ends a run, with every failed tenant and entity. `metadata`: what else it shows."""
    more = ", see the metadata" if len(report.failures) > 1 else ""
    return dg.Failure(
        f"{first_of(report.failures)}{more}",
        metadata={**(metadata or {}), "failed": dg.MetadataValue.json(report.failures)},
        allow_retries=report.retry_helps and not report.is_last_try,
    )


def first_of(failures: dict[str, str]) -> str:
    """The first failure, and how many more there are."""
    first, *others = failures.values()
    return f"{first} (and {len(others)} more)" if others else first


class ProgressLines:
    """A line in the run's log every fifth chunk, 10,000 rows: each line is a row in Dagster's event table."""

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
