"""Reconciliations that are kept: what was asked, what was found, the verdict; and the claims of scheduled ones.

Here: the tables reconciliations and reconciliation_entities. Not here: comparing (reconciliation/), when a schedule is
due (defs/).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.postgres.switches import OFF

# On top of the run's time: to write the current chunk and to note the end.
TO_END_SECONDS = 60.0
# A tenant that takes part: loaded once, and neither switched off, paused, refused, nor of an API that is paused.
_DUE = f"""
    FROM tenants t JOIN servicetitan_credentials c ON c.id = t.credential_id JOIN companies co ON co.id = c.company_id
    LEFT JOIN tenant_schedules s ON s.credential_id = c.id
    LEFT JOIN LATERAL (
        SELECT max(r.started_at) AS last_started_at FROM reconciliations r
        WHERE r.credential_id = c.id AND r.sync_type = 'scheduled') l ON true
    WHERE c.enabled AND co.enabled AND c.last_sync_at IS NOT NULL AND s.paused_at IS NULL AND NOT {OFF}
        AND NOT (c.connection_status = 'error' AND (c.retry_at IS NULL OR c.retry_at > now()))
        AND NOT EXISTS (SELECT FROM api_pauses a WHERE a.environment = c.environment AND a.paused_until > now())
        AND NOT EXISTS (
            SELECT FROM reconciliations r WHERE r.credential_id = c.id AND r.sync_type = 'scheduled'
                AND r.started_at >= :since AND (r.ended_at IS NOT NULL OR r.claimed_until > now()))
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that is ours to reconcile, and the row that says so."""

    id: int
    credential_id: int
    partition_key: str


def begin(connection: Connection, credential_id: int, asked: Mapping[str, Any]) -> int:
    """Note that a person's reconciliation begins. Returns its id."""
    query = text(
        "INSERT INTO reconciliations (credential_id, sync_type, asked) VALUES (:id, 'manual', CAST(:asked AS jsonb)) "
        "RETURNING id"
    )
    return int(connection.execute(query, {"id": credential_id, "asked": json.dumps(asked)}).scalar_one())


def claim(connection: Connection, since: datetime, asked: Mapping[str, Any], seconds: float) -> Claim | None:
    """Claim the tenant that has waited longest for its scheduled reconciliation. None: nobody is due.

    `since`: those that were reconciled since then are not. A claim that ran out may be made again, so a run that dies
    loses nobody. One process at a time claims: the caller sees to that.
    """
    row = connection.execute(
        text(f"""
            INSERT INTO reconciliations (credential_id, sync_type, asked, claimed_until)
            SELECT t.credential_id, 'scheduled', CAST(:asked AS jsonb), now() + make_interval(secs => :seconds)
            {_DUE} ORDER BY l.last_started_at NULLS FIRST, t.partition_key LIMIT 1
            RETURNING id, credential_id, (SELECT partition_key FROM tenants t WHERE t.credential_id
                = reconciliations.credential_id)
        """),  # noqa: S608 - constants
        {"since": since, "asked": json.dumps(asked), "seconds": seconds + TO_END_SECONDS},
    ).one_or_none()
    return None if row is None else Claim(*row)


def number_due(connection: Connection, since: datetime) -> int:
    """How many tenants wait for their scheduled reconciliation."""
    return int(connection.execute(text(f"SELECT count(*) {_DUE}"), {"since": since}).scalar_one())


def end(
    connection: Connection, id_: int, verdict: str, message: str | None, entities: Sequence[Mapping[str, Any]]
) -> None:
    """Keep the verdict and what was found of each entity. A tenant that was removed meanwhile keeps nothing."""
    found = connection.execute(
        text(
            "UPDATE reconciliations SET ended_at = clock_timestamp(), verdict = :verdict, message = :message, "
            "claimed_until = NULL WHERE id = :id RETURNING id"
        ),
        {"id": id_, "verdict": verdict, "message": message},
    ).one_or_none()
    if found is None or not entities:
        return
    connection.execute(
        text("""
            INSERT INTO reconciliation_entities (reconciliation_id, entity, compared, verdict, records_here,
                records_there, missing_here, gone_there, different, repaired, requests, bytes, document)
            VALUES (:reconciliation_id, :entity, :compared, :verdict, :here, :there, :missing, :gone, :different,
                :repaired, :requests, :bytes, CAST(:document AS jsonb))
        """),
        [{**one, "reconciliation_id": id_, "document": json.dumps(one)} for one in entities],
    )


def give_up(connection: Connection, id_: int) -> None:
    """Forget a reconciliation that could not begin; the tenant is due again."""
    connection.execute(text("DELETE FROM reconciliations WHERE id = :id AND ended_at IS NULL"), {"id": id_})


def latest(connection: Connection, credential_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The last reconciliation of each tenant that has ended, with its entities as they were kept."""
    rows = connection.execute(
        text("""
            SELECT t.partition_key AS tenant, t.company_name AS company, r.started_at, r.ended_at, r.asked, r.verdict,
                   r.message AS error, (
                SELECT coalesce(jsonb_agg(e.document ORDER BY (e.document ->> 'place')::int), '[]'::jsonb)
                FROM reconciliation_entities e WHERE e.reconciliation_id = r.id) AS entities
            FROM tenants t JOIN LATERAL (
                SELECT * FROM reconciliations r WHERE r.credential_id = t.credential_id AND r.ended_at IS NOT NULL
                ORDER BY r.id DESC LIMIT 1) r ON true
            WHERE t.credential_id = ANY(:ids) ORDER BY t.partition_key
        """),
        {"ids": list(credential_ids)},
    ).mappings()
    return [dict(row) for row in rows]
