"""Tenants for checks to look at: onboarded and in order, until a test plants what is wrong."""

from datetime import datetime

from sqlalchemy import Engine, text

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.spec import CheckedTenant, Verdict
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
