"""One process at a time works on a tenant: the one that holds its lease.

Here: taking, awaiting, extending and releasing a tenant's lease. Not here: what is done under it.
A lease is a row with an expiry, which every chunk checks: a lock alone could not stop a holder that lost its
connection. The holder's session also has an advisory lock as its sign of life: Postgres releases it when the session
ends, and every database role sees it, whereas pg_stat_activity hides another role's sessions.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from st_pipeline.errors import LeaseLost, SyncStopped, TenantBusy
from st_pipeline.postgres import stops
from st_pipeline.postgres.database import SERVER_KEEPALIVES

WAIT_STEP_SECONDS = 1.0
# The first of the two numbers of an advisory lock; the second is the tenant's. Held by whoever takes the lease, until
# the transaction ends.
TAKING = 7_305_202
LARGEST_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Lease:
    """A tenant's lease, held by the connection that took it. `sync_id`: the sync that it is for, if any."""

    credential_id: int
    tenant: str
    holder: uuid.UUID
    seconds: float
    sync_id: uuid.UUID | None = None

    def extend(self, connection: Connection) -> None:
        """Check that the lease is still ours, and extend it.

        Raises LeaseLost, or SyncStopped when the sync was asked to end: the transaction must not commit.
        """
        extended = connection.execute(
            text(
                "UPDATE tenant_leases SET expires_at = clock_timestamp() + make_interval(secs => :seconds) "
                "WHERE credential_id = :id AND holder = :holder "
                "RETURNING (SELECT reason FROM sync_stops WHERE sync_id = :sync_id)"
            ),
            {"id": self.credential_id, "holder": self.holder, "seconds": self.seconds, "sync_id": self.sync_id},
        ).one_or_none()
        if extended is None:
            raise LeaseLost(
                f"sync {self.tenant}: another run took the tenant over, or the tenant was removed; this sync writes "
                "nothing more"
            )
        if extended.reason is not None:
            raise stopped(self.tenant, extended.reason)

    def release(self, connection: Connection) -> None:
        """Release the tenant, unless another run has taken it."""
        connection.execute(
            text(
                "WITH given_back AS (DELETE FROM tenant_leases WHERE credential_id = :id AND holder = :holder) "
                "SELECT pg_advisory_unlock(session_key(:holder))"
            ),
            {"id": self.credential_id, "holder": self.holder},
        )


def stopped(tenant: str, reason: str) -> SyncStopped:
    """The error of a sync that was asked to end."""
    return SyncStopped(f"sync {tenant}: {reason}; what is committed stays, and the next sync continues from there")


def take(
    connection: Connection,
    credential_id: int,
    tenant: str,
    purpose: str,
    seconds: float,
    sync_id: uuid.UUID | None = None,
) -> Lease | None:
    """Take a tenant that is free, or whose holder's lease has expired or session has ended. None: it is held.

    Never waits: whoever has locked the row is at work.
    """
    lease = Lease(credential_id, tenant, uuid.uuid4(), seconds, sync_id)
    taken = connection.execute(
        text(f"""
            WITH turn AS MATERIALIZED (
                SELECT :id AS credential_id WHERE pg_try_advisory_xact_lock({TAKING}, :number)
            ), abandoned AS MATERIALIZED (
                SELECT l.credential_id FROM tenant_leases l JOIN turn USING (credential_id)
                WHERE l.expires_at < clock_timestamp() OR NOT session_lives(l.holder)
                FOR UPDATE OF l SKIP LOCKED
            ), taken_over AS (
                UPDATE tenant_leases l SET holder = :holder, holder_name = :name, taken_at = clock_timestamp(),
                    expires_at = clock_timestamp() + make_interval(secs => :seconds)
                FROM abandoned a WHERE l.credential_id = a.credential_id RETURNING l.holder
            ), taken AS (
                INSERT INTO tenant_leases (credential_id, holder, holder_name, taken_at, expires_at)
                SELECT credential_id, :holder, :name, clock_timestamp(),
                       clock_timestamp() + make_interval(secs => :seconds)
                FROM turn WHERE NOT EXISTS (SELECT FROM tenant_leases WHERE credential_id = :id)
                ON CONFLICT DO NOTHING RETURNING holder
            )
            SELECT pg_advisory_lock(session_key(holder)), {SERVER_KEEPALIVES}
            FROM (TABLE taken_over UNION ALL TABLE taken) t
        """),  # noqa: S608 - constants
        {
            "id": credential_id,
            "number": credential_id % LARGEST_INTEGER,
            "holder": lease.holder,
            "name": f"{purpose} (process {os.getpid()} on {socket.gethostname()})",
            "seconds": seconds,
        },
    ).one_or_none()
    return None if taken is None else lease


def holder_name(connection: Connection, credential_id: int) -> str | None:
    """Who holds the tenant, in words."""
    query = text("SELECT holder_name FROM tenant_leases WHERE credential_id = :id")
    name: str | None = connection.execute(query, {"id": credential_id}).scalar()
    return name


def take_or_wait(
    connection: Connection,
    credential_id: int,
    tenant: str,
    purpose: str,
    seconds: float,
    *,
    sync_id: uuid.UUID | None = None,
    wait_seconds: float = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Take the tenant, in separate transactions, waiting while another run has it.

    Raises TenantBusy after `wait_seconds`, and SyncStopped when the sync is asked to end meanwhile.
    """
    give_up_at = clock() + wait_seconds
    while True:
        with connection.begin():
            reason = None if sync_id is None else stops.reason(connection, sync_id)
            if reason is not None:
                raise stopped(tenant, reason)
            lease = take(connection, credential_id, tenant, purpose, seconds, sync_id)
            holder = None if lease else holder_name(connection, credential_id)
        if lease is not None:
            return lease
        if clock() >= give_up_at:
            raise TenantBusy(
                f"{purpose} of tenant {tenant}: the tenant is busy with another run, {holder or 'which has just ended'}"
                f"; waited {wait_seconds:g} s. Try again when that run has ended"
            )
        sleep(min(WAIT_STEP_SECONDS, max(0.0, give_up_at - clock())))


def held_tenants(connection: Connection) -> dict[int, str]:
    """Who works on which tenant now, by credential; leases whose sessions have ended do not count."""
    rows = connection.execute(
        text(
            "SELECT credential_id, holder_name FROM tenant_leases "
            "WHERE expires_at > clock_timestamp() AND session_lives(holder)"
        )
    )
    return {row.credential_id: row.holder_name for row in rows}
