"""Reading the sync log: the last syncs, figures over a period, one sync in detail.

Here: the queries. Not here: writing the log (postgres/), showing it (cli/).
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.servicetitan.statistics import COUNTS, RequestStatistics


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """Which syncs; None and empty mean all. `since`: those that began then or later, or are still running."""

    companies: Collection[str] = ()
    environment: str | None = None
    status: str | None = None
    since: datetime | None = None

    @property
    def bound(self) -> dict[str, Any]:
        """The queries' parameters."""
        companies = list(self.companies) or None
        return {
            "companies": companies, "environment": self.environment, "status": self.status, "since": self.since
        }  # fmt: skip


WHERE = """
    (CAST(:companies AS text[]) IS NULL OR t.company = ANY(:companies))
    AND (CAST(:environment AS text) IS NULL OR t.environment = :environment)
    AND (CAST(:status AS text) IS NULL OR l.status = :status)
    AND (CAST(:since AS timestamptz) IS NULL OR l.started_at >= :since OR l.status = 'running')
"""
SYNC = """
    l.id, t.partition_key AS tenant, t.company, t.environment, l.sync_type, l.mode, l.data_type, l.status,
    l.started_at, l.completed_at, coalesce(l.duration_seconds, extract(epoch FROM now() - l.started_at)::float8)
    AS seconds, l.records_processed, l.records_successful, l.records_failed, l.records_created, l.records_updated,
    l.records_unchanged, l.records_deleted, l.records_expected, l.message, l.sync_id::text AS sync_id,
    l.dagster_run_id
"""
FROM = "FROM servicetitan_sync_logs l JOIN tenants t ON t.credential_id = l.credential_id"


def last_syncs(connection: Connection, chosen: SyncFilter, limit: int) -> list[dict[str, Any]]:
    """The newest first."""
    query = text(f"SELECT {SYNC} {FROM} WHERE {WHERE} ORDER BY l.id DESC LIMIT :limit")
    return [dict(row) for row in connection.execute(query, {**chosen.bound, "limit": limit}).mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures over syncs. `api`: their requests."""

    syncs: int = 0
    completed: int = 0
    failed: int = 0
    running: int = 0
    processed: int = 0
    records_failed: int = 0
    seconds: float = 0.0
    api: RequestStatistics = field(default_factory=RequestStatistics)


def totals(connection: Connection, chosen: SyncFilter) -> Totals:
    """The figures of all these syncs."""
    sums = connection.execute(
        text(f"""
            SELECT count(*) AS syncs, count(*) FILTER (WHERE l.status = 'completed') AS completed,
                   count(*) FILTER (WHERE l.status = 'failed') AS failed,
                   count(*) FILTER (WHERE l.status = 'running') AS running,
                   coalesce(sum(l.records_processed), 0)::bigint AS processed,
                   coalesce(sum(l.records_failed), 0)::bigint AS records_failed,
                   coalesce(sum(l.duration_seconds), 0) AS seconds
            {FROM} WHERE {WHERE}
        """),
        chosen.bound,
    ).mappings()
    return Totals(**sums.one(), api=_requests(connection, chosen))


def _requests(connection: Connection, chosen: SyncFilter) -> RequestStatistics:
    """The figures about requests of all these syncs, added up."""
    counts = ", ".join(f"coalesce(sum((l.details->'api'->>'{name}')::bigint), 0)::bigint AS {name}" for name in COUNTS)
    longest = "coalesce(max((l.details->'api'->>'longest_ms')::float8), 0) AS longest_ms"
    sums = connection.execute(text(f"SELECT {counts}, {longest} {FROM} WHERE {WHERE}"), chosen.bound).mappings()
    times = connection.execute(
        text(f"""
            SELECT b.key::integer, sum(b.value::bigint)::bigint
            {FROM} CROSS JOIN LATERAL jsonb_each_text(l.details->'api'->'buckets') b WHERE {WHERE} GROUP BY 1
        """),
        chosen.bound,
    )
    return RequestStatistics(**sums.one(), buckets={bucket: count for bucket, count in times})  # noqa: C416 - rows, not pairs


def slowest(connection: Connection, chosen: SyncFilter, limit: int = 3) -> list[dict[str, Any]]:
    """The syncs that took longest."""
    query = text(f"SELECT {SYNC} {FROM} WHERE {WHERE} AND l.status <> 'running' ORDER BY seconds DESC LIMIT :limit")
    return [dict(row) for row in connection.execute(query, {**chosen.bound, "limit": limit}).mappings()]


def find_syncs(connection: Connection, written: str) -> list[dict[str, Any]]:
    """The sync with this id in the log, or those with this sync id (one for each tenant), with their details.

    A Dagster run's id is also its sync's id.
    """
    if written.isascii() and written.isdigit():
        where, value = "l.id = CAST(:value AS bigint)", written[:18]
    else:
        try:
            value = str(uuid.UUID(written))
        except ValueError:
            return []
        where = "l.sync_id = CAST(:value AS uuid)"
    query = text(f"SELECT {SYNC}, l.details {FROM} WHERE {where} ORDER BY l.id")
    return [dict(row) for row in connection.execute(query, {"value": value}).mappings()]


def entities_of(connection: Connection, sync_log_id: int) -> list[dict[str, Any]]:
    """What a sync did for each entity, in the order of the sync."""
    query = text("""
        SELECT entity, mode, status, started_at, completed_at,
               extract(epoch FROM coalesce(completed_at, now()) - started_at)::float8 AS seconds, pages,
               records_processed, records_created, records_updated, records_unchanged, records_deleted, records_failed,
               message, error_kind
        FROM sync_log_entities WHERE sync_log_id = :id ORDER BY started_at, entity
    """)
    return [dict(row) for row in connection.execute(query, {"id": sync_log_id}).mappings()]
