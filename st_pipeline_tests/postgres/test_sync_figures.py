"""Figures of deleted syncs: by hour, later by day; whatever moves, the sums stay."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.operations.history import SyncFilter, Totals, totals
from st_pipeline.postgres import sync_figures
from st_pipeline.settings import Settings
from st_pipeline_tests.tenants import planted

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
EVERYTHING = SyncFilter()
BY_ENTITY = """
    SELECT entity, sum(syncs), sum(failed), sum(records_created), sum(seconds), sum(pages)
    FROM sync_history_entities GROUP BY entity
"""
DAYS = "SELECT period, starts_at, syncs FROM sync_figures ORDER BY credential_id"


def put_sync(connection: Connection, credential_id: int, at: datetime, status: str = "completed", **api: Any) -> int:
    """A row in the sync log, with one of customers: 10 records, 2 seconds, 3 requests."""
    answered = {"requests": 3, "retries": 1, "bytes": 500, "longest_ms": 9.5, "buckets": {"4": 2, "7": 1}, **api}
    ended = None if status == "running" else at + timedelta(seconds=2)
    values = {"id": credential_id, "at": at, "ended": ended, "status": status, "api": json.dumps({"api": answered})}
    log_id: int = connection.execute(
        text(
            "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, "
            "started_at, completed_at, duration_seconds, records_processed, records_created, details) VALUES (:id, "
            "gen_random_uuid(), 'scheduled', 'incremental', 'all', :status, :at, :ended, "
            "CASE WHEN CAST(:ended AS timestamptz) IS NOT NULL THEN 2 END, 10, 4, CAST(:api AS jsonb)) RETURNING id"
        ),
        values,
    ).scalar_one()
    connection.execute(
        text(
            "INSERT INTO sync_log_entities (sync_log_id, entity, mode, status, started_at, completed_at, "
            "records_processed, records_created, pages) VALUES (:log, 'customers', 'incremental', :status, :at, "
            ":ended, 10, 4, 1)"
        ),
        {**values, "log": log_id},
    )
    return log_id


def figures_of(total: Totals) -> dict[str, Any]:
    """All of them, also those of the requests."""
    return {name: getattr(total, name) for name in total.__slots__ if name != "api"} | total.api.as_details()


def delete(connection: Connection, ids: list[int]) -> None:
    """What retention does with a batch."""
    sync_figures.add(connection, ids)
    connection.execute(text("DELETE FROM servicetitan_sync_logs WHERE id = ANY(:ids)"), {"ids": ids})


@pytest.fixture
def two_tenants(engine: Engine, settings: Settings) -> tuple[int, int]:
    """Their credentials' ids."""
    other = planted.new_credential(company="birch", tenant_id=2002)
    return planted.put_tenant(engine, settings).credential_id, planted.put_tenant(engine, settings, other).credential_id


def test_the_sums_over_all_syncs_stay_while_rows_become_hours_and_hours_days(
    engine: Engine, two_tenants: tuple[int, int]
):
    acme, birch = two_tenants
    filters = [EVERYTHING, SyncFilter(companies=["birch"]), SyncFilter(since=NOON)]
    with engine.begin() as connection:
        ids = [put_sync(connection, acme, NOON + timedelta(minutes=minutes)) for minutes in (-90, -30, 0, 5, 59, 60)]
        ids.append(put_sync(connection, birch, NOON, status="failed", longest_ms=80.25, buckets={"4": 1, "25": 2}))
        put_sync(connection, birch, NOON, status="running", buckets={})
        before = [figures_of(totals(connection, chosen)) for chosen in filters]
        entities = connection.execute(text(BY_ENTITY)).all()

        delete(connection, ids[:3])
        delete(connection, ids[3:])  # of an hour that has figures already
        hours = connection.execute(
            text("SELECT starts_at, syncs, failed FROM sync_figures ORDER BY credential_id, starts_at")
        ).all()
        assert [(at.hour, syncs, failed) for at, syncs, failed in hours] == [
            (10, 1, 0), (11, 1, 0), (12, 3, 0), (13, 1, 0), (12, 1, 1),
        ]  # fmt: skip
        assert [figures_of(totals(connection, chosen)) for chosen in filters] == before
        assert connection.execute(text(BY_ENTITY)).all() == entities

        tomorrow = NOON.replace(hour=0) + timedelta(days=1)
        for table in sync_figures.TABLES:
            assert sync_figures.hours_to_days(connection, table, tomorrow, 2) == 2
            assert sync_figures.hours_to_days(connection, table, tomorrow, 100) == 3
            assert sync_figures.hours_to_days(connection, table, tomorrow, 100) == 0
        days = connection.execute(text(DAYS)).all()
        assert days == [("day", NOON.replace(hour=0), 6), ("day", NOON.replace(hour=0), 1)]
        assert figures_of(totals(connection, EVERYTHING)) == before[0]
        assert figures_of(totals(connection, SyncFilter(since=NOON.replace(hour=0)))) == before[0]
        assert connection.execute(text(BY_ENTITY)).all() == entities


def test_the_hour_or_day_in_which_a_period_begins_counts_whole(engine: Engine, two_tenants: tuple[int, int]):
    with engine.begin() as connection:
        delete(connection, [put_sync(connection, two_tenants[0], NOON)])
        for minutes, syncs in ((-1, 1), (0, 1), (59, 1), (60, 0)):
            assert totals(connection, SyncFilter(since=NOON + timedelta(minutes=minutes))).syncs == syncs
