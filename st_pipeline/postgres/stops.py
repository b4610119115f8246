"""Requests to end a sync at its next chunk, whichever process it runs in.

Here: the table sync_stops. Not here: obeying a request, which extending a lease does in every chunk (leases).
"""

import uuid

from sqlalchemy import Connection, text

KEPT = "1 day"  # then a request is deleted


def request(connection: Connection, sync_id: uuid.UUID, reason: str) -> None:
    """Ask the sync to end. The first reason stays. `reason` completes a sentence: "stopped by a person"."""
    connection.execute(
        text(f"DELETE FROM sync_stops WHERE requested_at < now() - interval '{KEPT}'")  # noqa: S608 - a constant
    )
    connection.execute(
        text("INSERT INTO sync_stops (sync_id, reason) VALUES (:sync_id, :reason) ON CONFLICT DO NOTHING"),
        {"sync_id": sync_id, "reason": reason},
    )


def reason(connection: Connection, sync_id: uuid.UUID) -> str | None:
    """Why the sync was asked to end; None when it was not."""
    query = text("SELECT reason FROM sync_stops WHERE sync_id = :sync_id")
    found: str | None = connection.execute(query, {"sync_id": sync_id}).scalar()
    return found
