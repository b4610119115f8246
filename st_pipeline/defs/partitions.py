"""Tenants as Dagster partitions.

Here: the definition, and keeping its keys equal to the enabled credentials. Not here: which are enabled (tenants/).
"""

from dataclasses import dataclass

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.defs.active_runs import is_backfilling
from st_pipeline.postgres.database import transaction
from st_pipeline.tenants.store import enabled_tenants

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
TENANTS_NAME = "tenants"


@dataclass(frozen=True, slots=True)
class PartitionChange:
    """Keys to add and to remove so that partitions equal enabled credentials."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


def pending_change(instance: dg.DagsterInstance, engine: Engine) -> PartitionChange:
    """The keys to add and to remove.

    During a backfill none is removed: Dagster cancels a whole backfill, with its runs, when one of its partitions is
    gone.
    """
    with transaction(engine, "list enabled tenants") as connection:
        enabled = [tenant.partition_key for tenant in enabled_tenants(connection)]
    registered = set(instance.get_dynamic_partitions(TENANTS_NAME))
    surplus = tuple(sorted(registered - set(enabled)))
    return PartitionChange(
        added=tuple(key for key in enabled if key not in registered),
        removed=() if surplus and is_backfilling(instance) else surplus,
    )


def register_tenants_at_home(engine: Engine) -> PartitionChange:
    """Do `register_tenants` in the instance that DAGSTER_HOME names."""
    with dg.DagsterInstance.get() as instance:
        return register_tenants(instance, engine)


def register_tenants(instance: dg.DagsterInstance, engine: Engine) -> PartitionChange:
    """Make the partitions equal to the enabled credentials now. Returns what changed."""
    change = pending_change(instance, engine)
    if change.added:
        instance.add_dynamic_partitions(TENANTS_NAME, list(change.added))
    for key in change.removed:
        instance.delete_dynamic_partition(TENANTS_NAME, key)
    return change
