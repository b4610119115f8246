"""The sensor that keeps Dagster in step with the database.

Here: what it does: make the partitions equal the enabled credentials, start first syncs, fail what dead processes left
running, purge. Not here: when a first sync is due (sync/), purging itself (tenants/).
"""

from datetime import UTC, datetime

import dagster as dg

from st_pipeline.defs.abandoned_runs import fail_abandoned
from st_pipeline.defs.active_runs import active_tenants
from st_pipeline.defs.jobs import full_sync
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import TENANTS, PartitionChange, pending_change
from st_pipeline.postgres import switches, tenant_schedules
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.postgres.sync_log import close_abandoned
from st_pipeline.postgres.tenant_schedules import DEFAULT
from st_pipeline.settings import load_settings
from st_pipeline.sync.first_loads import FirstLoad, due_first_loads
from st_pipeline.tenants import keyring_holders
from st_pipeline.tenants.purge import purge_for
from st_pipeline.tenants.store import enabled_tenants

INTERVAL_SECONDS = 30
PURGE_SECONDS = 15  # of each tick, while removed credentials have rows left
# Launching a run takes up to 0.3 s, and a tick has 60 s; further new tenants wait for the next ticks.
FIRST_SYNCS_A_TICK = 20


@dg.sensor(
    name="tenants_from_credentials",
    job=full_sync,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Add a partition for each enabled credential, remove those of disabled ones, start first syncs.",
)
def tenants_from_credentials(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Compare credentials with partitions, start first syncs, fail what dead processes left running, purge.

    A first sync starts one tick after it was first seen to be due, so that whoever adds a tenant can start it in
    another way; the sensor's cursor holds the tenants seen.
    """
    settings, now = load_settings(), datetime.now(UTC)
    with main_engine(settings) as engine:
        purged = purge_for(engine, PURGE_SECONDS)
        abandoned = fail_abandoned(context.instance, engine)
        change = pending_change(context.instance, engine)
        with transaction(engine, "look for new tenants and abandoned syncs") as connection:
            settled = close_abandoned(connection)
            keyring_holders.note(connection, settings)
            schedules, off = tenant_schedules.load_all(connection), switches.load(connection)
            loadable = [
                tenant
                for tenant in enabled_tenants(connection)
                if not tenant.is_suspended(now)
                and schedules.get(tenant.credential_id, DEFAULT).paused_at is None
                and off.why_off(tenant.company, tenant.environment) is None
            ]
            loads = due_first_loads(connection, loadable, now)
    if purged:
        context.log.info(f"{purged} rows of removed credentials deleted")
    if settled:
        context.log.info(f"{settled} syncs of dead processes marked as failed")
    if abandoned:
        context.log.info(f"runs whose process is gone marked as failed: {', '.join(abandoned)}")
    seen = (context.cursor or "").split()
    active = active_tenants(context.instance) | set(change.added) if loads else set()
    starting = [load for load in loads if load.tenant.partition_key in seen and load.tenant.partition_key not in active]
    nothing = not starting and not change.added and not change.removed
    return dg.SensorResult(
        run_requests=[first_sync(load) for load in starting[:FIRST_SYNCS_A_TICK]],
        dynamic_partitions_requests=_partition_requests(change),
        skip_reason=dg.SkipReason("partitions equal enabled credentials, no first sync to start") if nothing else None,
        cursor=" ".join(load.tenant.partition_key for load in loads),
    )


def first_sync(load: FirstLoad) -> dg.RunRequest:
    """A full sync of what was never loaded.

    Dagster launches a run key once. It changes when a full sync has failed or the credential was tested, so that a run
    that cannot even begin is not started again and again.
    """
    tenant = load.tenant
    tested = "untested" if tenant.last_tested_at is None else f"tested {tenant.last_tested_at.isoformat()}"
    which = f"{tenant.partition_key}, credential {tenant.credential_id}, {tested}"
    which += "" if load.is_everything else f", {' '.join(load.names)}"
    which += f", after {load.failures} that failed" if load.failures else ""
    chosen = None if load.is_everything else [asset_key(name) for name in load.names]
    return dg.RunRequest(run_key=f"first sync of {which}", partition_key=tenant.partition_key, asset_selection=chosen)


def _partition_requests(
    change: PartitionChange,
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if change.added:
        requests.append(TENANTS.build_add_request(list(change.added)))
    if change.removed:
        requests.append(TENANTS.build_delete_request(list(change.removed)))
    return requests
