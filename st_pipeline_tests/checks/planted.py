"""Tenants for checks to look at: onboarded and in order, until a test plants what is wrong."""

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.spec import CheckedTenant, Status, Verdict
from st_pipeline.settings import Settings
from st_pipeline.sync.data_types import SYNCED

TENANTS = """
    WITH made AS (INSERT INTO companies (slug, name) SELECT 'company-' || n, 'Company'
                  FROM generate_series(1, :number) n RETURNING id, slug),
    credentials AS (
        INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret,
                                              connection_status, last_sync_at, created_at)
        SELECT id, 'production', id, 'x', 'x', 'connected', :now, :now - interval '90 days' FROM made
        RETURNING id, company_id)
    SELECT credentials.id, slug FROM credentials JOIN made ON made.id = company_id ORDER BY slug
"""
CURSORS = """
    INSERT INTO sync_cursors (credential_id, entity, last_full_at, last_polled_at, complete_through)
    SELECT id, entity, :now, :now, :now FROM servicetitan_credentials CROSS JOIN unnest(CAST(:names AS text[])) entity
"""
SYNC = """
    INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, started_at,
        completed_at, duration_seconds, records_processed, records_failed, details)
    SELECT :id, gen_random_uuid(), :sync_type, :mode, 'all', :status, :started_at,
        CASE WHEN :status <> 'running' THEN CAST(:started_at AS timestamptz) END, :seconds, :processed, :failed,
        CAST(:details AS jsonb) FROM generate_series(1, :number)
"""
PLAIN_SYNC = {
    "sync_type": "scheduled", "mode": "incremental", "status": "completed", "seconds": 1, "processed": 0, "failed": 0,
    "details": "{}", "number": 1,
}  # fmt: skip


def tenants_in_order(engine: Engine, number: int, now: datetime) -> list[CheckedTenant]:
    """So many tenants, company-1 and so on, whose entities and streams were all read just now."""
    with engine.begin() as connection:
        made = [CheckedTenant(*row) for row in connection.execute(text(TENANTS), {"number": number, "now": now})]
        connection.execute(text(CURSORS), {"names": list(SYNCED), "now": now})
    return made


def verdicts(
    engine: Engine, settings: Settings, tenants: list[CheckedTenant], now: datetime, *only: str
) -> dict[str, Verdict]:
    """By tenant, the verdicts of one check."""
    return {one.tenant: one for one in evaluate(engine, settings, tenants, only=only, now=now)}


def failed(found: dict[str, Verdict]) -> dict[str, str]:
    """The tenants whose check fails, with its message."""
    return {tenant: one.message for tenant, one in found.items() if one.status is Status.FAILED}


def execute(engine: Engine, statement: str, **bound: Any) -> None:
    """A statement in a transaction of its own."""
    with engine.begin() as connection:
        connection.execute(text(statement), bound)


def put_sync(engine: Engine, tenant: CheckedTenant, started_at: datetime, **changed: Any) -> None:
    """So many syncs in the log, which ended well unless something else is said."""
    execute(engine, SYNC, id=tenant.credential_id, started_at=started_at, **{**PLAIN_SYNC, **changed})
