"""Runs that are queued or going on, and what they work on.

Here: reading them from the instance, so that a schedule or sensor does not launch the same work twice. Not here: who
may write a tenant's rows: that is its lease (postgres/leases.py), which holds whatever launched the run.
"""

import dagster as dg

from st_pipeline.defs.partitions import TENANTS_NAME
from st_pipeline.defs.tags import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, SHARD_TAG

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def active_shards(instance: dg.DagsterInstance) -> set[str]:
    """The shards that polls work on."""
    runs = instance.get_runs(dg.RunsFilter(statuses=ACTIVE))
    return {run.tags[SHARD_TAG] for run in runs if SHARD_TAG in run.tags}


def active_tenants(instance: dg.DagsterInstance) -> set[str]:
    """The partitions that runs of the assets work on, one or a range each."""
    keys = list(instance.get_dynamic_partitions(TENANTS_NAME))
    found: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
        first = run.tags.get(PARTITION_TAG, run.tags.get(RANGE_START_TAG))
        last = run.tags.get(PARTITION_TAG, run.tags.get(RANGE_END_TAG))
        if first in keys and last in keys:
            found.update(keys[keys.index(first) : keys.index(last) + 1])
    return found
