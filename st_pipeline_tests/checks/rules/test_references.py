"""Names that lead nowhere fail the check where there are too many; deleted rows count as there."""

import pytest

from st_pipeline.checks.spec import Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

SOME = "SELECT st_id FROM {} WHERE credential_id = :acme ORDER BY st_id LIMIT {}"


def hide(two: TwoCompanies, table: str, number: int) -> None:
    """Rows of acme are not there: they are another tenant's for a while."""
    some = SOME.format(table, number)
    assert two.execute(f"UPDATE {table} SET credential_id = -1 WHERE credential_id = :acme AND st_id IN ({some})")  # noqa: S608


def test_invoices_at_places_that_nobody_knows_fail_their_tenant_alone_until_they_are_right(two: TwoCompanies):
    source = two.sources["acme"]
    right = {invoice: source.record("invoices", invoice)["location"] for invoice in source.ids("invoices")[:6]}
    for known, failing in ((False, {("acme", "invoices", "references")}), (True, set())):
        for invoice, location in right.items():
            moved = location if known else {**location, "id": location["id"] + 10**12}
            source.patch("invoices", invoice, {"location": moved})
        two.sync("acme", only=("invoices", "invoices_stream"))
        assert two.failing() == failing
    assert two.verdict("acme", "invoices", "references").figures["location_id"]["missing"] == 0


@pytest.mark.parametrize(
    ("table", "rows", "assets"),
    [
        ("st_customers", 8, {"invoices", "customer_contacts"}),
        ("st_locations", 10, {"invoices"}),
        ("st_jobs", 30, {"invoices"}),
        ("st_invoices", 12, {"payments"}),
    ],
)
def test_names_of_rows_that_are_missing_fail_their_tenant_until_the_rows_are_back(
    two: TwoCompanies, table: str, rows: int, assets: set[str]
):
    hide(two, table, rows)
    assert two.failing("references") == {("acme", asset, "references") for asset in assets}
    two.execute(f"UPDATE {table} SET credential_id = :acme WHERE credential_id = -1")  # noqa: S608
    assert two.failing("references") == set()


def test_a_few_missing_rows_and_deleted_ones_are_normal(two: TwoCompanies):
    two.execute("UPDATE st_customers SET deleted_at = now() WHERE credential_id = :acme")
    two.execute("UPDATE st_invoices SET location_id = 0 WHERE credential_id = :acme")  # ServiceTitan: stands for null
    hide(two, "st_invoices", 3)
    assert two.failing("references") == set()
    figures = two.verdict("acme", "payments", "references").figures["invoice_id"]
    assert figures["missing"] > 0
    assert figures["share"] > 0.02
    assert two.verdict("acme", "invoices", "references").figures["location_id"]["names"] == 0


def test_names_of_what_was_never_read_are_not_judged(two: TwoCompanies):
    two.execute("DELETE FROM st_jobs WHERE credential_id = :acme")
    two.execute("UPDATE sync_cursors SET last_full_at = NULL WHERE entity = 'jobs'")
    assert two.failing("references") == set()
    assert "job_id" not in two.verdict("acme", "invoices", "references").figures
    two.execute("UPDATE sync_cursors SET last_full_at = NULL WHERE entity = 'invoices'")
    assert two.verdict("acme", "invoices", "references").status is Status.NOT_CHECKABLE
    assert two.verdict("acme", "payments", "references").status is Status.NOT_CHECKABLE


def test_what_an_odd_payment_is_applied_to_is_no_name(two: TwoCompanies):
    odd = """'[{"appliedTo": "x"}, {"appliedTo": 0}, {}, 7, {"appliedTo": 9999999999999999999999}]'"""
    two.execute(f"UPDATE st_payments SET applied_to = {odd} WHERE credential_id = :acme")  # noqa: S608
    assert two.failing("references") == set()
    assert two.verdict("acme", "payments", "references").figures["invoice_id"]["names"] == 0
