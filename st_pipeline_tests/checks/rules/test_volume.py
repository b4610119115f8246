"""Too little or too much on a day, for the tenant's own weekdays, fails the check; young tenants are left in peace."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, text

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.spec import CheckedTenant, Status, Verdict
from st_pipeline.settings import Settings
from st_pipeline_tests.checks.planted import tenants_in_order

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)  # a Wednesday, 10:02 in Chicago
FIGURES = text("""
    INSERT INTO sync_figures_entities (credential_id, entity, period, starts_at, syncs, failed, records_processed,
        records_successful, records_failed, records_created, records_updated, records_unchanged, records_deleted,
        seconds, pages)
    SELECT c.id, entity, 'hour', CAST(:now AS timestamptz) - days * interval '1 day', 1, 0, 0, 0, 0, 30,
           extract(dow FROM CAST(:now AS timestamptz) - days * interval '1 day') * 10, 0, 0, 0, 0
    FROM servicetitan_credentials c, generate_series(1, :days) AS days, unnest(CAST('{invoices,jobs}' AS text[])) entity
""")
Look = Callable[..., dict[str, Verdict]]


@pytest.fixture
def tenants(engine: Engine) -> list[CheckedTenant]:
    """Two tenants."""
    return tenants_in_order(engine, 2, NOW)


@pytest.fixture
def look(engine: Engine, settings: Settings, tenants: list[CheckedTenant]) -> Look:
    """What volume says, of so many days of history, after these statements."""

    def verdicts(*statements: str, days: int = 0, later: timedelta = timedelta(0)) -> dict[str, Verdict]:
        now = NOW + later
        with engine.begin() as connection:
            connection.execute(FIGURES, {"now": NOW, "days": days})
            for statement in statements:
                connection.execute(text(statement))
        found = evaluate(engine, settings, tenants, now=now)
        others = {one.check for one in found if one.status is Status.FAILED} - {"volume"}
        assert others <= {"freshness"}  # some tests read nothing for an hour
        return {one.tenant: one for one in found if one.check == "volume"}

    return verdicts


def came(created: int, where: str = "entity = 'invoices'") -> str:
    """A statement: so many invoices were created at company-2 yesterday."""
    return (
        f"UPDATE sync_figures_entities SET records_created = {created}, records_updated = 0 "  # noqa: S608 - ours
        f"WHERE starts_at = '2026-03-03 16:02Z' AND {where} "
        "AND credential_id = (SELECT max(id) FROM servicetitan_credentials)"
    )


@pytest.mark.parametrize("records", [0, 4, 501])
def test_too_few_and_too_many_invoices_fail_their_tenant_alone_until_a_usual_day(look: Look, records: int):
    found = look(came(records), days=60)
    assert {tenant: one.status for tenant, one in found.items()} == {
        "company-1": Status.PASSED, "company-2": Status.FAILED
    }  # fmt: skip
    assert found["company-2"].figures["entities"] == {"invoices": {"records": records, "usual": 50.0}}
    assert f"invoices {records} instead of 50" in found["company-2"].message
    usual = came(50).replace("'2026-03-03 16:02Z'", "'2026-03-04 16:02Z'")
    tomorrow = FIGURES.text.replace("generate_series(1, :days)", "generate_series(0, 0)")
    tomorrow = tomorrow.replace(":now", f"'{NOW:%Y-%m-%d %H:%M}Z'")
    complete = "UPDATE sync_cursors SET complete_through = '2026-03-05 16:00Z'"
    found = look(tomorrow, usual, complete, later=timedelta(days=1))
    assert {one.status for one in found.values()} == {Status.PASSED}


@pytest.mark.parametrize("records", [5, 500])
def test_a_day_within_the_limits_passes(look: Look, records: int):
    assert {one.status for one in look(came(records), days=60).values()} == {Status.PASSED}


def test_a_young_tenant_is_not_judged(look: Look):
    found = look(came(0), days=28)
    assert {one.status for one in found.values()} == {Status.NOT_CHECKABLE}


def test_what_was_not_read_since_the_day_is_not_judged(look: Look):
    unread = "UPDATE sync_cursors SET complete_through = '2026-03-04 05:59Z' WHERE entity = 'invoices'"
    assert look(came(0), unread, days=60)["company-2"].status is Status.PASSED


def test_small_entities_are_not_judged(look: Look):
    few = "UPDATE sync_figures_entities SET records_created = 1, records_updated = 0"
    assert look(few, came(0), days=60)["company-2"].status is Status.PASSED


def test_a_day_is_read_once(look: Look, engine: Engine):
    look(came(0), days=60)
    read: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _x, statement, *_: read.append(statement))
    found = look(later=timedelta(hours=1))
    assert not [one for one in read if "sync_history_entities" in one]
    assert found["company-2"].status is Status.FAILED
