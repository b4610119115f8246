"""The one Definitions object, assembled from this room.

Here: its parts, put together. Not here: the parts themselves, and any computation.
"""

import dagster as dg

from st_pipeline.defs.alerts import alerts
from st_pipeline.defs.assets import build_assets
from st_pipeline.defs.changed_checks import build_checks_schedule, changed_checks
from st_pipeline.defs.jobs import full_sync, incremental_poll, incremental_sync, nightly_full_sync
from st_pipeline.defs.reconciliation import reconcile_every_tenant, reconciliation
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.retention import build_retention_schedule, retention
from st_pipeline.defs.schedules import build_schedules
from st_pipeline.defs.sensors import tenants_from_credentials

defs = dg.Definitions(
    assets=[build_assets()],
    jobs=[
        incremental_sync,
        full_sync,
        incremental_poll,
        nightly_full_sync,
        changed_checks,
        reconciliation,
        retention,
    ],
    schedules=[
        *build_schedules(),
        build_checks_schedule(),
        reconcile_every_tenant,
        build_retention_schedule(),
    ],
    sensors=[tenants_from_credentials, alerts],
    resources={"postgres": Postgres(), "servicetitan": ServiceTitan()},
    executor=dg.in_process_executor,
)
