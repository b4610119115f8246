"""The jobs: what a schedule or a person launches.

Here: their definitions. Not here: when they run, what they do, how long they may take.
"""

import dagster as dg

from st_pipeline.defs.nights import sync_planned_tenants
from st_pipeline.defs.poll import poll_tenants
from st_pipeline.defs.time_limits import FULL_MAX_SECONDS, MAX_RUNTIME_TAG, NIGHT_MAX_SECONDS, POLL_MAX_SECONDS
from st_pipeline.runs.tags import MODE_TAG

# Without checks: what is planned costs an event each, and each tenant's verdicts are told in any case.
EVERYTHING = dg.AssetSelection.all().without_checks()

incremental_sync = dg.define_asset_job(
    "incremental_sync",
    selection=EVERYTHING,
    executor_def=dg.in_process_executor,
    description="Reads what changed since the last sync, for the tenants you choose. A first sync reads everything.",
    tags={MODE_TAG: "incremental"},
)

full_sync = dg.define_asset_job(
    "full_sync",
    selection=EVERYTHING,
    executor_def=dg.in_process_executor,
    # The mode is a tag, not config: Dagster gives a partitioned job its config for one partition, not for a range.
    description="Reads everything, for the tenants you choose, and marks deleted records.",
    tags={MODE_TAG: "full", MAX_RUNTIME_TAG: str(FULL_MAX_SECONDS)},
)


@dg.job(
    executor_def=dg.in_process_executor,
    description="The scheduled poll: many tenants in one run, with events only for what has changed.",
    tags={MODE_TAG: "incremental", MAX_RUNTIME_TAG: str(POLL_MAX_SECONDS)},
)
def incremental_poll() -> None:
    """Poll the tenants of a shard."""
    poll_tenants()


@dg.job(
    executor_def=dg.in_process_executor,
    description="The nightly full sync: tenant after tenant of the night's plan, for at most 15 minutes a run.",
    # Not `full`: the runs that people start and first syncs have a limit of their own by that tag.
    tags={MODE_TAG: "night", MAX_RUNTIME_TAG: str(NIGHT_MAX_SECONDS)},
)
def nightly_full_sync() -> None:
    """Sync what is left of the night's plan."""
    sync_planned_tenants()
