"""What was never read to its end, and when it is tried again."""

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import cursors, switches, tenant_schedules
from st_pipeline.settings import Settings
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.first_loads import due_first_loads
from st_pipeline.tenants.store import Tenant
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FIRST_PAUSE, DAY = timedelta(minutes=10), timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def database(
    postgres_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, list[Tenant]]]:
    """Two tenants; the first has everything but its invoices, the second nothing."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), encryption_keys=f"1:{base64.b64encode(os.urandom(32)).decode()}"
    )
    with database_copied(postgres_server, TEMPLATE) as engine:
        news = new_credential("acme", tenant_id=1), new_credential("bolt", tenant_id=2)
        both = [put_tenant(engine, settings, new) for new in news]
        with engine.begin() as connection:
            for name in ENTITIES.keys() - {"invoices"}:
                cursors.save(connection, both[0].credential_id, name, last_full_at=NOW - DAY)
        yield engine, both


@pytest.fixture
def connection(database: tuple[Engine, list[Tenant]]) -> Iterator[Connection]:
    """A transaction that is rolled back after the test."""
    with database[0].connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def acme(database: tuple[Engine, list[Tenant]]) -> Tenant:
    """The tenant that lacks its invoices."""
    return database[1][0]


@pytest.fixture
def bolt(database: tuple[Engine, list[Tenant]]) -> Tenant:
    """The tenant that has nothing."""
    return database[1][1]


def log_row(
    connection: Connection,
    tenant: Tenant,
    entity: str | None,
    *,
    mode: str = "full",
    status: str = "failed",
    ended: datetime = NOW,
) -> None:
    """A sync that ended, as the log has it; `entity` None: before it came to any."""
    connection.execute(
        text("""
            WITH log AS (
                INSERT INTO servicetitan_sync_logs
                    (credential_id, sync_id, sync_type, mode, data_type, status, completed_at)
                VALUES (:id, gen_random_uuid(), 'manual', :mode, 'all', :status, :ended) RETURNING id
            )
            INSERT INTO sync_log_entities (sync_log_id, entity, mode, status)
            SELECT id, CAST(:entity AS text), :mode, :status FROM log WHERE CAST(:entity AS text) IS NOT NULL
        """),
        {"id": tenant.credential_id, "entity": entity, "mode": mode, "status": status, "ended": ended},
    )


def failed(connection: Connection, tenant: Tenant, *, times: int) -> None:
    """First loads of its invoices that failed, the last one now."""
    for number in range(times):
        log_row(connection, tenant, "invoices", ended=NOW - number * DAY)
    cursors.save(connection, tenant.credential_id, "invoices", last_failed_at=NOW)


def test_what_was_never_loaded_is_due_with_its_streams_and_in_the_order_of_the_tenants(
    connection: Connection, acme: Tenant, bolt: Tenant
):
    first, second = due_first_loads(connection, [bolt, acme], NOW)
    assert (first.tenant, first.names, first.failures, first.is_everything) == (bolt, tuple(SYNCED), 0, True)
    assert (second.tenant, second.names, second.is_everything) == (acme, ("invoices", "invoices_stream"), False)


def test_only_tenants_asked_for_that_lack_something_are_told(connection: Connection, acme: Tenant):
    assert [one.tenant for one in due_first_loads(connection, [acme], NOW)] == [acme]
    cursors.save(connection, acme.credential_id, "invoices", last_full_at=NOW)
    assert due_first_loads(connection, [acme], NOW) == []
    assert due_first_loads(connection, [], NOW) == []


def test_an_entity_that_is_off_waits_for_its_first_load(connection: Connection, acme: Tenant, bolt: Tenant):
    switches.turn_off(connection, "entity", "invoices", None)
    tenant_schedules.save(connection, bolt.credential_id, entities_off=["jobs"])
    (load,) = due_first_loads(connection, [acme, bolt], NOW)
    assert load.tenant == bolt
    assert {"invoices", "jobs"} == set(ENTITIES) - set(load.names)


@pytest.mark.parametrize(
    ("times", "pause"),
    [(1, FIRST_PAUSE), (2, 2 * FIRST_PAUSE), (3, 4 * FIRST_PAUSE), (8, 128 * FIRST_PAUSE), (9, DAY), (30, DAY)],
)
def test_after_each_failure_the_pause_doubles_up_to_a_day(
    connection: Connection, acme: Tenant, times: int, pause: timedelta
):
    failed(connection, acme, times=times)
    assert due_first_loads(connection, [acme], NOW + pause - SECOND) == []
    (load,) = due_first_loads(connection, [acme], NOW + pause)
    assert (load.names, load.failures) == (("invoices", "invoices_stream"), times)


def test_a_load_whose_process_died_is_tried_again_after_the_first_pause(connection: Connection, acme: Tenant):
    cursors.save(connection, acme.credential_id, "invoices", full_started_at=NOW)
    assert due_first_loads(connection, [acme], NOW + FIRST_PAUSE - SECOND) == []
    assert len(due_first_loads(connection, [acme], NOW + FIRST_PAUSE)) == 1


def test_the_later_of_a_start_and_a_failure_counts(connection: Connection, acme: Tenant):
    failed(connection, acme, times=1)
    cursors.save(connection, acme.credential_id, "invoices", full_started_at=NOW + DAY)
    assert due_first_loads(connection, [acme], NOW + DAY + FIRST_PAUSE - SECOND) == []


def test_failures_of_another_kind_lengthen_no_pause(connection: Connection, acme: Tenant, bolt: Tenant):
    failed(connection, acme, times=1)
    log_row(connection, acme, "jobs")
    log_row(connection, bolt, "invoices")
    log_row(connection, acme, "invoices", mode="incremental")
    log_row(connection, acme, "invoices", status="completed")
    (load,) = due_first_loads(connection, [acme], NOW + FIRST_PAUSE)
    assert load.failures == 2  # full syncs of this tenant that failed: of its invoices, of its jobs


def test_a_sync_that_failed_before_it_came_to_any_entity_counts_as_one_try(connection: Connection, bolt: Tenant):
    for number in range(3):
        log_row(connection, bolt, None, ended=NOW - number * DAY)
    assert due_first_loads(connection, [bolt], NOW + FIRST_PAUSE - SECOND) == []
    (load,) = due_first_loads(connection, [bolt], NOW + FIRST_PAUSE)
    assert (load.is_everything, load.failures) == (True, 3)


@pytest.mark.parametrize(("tested", "expected"), [(NOW - SECOND, 0), (NOW, 0), (NOW + SECOND, 1)])
def test_credentials_that_were_tested_since_are_tried_at_once(
    connection: Connection, acme: Tenant, tested: datetime, expected: int
):
    failed(connection, acme, times=5)
    connection.execute(
        text("UPDATE servicetitan_credentials SET last_tested_at = :tested WHERE id = :id"),
        {"tested": tested, "id": acme.credential_id},
    )
    assert len(due_first_loads(connection, [acme], NOW + 2 * SECOND)) == expected
