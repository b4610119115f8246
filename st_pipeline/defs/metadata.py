"""What the Dagster UI shows of an entity's definition, a materialization and a run.

Here: translating our values to Dagster's. Not here: the values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import dagster as dg

from st_pipeline.entities.spec import BOOKKEEPING, CREDENTIAL, EntitySpec
from st_pipeline.protocol import Counts
from st_pipeline.runs.tags import PREFIX, RESULT_TAG, figures_of
from st_pipeline.streams.spec import ADDED, StreamSpec
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.context import EntityResult

KEY_PREFIX = "servicetitan"
SEVERAL = "several"


def asset_key(entity: str) -> dg.AssetKey:
    """The asset of an entity or a stream."""
    return dg.AssetKey([KEY_PREFIX, entity])


def column_schema(spec: EntitySpec | StreamSpec) -> dg.TableSchema:
    """The columns of the table as Dagster shows them: what begins the key, the spec's own, then what else is there."""
    is_stream = isinstance(spec, StreamSpec)
    first = [(column.name, column.type) for column in (ADDED[:2] if is_stream else (CREDENTIAL,))]
    last = [(column.name, column.type) for column in (ADDED[2:] if is_stream else BOOKKEEPING)]
    key = {*(name for name, _ in first), *((spec.key,) if isinstance(spec, StreamSpec) else spec.key)}
    types = [*first, *((column.name, column.kind.value) for column in spec.columns), *last]
    comments = spec.comments
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=type_name,
                description=comments[name],
                constraints=dg.TableColumnConstraints(nullable=name not in key),
            )
            for name, type_name in types
        ]
    )


def materialization_metadata(result: EntityResult, sync_log_id: int | None) -> dict[str, Any]:
    """An entity's figures, which Dagster plots. The names are those of the sync log."""
    counts = result.counts
    metadata: dict[str, Any] = {
        **figures(counts),
        "pages": counts.pages,
        "seconds": round(result.seconds, 3),
        "rows_per_second": round(counts.processed / result.seconds, 1) if result.seconds else 0.0,
        "mode": str(result.mode),
        "cursor_before": result.cursor_before or "none",
        "cursor_after": result.cursor_after or "none",
        "records_with_nul": result.nul_records,
    }
    if sync_log_id is not None:
        metadata["sync_log_id"] = sync_log_id
    if result.warnings:
        metadata["warnings"] = dg.MetadataValue.json(dict(result.warnings))
    if result.drift:
        metadata["drift"] = dg.MetadataValue.json(result.drift_by_field())
    if result.notes:
        metadata["notes"] = dg.MetadataValue.text("; ".join(result.notes))
    return metadata


def figures(counts: Counts) -> dict[str, int]:
    """The seven figures of the sync log."""
    return {
        "processed": counts.processed,
        "successful": counts.successful,
        "failed": counts.failed,
        "created": counts.created,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
    }


def run_tags(configuration: SyncConfiguration, tenants: Sequence[str], sync_id: str) -> dict[str, str]:
    """Tags to find a run by. `tenants`: partition keys."""
    companies = sorted({key.partition("@")[0] for key in tenants})
    environments = sorted({key.partition("@")[2] or "production" for key in tenants})
    tags = {
        "sync_type": configuration.sync_type,
        "mode": str(configuration.mode),
        # Tags are for finding runs, not for listing their contents.
        "data_type": SEVERAL if "," in configuration.label else configuration.label,
        "company": companies[0] if len(companies) == 1 else SEVERAL,
        "environment": environments[0] if len(environments) == 1 else SEVERAL,
        "sync_id": sync_id,
    }
    return {f"{PREFIX}/{name}": value for name, value in tags.items()}


def result_tags(counts: Counts, failed_pairs: int) -> dict[str, str]:
    """The sync log's figures as one tag of the run, so that the list of runs shows them."""
    named = {**figures(counts), "failed_entities": failed_pairs}
    return {RESULT_TAG: ", ".join(f"{name} {value}" for name, value in named.items())}


def counts_from_tags(tags: Mapping[str, str]) -> Counts:
    """The figures that `result_tags` wrote, zero where there are none."""
    written = figures_of(tags)
    return Counts(**{field.name: written.get(field.name, 0) for field in fields(Counts)})
