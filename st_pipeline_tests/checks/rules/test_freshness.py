"""Late is what a tenant's own schedule would call late: nothing else fails, and it recovers with the next read."""

# ruff: noqa: S608 - texts of this file

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from st_pipeline.checks.spec import Status, Verdict
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline_tests.checks.planted import tenants_in_order, verdicts
from st_pipeline_tests.checks.two_companies import TwoCompanies

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)  # a Wednesday, 10:02 in Chicago
SECOND = "(SELECT id FROM servicetitan_credentials ORDER BY id OFFSET 1 LIMIT 1)"

Look = Callable[..., dict[str, Verdict]]


@pytest.fixture
def look(engine: Engine, settings: Settings) -> Look:
    """What freshness says of three tenants after some minutes, the last statements having been executed before."""
    tenants = tenants_in_order(engine, 3, NOW)

    def verdict(minutes: float, *statements: str) -> dict[str, Verdict]:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), {"now": NOW + timedelta(minutes=minutes)})
        return verdicts(engine, settings, tenants, NOW + timedelta(minutes=minutes), "freshness")

    return verdict


def polled(where: str = "true") -> str:
    """A statement: every feed and list was read just now."""
    return f"UPDATE sync_cursors SET complete_through = :now WHERE {where}"


def failed(found: dict[str, Verdict]) -> list[str]:
    """The tenants whose check fails."""
    return [tenant for tenant, verdict in found.items() if verdict.status is Status.FAILED]


def test_one_entity_that_is_not_read_fails_its_tenant_alone_and_the_next_read_ends_it(look: Look):
    others = polled(f"NOT (credential_id = {SECOND} AND entity = 'invoices')")
    assert failed(look(33, others)) == []  # due at 16:05, and 30 minutes
    found = look(34, others)
    assert failed(found) == ["company-2"]
    assert list(found["company-2"].figures["entities"]) == ["invoices"]
    assert "invoices" in found["company-2"].message
    assert failed(look(40, polled())) == []


def test_lists_that_rest_for_an_hour_are_not_late_before_the_hour_is_over(look: Look):
    feeds = polled("entity NOT IN ('job_types', 'membership_types', 'members_stream')")
    assert failed(look(60 + 30, feeds)) == []
    found = look(60 + 35, feeds)
    assert failed(found) == ["company-1", "company-2", "company-3"]
    assert set(found["company-1"].figures["entities"]) == {"job_types", "membership_types", "members_stream"}


@pytest.mark.parametrize(
    "schedule",
    [
        "(credential_id, poll_minutes) SELECT id, 1440",
        "(credential_id, poll_cron) SELECT id, '0 6 * * *'",
        "(credential_id, skip_days) SELECT id, '{3}'",
        "(credential_id, skip_from, skip_until) SELECT id, '09:00', '18:00'",
        "(credential_id, entities_off) SELECT id, (SELECT array_agg(DISTINCT entity) FROM sync_cursors)",
        "(credential_id, paused_at) SELECT id, :now",
    ],
)
def test_what_its_schedule_leaves_out_is_not_late(look: Look, schedule: str):
    mine = f"INSERT INTO tenant_schedules {schedule} FROM (SELECT {SECOND} AS id) AS one"
    assert failed(look(0, mine, "UPDATE tenant_schedules SET updated_at = :now")) == []
    assert failed(look(120)) == ["company-1", "company-3"]


@pytest.mark.parametrize(
    "off",
    [
        (
            "INSERT INTO tenant_schedules (credential_id, entities_off, updated_at) "
            f"SELECT {SECOND}, '{{invoices}}', '2026-01-01'"
        ),
        "INSERT INTO switches (scope, name) VALUES ('entity', 'invoices')",
    ],
)
def test_a_stream_made_of_what_is_switched_off_is_not_late(look: Look, off: str):
    others = polled(f"NOT (credential_id = {SECOND} AND entity IN ('invoices', 'invoices_stream'))")
    assert set(look(60, others)["company-2"].figures["entities"]) == {"invoices", "invoices_stream"}
    assert failed(look(60, off)) == []


def test_a_schedule_that_was_changed_counts_from_then(look: Look):
    mine = f"INSERT INTO tenant_schedules (credential_id, paused_at) SELECT {SECOND}, :now"
    look(0, mine)
    resumed = "UPDATE tenant_schedules SET paused_at = NULL, updated_at = :now"
    assert failed(look(600, polled(f"credential_id <> {SECOND}"), resumed)) == []
    assert failed(look(640, polled(f"credential_id <> {SECOND}"))) == ["company-2"]


@pytest.mark.parametrize(
    ("action", "tenant", "details"),
    [
        ("switch.on", "NULL", '{"scope": "everything", "name": ""}'),
        ("switch.on", "NULL", '{"scope": "company", "name": "company-2"}'),
        ("switch.on", "NULL", '{"scope": "entity", "name": "invoices"}'),
        ("credentials.enable", "'company-2'", "{}"),
    ],
)
def test_what_was_switched_on_again_is_not_late_before_its_next_poll_is(
    look: Look, action: str, tenant: str, details: str
):
    """Everybody would be reported after each maintenance."""
    others = polled(f"NOT (credential_id = {SECOND} AND entity = 'invoices')")
    values = f"'eve', 'here', '{action}', {tenant}, 'done', '{details}', :now"
    resumed = f"INSERT INTO audit_log (actor, origin, action, tenant, result, details, at) VALUES ({values})"
    assert failed(look(600, others, resumed.replace(":now", "CAST(:now AS timestamptz)"))) == []
    assert failed(look(640, others)) == ["company-2"]


@pytest.mark.parametrize("scope", ["('everything', '')", "('environment', 'production')"])
def test_nobody_is_late_while_schedules_are_switched_off(look: Look, scope: str):
    found = look(600, f"INSERT INTO switches (scope, name) VALUES {scope}")
    assert {verdict.status for verdict in found.values()} == {Status.NOT_CHECKABLE}
    assert "switched off" in found["company-1"].message


def test_a_new_tenant_has_a_day_for_its_first_load(look: Look):
    created = f"UPDATE servicetitan_credentials SET created_at = :now, last_sync_at = NULL WHERE id = {SECOND}"
    gone = f"DELETE FROM sync_cursors WHERE credential_id = {SECOND}"
    assert look(0, created, gone)["company-2"].status is Status.NOT_CHECKABLE
    found = look(25 * 60, polled())
    assert failed(found) == ["company-2"]
    assert "24 hours" in found["company-2"].message


def test_a_feed_that_fails_makes_its_tenant_late_until_it_answers_again(two: TwoCompanies):
    source = two.sources["acme"]
    two.execute("UPDATE sync_cursors SET complete_through = now() - interval '2 hours'")
    source.fault("status", status=500, path="/export/invoices")
    for tenant in ("acme", "bolt"):
        synchronize_data(tenant, SyncConfiguration(), settings=two.settings, engine=two.engine)
    assert two.failing("freshness") == {("acme", "tenant", "freshness")}
    assert set(two.verdict("acme", "tenant", "freshness").figures["entities"]) == {"invoices", "invoices_stream"}
    source.clear_faults()
    two.sync("acme")
    assert two.failing() == set()
