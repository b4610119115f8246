"""Requests to end a sync at its next chunk, whichever process it runs in.

Here: the table sync_stops. Not here: obeying a request (leases.py, in every chunk's transaction).
"""

import uuid

from sqlalchemy import Connection, text

KEPT = "1 day"  # a request outlives its sync by this much


def request(connection: Connection, sync_id: uuid.UUID, reason: str) -> None:
    """Let the sync end. The first reason stays. `reason` continues a sentence: "stopped by a person"."""
    connection.execute(
        text(f"DELETE FROM sync_stops WHERE requested_at < now() - interval '{KEPT}'")  # noqa: S608 - a constant
    )
    connection.execute(
        text("INSERT INTO sync_stops (sync_id, reason) VALUES (:sync_id, :reason) ON CONFLICT DO NOTHING"),
        {"sync_id": sync_id, "reason": reason},
    )


def reason(connection: Connection, sync_id: uuid.UUID) -> str | None:
    """Why the sync is to end, None: it is not."""
    query = text("SELECT reason FROM sync_stops WHERE sync_id = :sync_id")
    found: str | None = connection.execute(query, {"sync_id": sync_id}).scalar()
    return found
