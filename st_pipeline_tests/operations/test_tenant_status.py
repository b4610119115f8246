"""How each tenant is doing: the worst first, each cause once, with what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.operations.tenant_status import State, TenantStatus, read_tenants
from st_pipeline.settings import Settings
from st_pipeline.tenants.store import all_tenants
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAMES = ("birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak")
VERDICT = """
    INSERT INTO check_verdicts (credential_id, asset, check_name, status, severity, since, checked_at, message, figures)
    VALUES (:id, :asset, :name, :status, 'error', :at, :at, :said, CAST(:figures AS jsonb))
"""

REFUSED = """
    UPDATE servicetitan_credentials SET connection_status = 'error', connection_message = 'no such secret',
        refused_since = :at WHERE id = :id
"""


class Desk:
    """Eight tenants that were polled a minute ago and are well, in a transaction that is rolled back."""

    def __init__(self, connection: Connection, ids: dict[str, int]) -> None:
        self.connection = connection
        self.ids = ids

    def change(self, statement: str, tenant: str, **values: object) -> None:
        """Execute it; `:id` is the tenant's."""
        self.connection.execute(text(statement), {"id": self.ids[tenant], **values})

    def fails(self, tenant: str, entity: str, kind: str, said: str, since: datetime = NOW - HOUR) -> None:
        """An entity of it fails."""
        self.change(
            "INSERT INTO sync_cursors (credential_id, entity, last_failed_at, failing_since, failure, failure_kind) "
            "VALUES (:id, :entity, :since, :since, :said, :kind)",
            tenant, entity=entity, since=since, said=said, kind=kind,
        )  # fmt: skip

    def verdict(
        self, tenant: str, name: str, status: str, said: str, asset: str = "tenant", figures: str = "{}"
    ) -> None:
        """What a check found."""
        self.change(VERDICT, tenant, name=name, status=status, said=said, asset=asset, figures=figures, at=NOW - HOUR)

    def lines(self) -> list[TenantStatus]:
        """All lines, in order."""
        return read_tenants(self.connection, all_tenants(self.connection), NOW)

    def __getitem__(self, tenant: str) -> TenantStatus:
        return next(line for line in self.lines() if line.tenant == tenant)


@pytest.fixture
def desk(engine: Engine, settings: Settings) -> Iterator[Desk]:
    ids = {
        name: put_tenant(engine, settings, new_credential(company=name, tenant_id=number)).credential_id
        for number, name in enumerate(NAMES, 1)
    }
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(
            text("UPDATE servicetitan_credentials SET connection_status = 'connected', last_sync_at = :at"),
            {"at": NOW - HOUR},
        )
        connection.execute(
            text("INSERT INTO tenant_polls (credential_id, due_at, polled_at) "
                 "SELECT id, :due, :polled FROM servicetitan_credentials"),
            {"due": NOW + timedelta(minutes=4), "polled": NOW - timedelta(minutes=1)},
        )  # fmt: skip
        yield Desk(connection, ids)
        transaction.rollback()


def test_tenants_that_are_well_stand_in_order_of_their_names(desk: Desk):
    assert [(line.tenant, line.state, line.causes) for line in desk.lines()] == [(n, State.WELL, []) for n in NAMES]


def test_the_worst_comes_first_and_of_equals_the_one_that_waits_longest(desk: Desk):
    desk.change(REFUSED, "oak", at=NOW - 3 * HOUR)
    desk.fails("maple", "jobs", "ScopeMissing", "the app lacks a scope", NOW - HOUR)
    desk.fails("larch", "jobs", "ScopeMissing", "the app lacks a scope", NOW - 2 * HOUR)
    desk.change("UPDATE tenant_polls SET due_at = :at WHERE credential_id = :id", "hazel", at=NOW - 2 * HOUR)
    desk.verdict("fir", "rejected", "failed", "Half of the invoices are rejected.")
    desk.change("UPDATE servicetitan_credentials SET last_sync_at = NULL WHERE id = :id", "elm")
    desk.change("DELETE FROM tenant_polls WHERE credential_id = :id", "elm")
    desk.change("INSERT INTO tenant_schedules (credential_id, paused_at, paused_because) VALUES (:id, now(), 'moves')",
                "cedar")  # fmt: skip
    assert [(line.tenant, line.state.word) for line in desk.lines()] == [
        ("oak", "refused"), ("larch", "failing"), ("maple", "failing"), ("hazel", "late"), ("fir", "check fails"),
        ("elm", "never synced"), ("cedar", "not synced"), ("birch", "well"),
    ]  # fmt: skip
    assert desk["oak"].since == NOW - 3 * HOUR
    assert desk["hazel"].late_seconds == 7200
    assert [cause.to_do for name in ("oak", "hazel", "elm", "cedar", "fir") for cause in desk[name].causes] == [
        "st-pipeline credentials test oak", "st-pipeline doctor", "st-pipeline sync elm",
        "st-pipeline tenants resume cedar", "st-pipeline checks show fir",
    ]  # fmt: skip


def test_one_cause_is_one_line_whatever_it_strikes(desk: Desk):
    for entity in ("customers", "invoices", "jobs", "payments"):
        desk.fails("oak", entity, "ServiceUnavailable", "ServiceTitan does not answer")
    desk.fails("oak", "estimates", "ScopeMissing", "the app lacks a scope", NOW)
    desk.fails("oak", "appointments", "NotTried", "not tried, as jobs failed")
    assert [(cause.what, cause.affects) for cause in desk["oak"].causes] == [
        ("ServiceTitan does not answer", "customers, invoices, jobs and 1 more"),
        ("the app lacks a scope", "estimates"),
    ]


def test_a_refused_tenant_is_told_once_not_by_each_entity_and_check(desk: Desk):
    desk.change(REFUSED, "oak", at=NOW)
    desk.fails("oak", "jobs", "InvalidCredentials", "no such secret")
    for check in ("credentials", "freshness"):
        desk.verdict("oak", check, "failed", "said again")
    assert [cause.what for cause in desk["oak"].causes] == ["no such secret"]


def test_what_a_person_acknowledged_or_paused_is_not_told_as_a_problem(desk: Desk):
    desk.verdict("oak", "drift", "failed", "A new key.")
    desk.change(
        "UPDATE check_verdicts SET acknowledged_at = :at, acknowledged_by = 'alice' WHERE credential_id = :id",
        "oak",
        at=NOW,
    )
    assert desk["oak"].state is State.WELL
    desk.fails("elm", "jobs", "ScopeMissing", "the app lacks a scope")
    desk.change("INSERT INTO tenant_schedules (credential_id, paused_at) VALUES (:id, now())", "elm")
    assert [cause.what for cause in desk["elm"].causes] == ["paused"]


def test_rows_are_those_that_the_check_of_completeness_has_counted(desk: Desk):
    desk.verdict("oak", "completeness", "passed", "all", asset="jobs", figures='{"live": 40}')
    desk.verdict("oak", "completeness", "passed", "all", asset="invoices", figures='{"live": 2}')
    assert (desk["oak"].rows, desk["elm"].rows) == (42, None)


def test_a_tenant_whose_time_has_just_come_is_not_late(desk: Desk):
    desk.change("UPDATE tenant_polls SET due_at = :at WHERE credential_id = :id", "oak", at=NOW - timedelta(minutes=9))
    claimed = (
        "UPDATE tenant_polls SET due_at = :at, claimed_until = :until, claimed_by = gen_random_uuid() "
        "WHERE credential_id = :id"
    )
    desk.change(claimed, "elm", at=NOW - HOUR, until=NOW + HOUR)
    assert (desk["oak"].state, desk["elm"].state) == (State.WELL, State.WELL)
