"""Remove a tenant's credential: end its sync, drop what hangs on it, and leave its rows to be purged.

Here: one removal, in a few steps each of which may be the last before a kill. Not here: deleting the rows (purge.py),
asking the person (cli/).
The tenant's lease is taken away from whoever holds it, so that its sync ends at its next chunk, and is held by the
removal until the credential is gone: nobody can begin a sync in between. A killed removal leaves everything as it was.
"""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import leases
from st_pipeline.postgres.database import database_errors
from st_pipeline.tenants import purge
from st_pipeline.tenants.audit import Entry, audit_failures
from st_pipeline.tenants.store import Tenant

PURPOSE = "removal of the credential"
POLL_SECONDS = 0.2

Tell = Callable[[str], None]


def remove_credential(
    engine: Engine,
    tenant: Tenant,
    *,
    keep_data: bool = False,
    lease_seconds: float = 1200,
    wait_seconds: float = 120,
    tell: Tell = lambda _text: None,
) -> None:
    """Remove it with its sync logs, positions and rejects; the audit trail stays, and so do its rows for now.

    Waits up to `wait_seconds` for a sync to end; one that has not ended by then can write nothing more all the same.
    Its rows are noted to be purged, unless `keep_data`. Raises ConfigurationError (removed meanwhile) and
    DatabaseUnavailable; everything is then as it was.
    """
    doing = f"remove the credential of tenant {tenant.partition_key}"
    entry = Entry("credentials.remove", tenant.partition_key, tenant.credential_id, {"keep_data": keep_data})
    with audit_failures(engine, doing, entry), database_errors(doing), engine.connect() as connection:
        try:
            lease, holder = _seize(connection, tenant, lease_seconds)
            if holder is not None:
                tell(f"ending the {holder}")
                _wait_for_the_end(connection, tenant, wait_seconds, tell)
            with connection.begin():
                if not keep_data:
                    purge.request(connection, tenant.credential_id, tenant.partition_key)
                sql = text("DELETE FROM servicetitan_credentials WHERE id = :id")
                connection.execute(sql, {"id": tenant.credential_id})
                lease.release(connection)
                entry.write(connection, "done", servicetitan_tenant_id=tenant.tenant_id)
        except BaseException:
            connection.invalidate()  # back in the pool it would hold the lease
            raise


def _seize(connection: Connection, tenant: Tenant, seconds: float) -> tuple[leases.Lease, str | None]:
    """Take the lease from whoever has it. Returns it, and who that was; None: nobody, or a process that is gone.

    A chunk that is being written is waited for: its transaction has the row.
    """
    holder = None
    while True:
        with connection.begin():
            if not connection.execute(
                text("SELECT FROM servicetitan_credentials WHERE id = :id"), {"id": tenant.credential_id}
            ).rowcount:
                raise ConfigurationError(f"the credential of tenant {tenant.partition_key} was removed meanwhile")
            holder = leases.held_tenants(connection).get(tenant.credential_id, holder)
            delete = text("DELETE FROM tenant_leases WHERE credential_id = :id")
            connection.execute(delete, {"id": tenant.credential_id})
            lease = leases.take(connection, tenant.credential_id, tenant.partition_key, PURPOSE, seconds)
        if lease is not None:
            return lease, holder
        time.sleep(POLL_SECONDS)  # another process was taking it at that moment


def _wait_for_the_end(connection: Connection, tenant: Tenant, seconds: float, tell: Tell) -> None:
    """Until no sync of the tenant has an open row in the sync log."""
    query = text("SELECT EXISTS (SELECT FROM servicetitan_sync_logs WHERE credential_id = :id AND status = 'running')")
    give_up_at = time.monotonic() + seconds
    while True:
        with connection.begin():
            if not connection.execute(query, {"id": tenant.credential_id}).scalar_one():
                return
        if time.monotonic() >= give_up_at:
            tell(f"it has not ended within {seconds:g} s, and can write nothing more")
            return
        time.sleep(POLL_SECONDS)
