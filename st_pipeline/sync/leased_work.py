"""A tenant under its lease, for work on it that is no sync: a replay of rejects, a repair.

Here: the lease, the row of the sync log, building what the work renewed. Not here: the work.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from st_pipeline.errors import PipelineError
from st_pipeline.postgres import cursors, leases
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog, SyncType, close_abandoned
from st_pipeline.protocol import Mode
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS
from st_pipeline.sync.context import StreamContext
from st_pipeline.sync.stream import build_stream
from st_pipeline.tenants.store import Tenant


@dataclass(slots=True)
class LeasedWork:
    """Work on one tenant. Its mode is `window`: it moves no cursor."""

    tenant: Tenant
    settings: Settings
    connection: Connection
    lease: Lease
    log: SyncLog

    def common(self) -> dict[str, Any]:
        """What the contexts of its entities and streams have in common."""
        return {
            "tenant": self.tenant.partition_key,
            "credential_id": self.tenant.credential_id,
            "connection": self.connection,
            "lease": self.lease,
            "log": self.log,
            "settings": self.settings,
            "mode": Mode.WINDOW,
        }

    def build(self, stream: str) -> None:
        """Build the records of a stream that wait. One that was never built takes every row at its first build."""
        with self.connection.begin():
            begun = cursors.load(self.connection, self.tenant.credential_id, stream).last_full_at is not None
        if not begun:
            return
        build_stream(
            StreamContext(stream=STREAMS[stream], **{**self.common(), "mode": Mode.INCREMENTAL, "quiet": True})
        )
        if self.log.id is not None:
            with self.connection.begin():
                self.log.entity_ended(self.connection, stream)


@contextmanager
def leased_work(
    connection: Connection,
    settings: Settings,
    tenant: Tenant,
    purpose: str,
    label: str,
    sync_type: SyncType = "manual",
) -> Iterator[LeasedWork]:
    """The tenant's lease and a row of the sync log, for the block. `label`: what the log says was asked for.

    Raises TenantBusy when another run holds the tenant for longer than the settings let it wait.
    """
    sync_id = uuid.uuid4()
    lease = leases.take_or_wait(
        connection,
        tenant.credential_id,
        tenant.partition_key,
        purpose,
        settings.lease_seconds,
        sync_id=sync_id,
        wait_seconds=settings.lease_wait_seconds,
    )
    log = SyncLog(tenant.credential_id, tenant.partition_key, sync_id, sync_type, Mode.WINDOW, label, derived=STREAMS)
    message: str | None = "stopped"
    try:
        with connection.begin():
            close_abandoned(connection, tenant.credential_id)
        yield LeasedWork(tenant, settings, connection, lease, log)
        message = None
    except PipelineError as error:
        message = str(error)
        raise
    finally:
        _close(connection, log, lease, message)


def _close(connection: Connection, log: SyncLog, lease: Lease, message: str | None) -> None:
    try:
        if connection.in_transaction():
            connection.rollback()
        with connection.begin():
            if log.id is not None:
                log.ended(connection, message, {})
            lease.release(connection)
    except Exception:  # noqa: BLE001 - the first error is the one to tell; the next sync closes the log's row
        connection.invalidate()  # a pooled connection that lives on would hold the tenant's lease
