"""The functions a program calls to sync a tenant without Dagster.

Here: one function a purpose, opening and closing what it takes. Not here: how a tenant is synced (tenant.py).
"""

from typing import Any

from sqlalchemy import Engine, text

from st_pipeline.logs import configure_logs_of_a_program
from st_pipeline.postgres.database import database_errors, main_engine
from st_pipeline.settings import Settings, load_settings
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants import store


def synchronize_data(
    tenant: str,
    configuration: SyncConfiguration | None = None,
    *,
    settings: Settings | None = None,
    engine: Engine | None = None,
) -> SyncResult:
    """Sync a tenant (`acme-plumbing`, `acme-plumbing@integration`) in this process and return what was done.

    Raises ConfigurationError (an unknown tenant, no database), TenantBusy, DatabaseUnavailable. A failed entity does
    not raise: see `SyncResult.success` and `errors`.
    """
    settings = settings or load_settings()
    configure_logs_of_a_program(settings)
    with main_engine(settings, engine) as opened:
        sync = TenantSync(
            opened, settings, tenant, configuration or SyncConfiguration(), wait_seconds=settings.lease_wait_seconds
        )
        with sync:
            for _ in sync.entities():
                pass
    return sync.result


def synchronize_customers(tenant: str, **options: Any) -> SyncResult:
    """Sync a tenant's customers, contacts, locations and memberships; `options` as for SyncConfiguration."""
    return synchronize_data(tenant, SyncConfiguration(data_type="customers", **options))


def synchronize_invoices(tenant: str, **options: Any) -> SyncResult:
    """Sync a tenant's invoices and payments; `options` as for SyncConfiguration."""
    return synchronize_data(tenant, SyncConfiguration(data_type="invoices", **options))


def get_last_sync_status(
    tenant: str, *, settings: Settings | None = None, engine: Engine | None = None
) -> dict[str, Any] | None:
    """The newest row of the tenant's sync log as a dict of its columns, None when it was never synced.

    Raises ConfigurationError: an unknown tenant, no database.
    """
    with (
        main_engine(settings or load_settings(), engine) as opened,
        database_errors(f"read the sync log of tenant {tenant}"),
        opened.connect() as connection,
    ):
        credential_id = store.find_tenant(connection, tenant).credential_id
        query = text("SELECT * FROM servicetitan_sync_logs WHERE credential_id = :id ORDER BY id DESC LIMIT 1")
        row = connection.execute(query, {"id": credential_id}).mappings().one_or_none()
    return dict(row) if row is not None else None
