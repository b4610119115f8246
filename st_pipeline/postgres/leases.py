"""One run works on a tenant at a time.

Here: taking, extending and giving back a tenant's lease. Not here: waiting for one (tenant_sync.py).
A row with an expiry, not a session lock: that would outlive a pooled connection and die with a reconnect. The row also
names its holder's connection, so a holder that was killed is seen at once and not only when the lease runs out.
"""

import os
import socket
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, text

from st_pipeline.errors import LeaseLost


@dataclass(frozen=True, slots=True)
class Lease:
    """A tenant's lease, held by the connection it was taken on."""

    credential_id: int
    tenant: str
    holder: uuid.UUID
    seconds: float

    def extend(self, connection: Connection) -> None:
        """Check that the lease is still ours and extend it. Raises LeaseLost: the transaction must not commit."""
        extended = connection.execute(
            text(
                "UPDATE tenant_leases SET expires_at = clock_timestamp() + make_interval(secs => :seconds) "
                "WHERE credential_id = :id AND holder = :holder"
            ),
            {"id": self.credential_id, "holder": self.holder, "seconds": self.seconds},
        ).rowcount
        if not extended:
            raise LeaseLost(
                f"sync {self.tenant}: another run took the tenant over; nothing more is written here, the other goes on"
            )

    def release(self, connection: Connection) -> None:
        """Give the tenant back, unless another run has it by now."""
        connection.execute(
            text("DELETE FROM tenant_leases WHERE credential_id = :id AND holder = :holder"),
            {"id": self.credential_id, "holder": self.holder},
        )


def take(connection: Connection, credential_id: int, tenant: str, purpose: str, seconds: float) -> Lease | None:
    """Take a tenant that is free, or whose holder's lease ran out or connection is gone. None: it is held."""
    lease = Lease(credential_id, tenant, uuid.uuid4(), seconds)
    taken = connection.execute(
        text("""
            INSERT INTO tenant_leases AS l
                (credential_id, holder, holder_name, backend_pid, backend_start, taken_at, expires_at)
            SELECT :id, :holder, :name, a.pid, a.backend_start, clock_timestamp(),
                   clock_timestamp() + make_interval(secs => :seconds)
            FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
            ON CONFLICT (credential_id) DO UPDATE SET
                holder = excluded.holder, holder_name = excluded.holder_name, backend_pid = excluded.backend_pid,
                backend_start = excluded.backend_start, taken_at = excluded.taken_at, expires_at = excluded.expires_at
            WHERE l.expires_at < clock_timestamp() OR NOT EXISTS (
                SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid AND a.backend_start = l.backend_start)
        """),
        {
            "id": credential_id,
            "holder": lease.holder,
            "name": f"{purpose} (process {os.getpid()} on {socket.gethostname()})",
            "seconds": seconds,
        },
    ).rowcount
    return lease if taken else None


def holder_name(connection: Connection, credential_id: int) -> str | None:
    """Who holds the tenant, for a person to read."""
    query = text("SELECT holder_name FROM tenant_leases WHERE credential_id = :id")
    name: str | None = connection.execute(query, {"id": credential_id}).scalar()
    return name
