"""What stays of deleted sync-log rows: their figures, by hour, and later by day.

Here: tables sync_figures and sync_figures_entities. Not here: which rows are deleted and when (operations/).
A sync counts either by its row in the log, or in an hour, or in a day: it moves in the transaction that deletes what it
was. So the sum over all three, view `sync_history`, is the same before and after.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

_RECORDS = ("processed", "successful", "failed", "created", "updated", "unchanged", "deleted")
_COMMON = ("syncs", "failed", *(f"records_{name}" for name in _RECORDS), "seconds")


@dataclass(frozen=True, slots=True)
class FiguresTable:
    """A table of figures. `key`: besides period and start. `log`: the view of the sync log in the same columns."""

    name: str
    log: str
    key: tuple[str, ...]
    sums: tuple[str, ...]
    has_times: bool

    def into(self, source: str, period: str) -> str:
        """The statement that adds the rows of `source`, grouped by period, to this table."""
        key, start = ", ".join(self.key), f"date_trunc('{period}', starts_at, 'UTC')"
        columns = [*self.sums, *(("longest_ms", "buckets") if self.has_times else ())]
        totals = [f"sum({name})" for name in self.sums]
        added = [f"{name} = f.{name} + excluded.{name}" for name in self.sums]
        if self.has_times:
            totals += ["max(longest_ms)", "sum_of_counts(buckets)"]
            added += [
                "longest_ms = greatest(f.longest_ms, excluded.longest_ms)",
                "buckets = counts_added(f.buckets, excluded.buckets)",
            ]
        return f"""
            INSERT INTO {self.name} AS f ({key}, period, starts_at, {", ".join(columns)})
            SELECT {key}, '{period}', {start}, {", ".join(totals)} FROM {source} GROUP BY {key}, {start}
            ON CONFLICT ({key}, period, starts_at) DO UPDATE SET {", ".join(added)}
        """  # noqa: S608 - names of ours


SYNCS = FiguresTable(
    "sync_figures",
    "sync_log_figures",
    ("credential_id",),
    (*_COMMON, "requests", "retries", "rate_limited", "token_requests", "bytes"),
    has_times=True,
)
ENTITIES = FiguresTable(
    "sync_figures_entities",
    "sync_log_entity_figures",
    ("credential_id", "entity"),
    (*_COMMON, "pages"),
    has_times=False,
)
TABLES = (SYNCS, ENTITIES)


def add(connection: Connection, sync_log_ids: Collection[int]) -> None:
    """Add these ended syncs to their hours. The caller deletes them in the same transaction."""
    for table in TABLES:
        source = f"{table.log} WHERE sync_log_id = ANY(:ids)"
        connection.execute(text(table.into(source, "hour")), {"ids": list(sync_log_ids)})


def hours_to_days(connection: Connection, table: FiguresTable, before: datetime, limit: int) -> int:
    """Move hours that began earlier to their days, the oldest first. Returns how many were moved."""
    moved = f"""
        WITH moved AS MATERIALIZED (
            DELETE FROM {table.name} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table.name} WHERE period = 'hour' AND starts_at < :before
                ORDER BY starts_at LIMIT :limit FOR UPDATE SKIP LOCKED))
            RETURNING *
        ), added AS ({table.into("moved", "day")})
        SELECT count(*) FROM moved
    """  # noqa: S608 - names of ours
    return int(connection.execute(text(moved), {"before": before, "limit": limit}).scalar_one())
