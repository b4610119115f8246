"""Where a tenant's entity stands, as sync_cursors keeps it."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import NOW, Cursor
from st_pipeline.protocol import Mode

DAY = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FULL = Cursor(
    continue_from="token-7",
    newest_modified_on="2026-01-02T03:04:05.6789012Z",
    full_continue_from="token-3",
    full_started_at=DAY,
    last_full_at=DAY + timedelta(days=1),
    last_polled_at=DAY + timedelta(days=2),
    last_failed_at=DAY + timedelta(days=4),
    complete_through=DAY + timedelta(days=5),
    full_spec_version=9,
    full_rewrites=True,
    failing_since=DAY + timedelta(days=3),
    failure="jobs of tenant acme: 404",
    failure_kind="AddressUnknown",
)


def values(cursor: Cursor) -> dict[str, object]:
    """By field."""
    return {field.name: getattr(cursor, field.name) for field in fields(cursor)}


@pytest.fixture
def tenants(connection: Connection) -> list[int]:
    """The credential ids of two tenants."""
    connection.exec_driver_sql("INSERT INTO companies (slug, name) VALUES ('acme', 'Acme'), ('bolt', 'Bolt')")
    made = connection.exec_driver_sql(
        "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
        "SELECT id, 'production', id, 'x', 'x' FROM companies RETURNING id"
    )
    return sorted(made.scalars())


def test_every_field_comes_back_as_it_was_saved_and_only_for_its_tenant_and_entity(
    connection: Connection, tenants: list[int]
):
    assert all(value is not None for value in values(FULL).values())
    cursors.save(connection, tenants[0], "jobs", **values(FULL))
    assert cursors.load(connection, tenants[0], "jobs") == FULL
    assert cursors.load(connection, tenants[1], "jobs") == Cursor()
    assert cursors.load(connection, tenants[0], "invoices") == Cursor()


def test_saving_sets_the_named_fields_of_one_row_and_leaves_all_others(connection: Connection, tenants: list[int]):
    for tenant, entity in ((tenants[0], "jobs"), (tenants[0], "invoices"), (tenants[1], "jobs")):
        cursors.save(connection, tenant, entity, **values(FULL))
    cursors.save(connection, tenants[0], "jobs", continue_from="token-8", full_started_at=None)
    expected = Cursor(**{**values(FULL), "continue_from": "token-8", "full_started_at": None})  # type: ignore[arg-type]
    assert cursors.load(connection, tenants[0], "jobs") == expected
    assert cursors.load(connection, tenants[0], "invoices") == FULL
    assert cursors.load(connection, tenants[1], "jobs") == FULL


def test_all_cursors_of_some_tenants_come_at_once_and_empty_ones_for_what_was_never_synced(
    connection: Connection, tenants: list[int]
):
    cursors.save(connection, tenants[0], "jobs", **values(FULL))
    cursors.save(connection, tenants[1], "invoices", continue_from="token-1")
    held = cursors.load_all(connection, [tenants[0]])
    assert dict(held) == {(tenants[0], "jobs"): FULL}
    assert held[tenants[0], "estimates"] == Cursor()
    both = cursors.load_all(connection, tenants)
    assert dict(both) == {(tenants[0], "jobs"): FULL, (tenants[1], "invoices"): Cursor(continue_from="token-1")}


def test_now_is_the_moment_by_the_clock_of_postgres_also_late_in_a_transaction(
    connection: Connection, tenants: list[int]
):
    began = connection.exec_driver_sql("SELECT now()").scalar_one()
    cursors.save(connection, tenants[0], "jobs", last_full_at=NOW, last_polled_at=NOW, continue_from="now")
    saved = cursors.load(connection, tenants[0], "jobs")
    assert saved.last_full_at is not None
    assert saved.last_polled_at is not None
    assert began < saved.last_full_at <= saved.last_polled_at <= cursors.now(connection)
    assert saved.continue_from == "now"  # a token may read like anything


def test_a_save_moves_the_time_of_the_row_s_last_change(connection: Connection, tenants: list[int]):
    query = "SELECT updated_at FROM sync_cursors"
    cursors.save(connection, tenants[0], "jobs", continue_from="token-1")
    first = connection.exec_driver_sql(query).scalar_one()
    cursors.save(connection, tenants[0], "jobs", continue_from="token-1")
    assert connection.exec_driver_sql(query).scalar_one() > first


def test_a_field_that_is_not_a_cursor_s_is_refused(connection: Connection, tenants: list[int]):
    with pytest.raises(TypeError, match="sync_cursors has no cont, credential"):
        cursors.save(connection, tenants[0], "jobs", credential=1, continue_from="x", cont=2)
    assert cursors.load(connection, tenants[0], "jobs") == Cursor()


@pytest.mark.parametrize(
    ("cursor", "shown"),
    [
        (Cursor(), None),
        (Cursor(newest_modified_on="2026-01-01"), "2026-01-01"),
        (Cursor(continue_from="token", newest_modified_on="2026-01-01"), "token"),
    ],
)
def test_what_a_person_is_shown_is_the_token_or_else_the_newest_time_seen(cursor: Cursor, shown: str | None):
    assert cursor.value == shown


@pytest.mark.parametrize(
    ("loaded", "asked", "done"),
    [
        (False, Mode.INCREMENTAL, Mode.FULL),
        (False, Mode.FULL, Mode.FULL),
        (False, Mode.WINDOW, Mode.WINDOW),
        (True, Mode.INCREMENTAL, Mode.INCREMENTAL),
        (True, Mode.FULL, Mode.FULL),
        (True, Mode.WINDOW, Mode.WINDOW),
    ],
)
def test_only_an_incremental_sync_of_what_was_never_read_to_its_end_becomes_a_full_one(
    loaded: bool,
    asked: Mode,
    done: Mode,
):
    cursor = Cursor(last_full_at=DAY if loaded else None, full_started_at=None if loaded else DAY)
    assert cursor.mode_for(asked) is done
