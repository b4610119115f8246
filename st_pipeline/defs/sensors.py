"""Keeping Dagster in step with the database.

Here: the sensor that makes partitions equal enabled credentials and starts a new tenant's first sync. Not here: what a
partition is (partitions.py).
"""

import dagster as dg

from st_pipeline.defs.jobs import full_sync
from st_pipeline.defs.partitions import TENANTS, pending_change
from st_pipeline.postgres.database import main_url, open_engine
from st_pipeline.postgres.sync_log import settle_abandoned
from st_pipeline.settings import load_settings

INTERVAL_SECONDS = 30


@dg.sensor(
    name="tenants_from_credentials",
    job=full_sync,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Add a partition for each enabled credential, remove those of disabled ones, start first syncs.",
)
def tenants_from_credentials(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Compare credentials with partitions; settle what a dead process left running."""
    engine = open_engine(main_url(load_settings()))
    try:
        change = pending_change(context.instance, engine)
        with engine.begin() as connection:
            settled = settle_abandoned(connection)
    finally:
        engine.dispose()
    if settled:
        context.log.info(f"{settled} syncs of dead processes marked as failed")
    if not change.added and not change.removed:
        return dg.SkipReason("partitions equal enabled credentials")
    requests = []
    if change.added:
        requests.append(TENANTS.build_add_request(list(change.added)))
    if change.removed:
        requests.append(TENANTS.build_delete_request(list(change.removed)))
    return dg.SensorResult(dynamic_partitions_requests=requests)
