"""What `sync --dry-run` estimates, and what that costs the database."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text

from st_pipeline.entities import ENTITIES
from st_pipeline.operations.sync_plan import Plan, plan
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.tenants.selection import Selection, choose

COMPANIES = """
    INSERT INTO companies (slug, name) SELECT 'company-' || n, 'Company' FROM generate_series(1, :number) n
    ON CONFLICT DO NOTHING
"""
CREDENTIALS = """
    INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret)
    SELECT id, 'production', id, 'x', 'x' FROM companies ON CONFLICT DO NOTHING
"""
# Odd ones were read in full once.
CURSORS = """
    INSERT INTO sync_cursors (credential_id, entity, continue_from, last_full_at, last_polled_at)
    SELECT id, entity, 'token', now(), now() - interval '1 day'
    FROM servicetitan_credentials, unnest(CAST(:entities AS text[])) AS entity WHERE id % 2 = 1
    ON CONFLICT DO NOTHING
"""
CUSTOMERS = """
    INSERT INTO st_customers (credential_id, st_id, full_data, record_hash, spec_version, local_synced_at)
    SELECT :id, n, '{}', 0, 1, now() FROM generate_series(1, 1200) n
"""


def fill(engine: Engine, number: int) -> None:
    """So many tenants."""
    names = [one.name for spec in ENTITIES.values() for one in (spec, *spec.read_as)]
    with engine.begin() as connection:
        connection.execute(text(COMPANIES), {"number": number})
        connection.execute(text(CREDENTIALS))
        connection.execute(text(CURSORS), {"entities": names})


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What Postgres is asked in the block."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def plans(engine: Engine, settings: Settings, configuration: SyncConfiguration) -> list[Plan]:
    """For every tenant."""
    with engine.connect() as connection:
        return plan(connection, settings, configuration, choose(connection, Selection(), configuration.mode))


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_plan_for_forty_tenants_asks_the_database_as_often_as_one_for_two(
    engine: Engine, settings: Settings, mode: str
):
    """One query a tenant and entity took 10 s for 300 tenants."""
    configuration = SyncConfiguration(sync_type="scheduled", incremental_only=mode == "incremental")
    asked = []
    for number in (2, 40):
        fill(engine, number)
        with statements(engine) as noted:
            assert len(plans(engine, settings, configuration)) == number
        asked.append(len(noted))
    assert asked[0] == asked[1] <= 8


def test_the_requests_of_a_full_sync_are_estimated_from_the_rows_of_each_tenant(engine: Engine, settings: Settings):
    """Three pages for the tenant with 1,200 customers, a token, the feed and the count; one page for the others."""
    fill(engine, 3)
    with engine.begin() as connection:
        first = connection.execute(text("SELECT min(id) FROM servicetitan_credentials")).scalar_one()
        connection.execute(text(CUSTOMERS), {"id": first})
    configuration = SyncConfiguration(only=("customers",), incremental_only=False)
    found = plans(engine, settings.model_copy(update={"list_page_size": 500}), configuration)
    assert [(one.choice.tenant.credential_id == first, one.requests) for one in found] == [
        (True, 3 + 3), (False, 1 + 3), (False, 1 + 3),
    ]  # fmt: skip
