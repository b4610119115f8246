"""Dagster's partitioned asset checks, a preview in the one version that pyproject.toml names.

Here: every use of that preview: a check with partitions, the evaluation of one partition, and the materialization that
it is about. Not here: which checks there are, and what they found (checks).

The contract test holds Dagster to what is used: an evaluation is stored by run, check and partition, also from a run
over a range and from an op. A partition shows a status as long as the evaluation names its latest materialization. What
was planned when a run was created, and is not evaluated in it, shows as skipped, or as failed.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from st_pipeline.defs.partitions import TENANTS

EVENTS_A_PAGE = 1000


def check_spec(name: str, asset: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    """A check with a status for each tenant. It never blocks: what was synced is there, whatever a check says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a preview, in each process and for each check
        return dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=TENANTS, blocking=False)


def evaluation(
    check: dg.AssetCheckKey,
    tenant: str | None,
    target: Target | None,
    *,
    passed: bool,
    is_error: bool,
    description: str,
    metadata: Mapping[str, dg.MetadataValue],
) -> dg.AssetCheckEvaluation:
    """What a check found for a tenant, or, None, for all. `target`: the materialization that it is about."""
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=passed,
        metadata=metadata,
        target_materialization_data=target,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=description,
        blocking=False,
        partition=tenant,
    )


@dataclass(slots=True)
class Materializations:
    """Which materialization of a tenant's assets is the latest. A run's own are read as they come, a query a tenant."""

    instance: dg.DagsterInstance
    run_id: str
    _cursor: str | None = None
    _own: dict[str, dict[dg.AssetKey, Target]] = field(default_factory=dict)

    def latest(self, tenant: str, assets: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Target]:
        """By asset, without those that were never materialized."""
        found = self._of_this_run(tenant)
        for asset in set(assets) - found.keys():
            records = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[tenant])
            for record in self.instance.fetch_materializations(records, limit=1).records:
                found[asset] = _target(record)
        return found

    def _of_this_run(self, tenant: str) -> dict[dg.AssetKey, Target]:
        """Those since the tenant's last call: of earlier ones another run may have made newer ones meanwhile."""
        while True:
            page = self.instance.get_records_for_run(
                self.run_id, self._cursor, dg.DagsterEventType.ASSET_MATERIALIZATION, EVENTS_A_PAGE
            )
            self._cursor = page.cursor
            for record in page.records:
                if record.asset_key is not None and record.partition_key is not None:
                    self._own.setdefault(record.partition_key, {})[record.asset_key] = _target(record)
            if not page.has_more:
                return self._own.pop(tenant, {})


def _target(record: dg.EventLogRecord) -> Target:
    return Target(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)
