"""A comparison that found differences fails its tenant until a later one, as close and as wide, finds none."""

from typing import Any

from st_pipeline.checks.spec import Status
from st_pipeline.reconciliation.entity import Period
from st_pipeline.reconciliation.keeping import reconcile_and_keep
from st_pipeline.reconciliation.tenant import Request
from st_pipeline.tenants.store import find_tenant
from st_pipeline_tests.checks.two_companies import TwoCompanies

FAILS = {("acme", "tenant", "reconciliation")}
LOSE = "DELETE FROM st_invoices WHERE credential_id = :acme AND st_id = :id"
ALTER = "UPDATE st_invoices SET total = total + 0.01 WHERE credential_id = :acme AND st_id = :id"


def reconcile(two: TwoCompanies, tenant: str, **asked: Any) -> None:
    """Compare its invoices, and keep what was found."""
    period = asked.pop("period", Period(records_read_at_once=5))
    with two.engine.connect() as connection:
        found = find_tenant(connection, tenant)
    reconcile_and_keep(two.engine, two.settings, found, Request(("invoices",), period, **asked))


def failing(two: TwoCompanies) -> set[tuple[str, str, str]]:
    """Whom the check fails."""
    return two.failing("reconciliation")


def test_only_the_company_that_differs_fails_until_it_is_repaired(two: TwoCompanies):
    assert {one.status for one in two.verdicts("reconciliation")} == {Status.NOT_CHECKABLE}  # nobody was compared yet
    lost = two.sources["acme"].ids("invoices")[0]
    two.execute(LOSE, id=lost)
    reconcile(two, "acme")
    reconcile(two, "bolt")
    assert failing(two) == FAILS
    verdict = two.verdict("acme", "tenant", "reconciliation")
    assert verdict.message == "Records differ from ServiceTitan: invoices 1."
    assert str(lost) not in str(verdict.figures)
    reconcile(two, "acme", repairs=True)
    assert failing(two) == set()
    assert "after a repair" in two.verdict("acme", "tenant", "reconciliation").message


def test_what_only_every_record_shows_is_not_over_when_totals_agree(two: TwoCompanies):
    two.execute(ALTER, id=two.sources["acme"].ids("invoices")[0])
    reconcile(two, "acme", period=Period(deep=True))
    assert failing(two) == FAILS
    reconcile(two, "acme")
    assert failing(two) == FAILS
    reconcile(two, "acme", period=Period(deep=True), repairs=True)
    assert failing(two) == set()


def test_a_comparison_of_another_period_ends_nothing(two: TwoCompanies):
    two.execute(LOSE, id=two.sources["acme"].ids("invoices")[0])
    reconcile(two, "acme")
    first = two.value("SELECT min(created_on) FROM st_invoices")
    reconcile(two, "acme", period=Period(created_before=first))
    assert failing(two) == FAILS


def test_a_comparison_that_failed_is_no_verdict(two: TwoCompanies):
    two.sources["acme"].fault("status", status=404, entity="invoices")
    try:
        reconcile(two, "acme")
    finally:
        two.sources["acme"].clear_faults()
    assert two.verdict("acme", "tenant", "reconciliation").status is Status.NOT_CHECKABLE
