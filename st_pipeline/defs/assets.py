"""What can be materialized: one multi-asset over all entities and streams, with tenants as partitions.

Here: its definition. Not here: its body. One step for everything, as each step costs seconds of CPU
(docs/decisions.md).
"""

from collections.abc import Iterator

import dagster as dg

from st_pipeline.checks.spec import TENANT
from st_pipeline.defs.checks import Event, check_specs
from st_pipeline.defs.materialize import materialize_tenants
from st_pipeline.defs.metadata import asset_key, column_schema
from st_pipeline.defs.options import SyncOptions
from st_pipeline.defs.partitions import TENANTS
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.settings import load_settings
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import StreamSpec

OWNERS = ["team:data-platform"]
TENANTS_PER_BACKFILL_RUN = 25
# The client has already retried for seconds. An error that no retry helps is not tried again.
RETRY_DELAY_SECONDS = 60


def entity_asset(spec: EntitySpec) -> dg.AssetSpec:
    """One entity's asset."""
    reads = {
        "scope": ", ".join(spec.scopes),
        "list": ", ".join(one.list_path for one in spec.read_as),
        "feed": spec.feed_path or "none: its list is read",
    }
    return _asset(spec, spec.group.value, spec.depends_on, reads)


def stream_asset(spec: StreamSpec) -> dg.AssetSpec:
    """One stream's asset."""
    return _asset(spec, "streams", spec.after, {"record_for_each_row_of": spec.anchor_table})


def tenant_asset() -> dg.AssetSpec:
    """A company as a whole: what no single table shows. Its checks are why it exists."""
    return dg.AssetSpec(
        asset_key(TENANT),
        partitions_def=TENANTS,
        skippable=True,
        group_name="tenants",
        owners=OWNERS,
        kinds={"postgres"},
        description="A tenant as a whole: whether its data is fresh, its credentials hold and its syncs succeed. "
        "Materialized by each full sync; to materialize it alone evaluates all checks of the tenant.",
        metadata={"dagster/table_name": "check_verdicts"},
    )


def _asset(spec: EntitySpec | StreamSpec, group: str, after: tuple[str, ...], more: dict[str, str]) -> dg.AssetSpec:
    """Skippable, because the body reports each tenant's success on its own instead of the whole range's."""
    return dg.AssetSpec(
        asset_key(spec.name),
        deps=[asset_key(name) for name in after],
        partitions_def=TENANTS,
        skippable=True,
        group_name=group,
        owners=OWNERS,
        kinds={"postgres", "table"},
        description=spec.description,
        code_version=str(spec.version),
        metadata={"dagster/column_schema": column_schema(spec), "dagster/table_name": spec.table, **more},
    )


def build_assets(retry_delay_seconds: float = RETRY_DELAY_SECONDS) -> dg.AssetsDefinition:
    """The multi-asset."""

    @dg.multi_asset(
        name="sync_tenants",
        specs=[*map(entity_asset, ENTITIES.values()), *map(stream_asset, STREAMS.values()), tenant_asset()],
        check_specs=check_specs(load_settings()),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(TENANTS_PER_BACKFILL_RUN),
        retry_policy=dg.RetryPolicy(
            max_retries=2,
            delay=retry_delay_seconds,
            backoff=dg.Backoff.EXPONENTIAL,
            jitter=dg.Jitter.PLUS_MINUS,
        ),
    )
    def sync_tenants(
        context: dg.AssetExecutionContext, config: SyncOptions, postgres: Postgres, servicetitan: ServiceTitan
    ) -> Iterator[Event]:
        yield from materialize_tenants(context, config, postgres, servicetitan)

    return sync_tenants
