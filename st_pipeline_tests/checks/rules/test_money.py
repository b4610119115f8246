"""Sums that are wrong fail the check of invoices or payments; what ServiceTitan may book in its own way does not."""

import pytest

from st_pipeline.checks.spec import Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

INVOICES, PAYMENTS = {("acme", "invoices", "money")}, {("acme", "payments", "money")}
PAID = "credential_id = :acme AND deleted_at IS NULL AND active AND total > 100 AND adjustment_to_id IS NULL"
WITH_LINES = f"{PAID} AND jsonb_array_length(items) > 0"
ONE = "st_id = (SELECT min(st_id) FROM st_invoices WHERE {}) AND credential_id = :acme"


def test_an_invoice_whose_total_is_wrong_at_the_source_fails_its_tenant_alone_until_it_is_right(two: TwoCompanies):
    source = two.sources["acme"]
    invoice = source.record("invoices", source.ids("invoices")[0])
    for total, failing in ((f"{float(invoice['total']) + 0.02:.2f}", INVOICES), (invoice["total"], set())):
        source.patch("invoices", invoice["id"], {"total": total})
        two.sync("acme", only=("invoices", "invoices_stream"))
        assert two.failing() == failing
    assert two.verdict("acme", "invoices", "money").figures["totals_wrong"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "subtotal = subtotal + 0.02, total = total + 0.02, balance = balance + 0.02",
        'items = items || \'[{"total": "5.00"}]\'',
    ],
)
def test_lines_that_do_not_add_up_fail_the_check(two: TwoCompanies, wrong: str):
    assert two.execute(f"UPDATE st_invoices SET {wrong} WHERE {ONE.format(WITH_LINES)}") == 1  # noqa: S608
    assert two.failing("money") == INVOICES
    verdict = two.verdict("acme", "invoices", "money")
    assert (verdict.figures["lines_wrong"], verdict.figures["totals_wrong"]) == (1, 0)


@pytest.mark.parametrize(
    "right",
    [
        "subtotal = subtotal + 0.01, total = total + 0.01, balance = balance + 0.01",
        "total = total + 0.01, balance = balance + 0.01",
        'items = items || \'[{"total": "5.00", "isChargeable": false}]\'',
        "items = '{}'",
        'items = \'["odd", {"total": "a lot"}]\'',
        "items = NULL",
    ],
)
def test_a_cent_lines_that_are_not_charged_and_missing_lines_are_no_error(two: TwoCompanies, right: str):
    assert two.execute(f"UPDATE st_invoices SET {right} WHERE {ONE.format(WITH_LINES)}") == 1  # noqa: S608
    assert two.failing("money") == set()


def test_balances_that_payments_do_not_explain_fail_the_check_once_there_are_three(two: TwoCompanies):
    some = f"st_id IN (SELECT st_id FROM st_invoices WHERE {PAID} ORDER BY st_id LIMIT {{}}) AND credential_id = :acme"  # noqa: S608
    for number, failing in ((2, set()), (3, INVOICES)):
        two.execute(f"UPDATE st_invoices SET balance = balance - 1 WHERE {some.format(1)}")  # noqa: S608
        two.execute(f"UPDATE st_invoices SET balance = total + 1 WHERE {some.format(number)}")  # noqa: S608
        assert two.failing("money") == failing
    figures = two.verdict("acme", "invoices", "money").figures
    assert figures["balances_wrong"] == 3
    two.execute(f"UPDATE st_invoices SET active = false WHERE {some.format(3)}")  # noqa: S608
    assert two.failing("money") == set()


def test_an_adjustment_may_be_what_an_invoice_is_paid_with(two: TwoCompanies):
    two.execute(f"UPDATE st_invoices SET adjustment_to_id = NULL, balance = total - 100 WHERE {PAID}")  # noqa: S608
    two.execute(f"UPDATE st_invoices SET active = false WHERE credential_id = :acme AND NOT ({PAID})")  # noqa: S608
    two.execute("UPDATE st_payments SET deleted_at = now() WHERE credential_id = :acme")
    assert two.failing("money") == INVOICES
    two.execute(
        "INSERT INTO st_invoices (credential_id, st_id, adjustment_to_id, total, balance, active, record_hash, "  # noqa: S608
        "spec_version, local_synced_at) SELECT credential_id, st_id + 10^15, st_id, -100, -100, true, 0, 2, now() "
        f"FROM st_invoices WHERE {PAID}"
    )
    assert two.failing("money") == set()
    assert two.verdict("acme", "invoices", "money").figures["adjusted"] > 0


def test_a_payment_that_is_more_than_its_parts_fails_the_check_of_payments(two: TwoCompanies):
    one = "st_id = (SELECT min(st_id) FROM st_payments WHERE credential_id = :acme AND deleted_at IS NULL)"
    wrong = f"UPDATE st_payments SET total = total {{}} 0.02 WHERE credential_id = :acme AND {one}"  # noqa: S608
    assert two.execute(wrong.format("+")) == 1
    assert two.failing() == PAYMENTS
    two.execute(wrong.format("-"))
    assert two.failing("money") == set()


def test_what_was_never_read_is_not_judged(two: TwoCompanies):
    two.execute("UPDATE sync_cursors SET last_full_at = NULL WHERE entity = 'payments'")
    two.execute("DELETE FROM st_payments")
    found = {one.asset: one for one in two.verdicts("money") if one.tenant == "acme"}
    assert (found["invoices"].status, found["payments"].status) == (Status.PASSED, Status.NOT_CHECKABLE)
    assert "balances_wrong" not in found["invoices"].figures
