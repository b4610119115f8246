"""Remove a tenant's credential: end its sync, delete what belongs to it, and leave its rows to be purged.

Here: the removal, in steps after each of which it may be killed. Not here: deleting the rows (purge), asking the person
(cli/).
The removal takes the tenant's lease from whoever holds it, so that a running sync ends at its next chunk, and holds it
until the credential is deleted, so that no sync can begin in between. A killed removal leaves everything as it was.
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

Report = Callable[[str], None]


def remove_credential(
    engine: Engine,
    tenant: Tenant,
    *,
    keep_data: bool = False,
    lease_seconds: float = 1200,
    wait_seconds: float = 120,
    report: Report = lambda _text: None,
) -> None:
    """Remove it with its sync logs, cursors and rejects; the audit trail stays, and so do its rows for now.

    Waits up to `wait_seconds` for a sync to end; one that has not ended by then can write nothing more in any case.
    Asks for a purge of its rows, unless `keep_data`. Raises ConfigurationError (removed meanwhile) and
    DatabaseUnavailable; then everything is as it was.
    """
    doing = f"remove the credential of tenant {tenant.partition_key}"
    entry = Entry("credentials.remove", tenant.partition_key, tenant.credential_id, {"keep_data": keep_data})
    with audit_failures(engine, doing, entry), database_errors(doing), engine.connect() as connection:
        try:
            lease, holder = _seize(connection, tenant, lease_seconds)
            if holder is not None:
                report(f"ending the {holder}")
                _wait_for_the_end(connection, tenant, wait_seconds, report)
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
    """Take the lease from whoever holds it. Returns it, and who that was; None: nobody, or a process that has ended.

    Waits for a chunk that is being written, as its transaction has locked the row.
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


def _wait_for_the_end(connection: Connection, tenant: Tenant, seconds: float, report: Report) -> None:
    """Wait until the sync log has no running sync of the tenant."""
    query = text("SELECT EXISTS (SELECT FROM servicetitan_sync_logs WHERE credential_id = :id AND status = 'running')")
    give_up_at = time.monotonic() + seconds
    while True:
        with connection.begin():
            if not connection.execute(query, {"id": tenant.credential_id}).scalar_one():
                return
        if time.monotonic() >= give_up_at:
            report(f"it has not ended within {seconds:g} s, but can write nothing more")
            return
        time.sleep(POLL_SECONDS)
