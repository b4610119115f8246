"""Reading the sync log: the last syncs, figures over a period, one sync in detail.

Here: the queries. Figures over a period include the sums that stay of rows deleted from the log; whatever shows single
syncs reads the log alone. Not here: writing the log (postgres/), showing it (cli/).
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Result, text

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

    @property
    def where(self) -> str:
        """The condition, with only what was asked for, so that Postgres takes the index that fits."""
        began = "l.started_at >= :since"
        clauses = {
            "t.company = ANY(:companies)": self.companies,
            "t.environment = :environment": self.environment,
            "l.status = 'failed'": self.status == "failed",  # not as a parameter: there is an index of these alone
            "l.status = :status": self.status not in (None, "failed"),
            began if self.status == "failed" else f"({began} OR l.status = 'running')": self.since,
        }
        return " AND ".join(clause for clause, is_asked in clauses.items() if is_asked) or "true"


SYNC = """
    l.id, t.partition_key AS tenant, t.company, t.environment, l.sync_type, l.mode, l.data_type, l.status,
    l.started_at, l.completed_at, coalesce(l.duration_seconds, extract(epoch FROM now() - l.started_at)::float8)
    AS seconds, l.records_processed, l.records_successful, l.records_failed, l.records_created, l.records_updated,
    l.records_unchanged, l.records_deleted, l.records_expected, l.message, l.sync_id::text AS sync_id,
    l.dagster_run_id
"""
FROM = "FROM servicetitan_sync_logs l JOIN tenants t ON t.credential_id = l.credential_id"


def _as_dicts(result: Result[Any]) -> list[dict[str, Any]]:
    """A dictionary for each row; of 10,000 rows' mappings it took four times as long."""
    names = list(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def last_syncs(connection: Connection, chosen: SyncFilter, limit: int) -> list[dict[str, Any]]:
    """The newest first."""
    query = text(f"SELECT {SYNC} {FROM} WHERE {chosen.where} ORDER BY l.id DESC LIMIT :limit")
    return _as_dicts(connection.execute(query, {**chosen.bound, "limit": limit}))


def last_sync_of_each(connection: Connection, chosen: SyncFilter) -> list[dict[str, Any]]:
    """The newest sync of each tenant, by tenant; the status is that of this sync. Tenants never synced have none.

    Few columns, as there may be 10,000 tenants: Python took twice as long for all of them.
    """
    query = text(f"""
        SELECT l.id, t.partition_key AS tenant, l.mode, l.data_type, l.status, l.started_at, l.completed_at,
               l.records_processed, l.records_successful, l.records_failed, l.message
        FROM tenants t CROSS JOIN LATERAL (
            SELECT * FROM servicetitan_sync_logs WHERE credential_id = t.credential_id ORDER BY id DESC LIMIT 1) l
        WHERE {chosen.where} ORDER BY t.partition_key
    """)  # noqa: S608 - constant text
    return _as_dicts(connection.execute(query, chosen.bound))


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


# Every sync of the period: in the log, or in the sums of those that are deleted from it. Of these, the hour or day in
# which the period begins counts whole.
HISTORY = """
    FROM sync_history h JOIN tenants t ON t.credential_id = h.credential_id
    WHERE (CAST(:companies AS text[]) IS NULL OR t.company = ANY(:companies))
    AND (CAST(:environment AS text) IS NULL OR t.environment = :environment)
    AND (CAST(:since AS timestamptz) IS NULL OR h.is_running OR h.starts_at >= CASE h.period
         WHEN 'sync' THEN CAST(:since AS timestamptz) ELSE date_trunc(h.period, CAST(:since AS timestamptz), 'UTC') END)
"""


def totals(connection: Connection, chosen: SyncFilter) -> Totals:
    """The figures of all these syncs, whatever their status; also of those whose rows in the log are deleted."""
    counts = ", ".join(f"coalesce(sum(h.{name}), 0)::bigint AS {name}" for name in COUNTS)
    sums = connection.execute(
        text(f"""
            SELECT coalesce(sum(h.syncs), 0)::bigint AS syncs, coalesce(sum(h.failed), 0)::bigint AS failed,
                   count(*) FILTER (WHERE h.is_running) AS running,
                   coalesce(sum(h.records_processed), 0)::bigint AS processed,
                   coalesce(sum(h.records_failed), 0)::bigint AS records_failed,
                   coalesce(sum(h.seconds), 0) AS seconds, {counts}, coalesce(max(h.longest_ms), 0) AS longest_ms
            {HISTORY}
        """),
        chosen.bound,
    )
    row = dict(sums.mappings().one())
    times = connection.execute(
        text(f"""
            SELECT b.key::integer, sum(b.value::bigint)::bigint
            FROM (SELECT h.buckets {HISTORY}) f CROSS JOIN LATERAL jsonb_each_text(f.buckets) b GROUP BY 1
        """),  # noqa: S608 - constant text
        chosen.bound,
    )
    requests = {name: row.pop(name) for name in (*COUNTS, "longest_ms")}
    completed = row["syncs"] - row["failed"] - row["running"]
    return Totals(
        **row,
        completed=completed,
        api=RequestStatistics(**requests, buckets={bucket: count for bucket, count in times}),  # noqa: C416 - rows, not pairs
    )


def slowest(connection: Connection, chosen: SyncFilter, limit: int = 3) -> list[dict[str, Any]]:
    """The syncs that took longest."""
    query = text(
        f"SELECT {SYNC} {FROM} WHERE {chosen.where} AND l.status <> 'running' ORDER BY seconds DESC LIMIT :limit"
    )
    return _as_dicts(connection.execute(query, {**chosen.bound, "limit": limit}))


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
