"""Every SQL example in the docs runs on a synced tenant, and finds something."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from st_pipeline import SyncConfiguration, synchronize_data
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.documents import PAGES
from st_pipeline_tests.onboarding import onboard

# The examples name this tenant.
TENANT = "acme-plumbing"
FINDS_NOTHING = re.compile(r"\s*-- finds nothing (when|between|in)")
EXAMPLES = [
    (page.name, statement.strip())
    for page in PAGES
    for block in page.blocks("sql")
    for statement in block.split(";")
    if statement.strip()
]


@pytest.fixture
def synced(engine: Engine, settings: Settings, servicetitan_tenant: Callable[..., SimulatedTenant]) -> Engine:
    """A tenant with everything the examples ask for: gone and merged records, a reject, a failed entity."""
    tenant = servicetitan_tenant(seed=3, customers=60, invoices=120)
    settings = onboard(tenant, settings, engine, TENANT, name="Acme Plumbing", intacct_id="ACME-1", trade="plumbing")
    tenant.insert("invoices", {**tenant.record("invoices", tenant.ids("invoices")[0]), "id": 987654321, "total": "NaN"})
    tenant.advance(merged=2)
    full = SyncConfiguration(incremental_only=False)
    assert synchronize_data(TENANT, full, settings=settings, engine=engine).success
    tenant.advance(deleted={"invoices": 3})
    tenant.fault("status", status=400, entity="memberships")
    assert not synchronize_data(TENANT, full, settings=settings, engine=engine).success
    return engine


def test_every_query_runs_and_finds_something(synced: Engine):
    """A path into a record that is misspelt finds nothing, and no error tells."""
    assert len(EXAMPLES) > 10
    wrong = []
    for page, statement in EXAMPLES:
        with synced.connect() as connection:
            found = connection.exec_driver_sql(statement)
            rows = found.fetchall() if found.returns_rows else range(found.rowcount)
            names = list(found.keys()) if found.returns_rows else []
            connection.rollback()
        if FINDS_NOTHING.match(statement):
            continue
        empty = [
            name for number, name in enumerate(names) if name != "message" and all(row[number] is None for row in rows)
        ]
        if not rows or empty:
            wrong.append(f"{page}: {statement[:60]!r} found {len(rows)} rows; nothing in {', '.join(empty) or 'any'}")
    assert wrong == []
