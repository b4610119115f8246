"""What happens after ServiceTitan refused a tenant everything that a sync asked for.

Here: suspending the tenant, or taking the refusal for an outage. Not here: what counts as such a refusal (sync/), the
pauses and the status (store), what a person's test finds (diagnosis).

Keys are withdrawn from one tenant at a time. When several tenants are refused within a minute, it is an outage of
ServiceTitan, or an app key that is wrong for all: suspending them would only make each wait for its pause afterwards.
After an hour it no longer counts as an outage, and they are suspended.
"""

from sqlalchemy import Connection, text

from st_pipeline.tenants import store

SEVERAL = 3  # tenants
TOGETHER_SECONDS = 60
LONGEST_OUTAGE_MINUTES = 60
# Without it, two syncs that end at once would not see each other's refusal, or would deadlock.
LOCK = 3_405_691_582


def refused(connection: Connection, credential_id: int, message: str) -> None:
    """Note that a sync was refused everything. `message` holds no secret."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    together = _refused_together(connection, credential_id)
    if len(together) < SEVERAL:
        store.mark_error(connection, credential_id, message)
    else:
        _note_outage(connection, together)


def _refused_together(connection: Connection, credential_id: int) -> list[int]:
    """The tenants whose refusals began within a minute of this one's, itself included; empty if that was long ago."""
    since = connection.execute(
        text("""
            UPDATE servicetitan_credentials SET refused_since = coalesce(refused_since, clock_timestamp())
            WHERE id = :id RETURNING refused_since
        """),
        {"id": credential_id},
    ).scalar_one_or_none()
    query = text("""
        SELECT credential_id FROM tenants JOIN servicetitan_credentials c ON c.id = credential_id
        WHERE tenants.enabled AND abs(extract(epoch FROM c.refused_since - :since)) <= :together
              AND c.refused_since > clock_timestamp() - make_interval(mins => :longest)
    """)
    bound = {"since": since, "together": TOGETHER_SECONDS, "longest": LONGEST_OUTAGE_MINUTES}
    return list(connection.execute(query, bound).scalars())


def _note_outage(connection: Connection, credential_ids: list[int]) -> None:
    """Suspend none of them: neither this one nor those that were refused first."""
    message = (
        f"{len(credential_ids)} tenants were refused within a minute: this looks like an outage, so polls continue. If "
        "it lasts, check the app key and the addresses in the settings"
    )
    connection.execute(
        text("""
            UPDATE servicetitan_credentials SET refusals = 0, retry_at = NULL, connection_message = :message,
                connection_status = CASE WHEN last_sync_at IS NULL THEN 'pending' ELSE 'connected' END
            WHERE id = ANY(:ids)
        """),
        {"ids": credential_ids, "message": message},
    )
