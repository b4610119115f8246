"""Money: the lines of invoices add up, and payments and balances agree.

Here: the sums. Not here: sums by month against ServiceTitan's (reconciliation/).

ServiceTitan: how credits and discounts enter a balance is not documented, so a few invoices may differ. An adjustment
is an invoice of its own; it may or may not count towards the one it adjusts. Lines that are not chargeable may or may
not be part of the subtotal.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from st_pipeline.checks.spec import Check, CheckInput, Finding, Severity, Status, Threshold

NAME = "money"
CENTS, SUMS_SHARE, BALANCES_SHARE, BALANCES = "tolerance_cents", "sums_share", "balances_share", "balances_wrong"
READ = """
    SELECT credential_id, entity FROM sync_cursors
    WHERE credential_id = ANY(:ids) AND entity IN ('invoices', 'payments') AND last_full_at IS NOT NULL
"""


def _amount(text: str) -> str:
    """SQL for a number in a JSON value, which accounting sends as text; null where it is none."""
    return f"CASE WHEN {text} ~ '^-?[0-9]+([.][0-9]+)?$' THEN CAST({text} AS numeric) END"


SUMS = f"""
    SELECT i.credential_id, count(*) AS rows,
           count(*) FILTER (WHERE abs(i.subtotal + coalesce(i.sales_tax, 0) - i.total) > :tolerance) AS totals_wrong,
           count(line.total) AS with_lines,
           count(*) FILTER (WHERE least(abs(i.subtotal - line.total), abs(i.subtotal - line.charged)) > :tolerance)
               AS lines_wrong
    FROM st_invoices i CROSS JOIN LATERAL (
        SELECT sum(amount) AS total, sum(amount) FILTER (WHERE is_charged) AS charged
        FROM (
            SELECT {_amount("item ->> 'total'")} AS amount,
                   item -> 'isChargeable' IS DISTINCT FROM 'false' AS is_charged
            FROM jsonb_path_query(i.items, '$[*]') AS item
        ) items
    ) line
    WHERE i.credential_id = ANY(:ids) AND i.deleted_at IS NULL GROUP BY i.credential_id
"""  # noqa: S608 - no values
# Of invoices that are active: what is paid is the total without the balance, with or without its adjustments.
OWED = f"""
    WITH paid AS (
        SELECT credential_id, invoice_id, sum(amount) AS amount FROM (
            SELECT p.credential_id, {_amount("part ->> 'appliedTo'")} AS invoice_id,
                   {_amount("part ->> 'appliedAmount'")} AS amount
            FROM st_payments p CROSS JOIN LATERAL jsonb_path_query(p.applied_to, '$[*]') AS part
            WHERE p.credential_id = ANY(:ids) AND p.deleted_at IS NULL AND p.active IS NOT FALSE
        ) parts GROUP BY credential_id, invoice_id
    ), adjusted AS (
        SELECT credential_id, adjustment_to_id AS invoice_id, sum(total) AS amount FROM st_invoices
        WHERE credential_id = ANY(:ids) AND adjustment_to_id IS NOT NULL AND deleted_at IS NULL
              AND active IS NOT FALSE
        GROUP BY credential_id, adjustment_to_id
    )
    SELECT i.credential_id, count(i.balance) AS owed, count(adjusted.amount) AS adjusted, count(*) FILTER (WHERE least(
        abs(i.total - i.balance - coalesce(paid.amount, 0)),
        abs(i.total + adjusted.amount - i.balance - coalesce(paid.amount, 0))) > :tolerance) AS balances_wrong
    FROM st_invoices i
    LEFT JOIN paid ON paid.credential_id = i.credential_id AND paid.invoice_id = i.st_id
    LEFT JOIN adjusted ON adjusted.credential_id = i.credential_id AND adjusted.invoice_id = i.st_id
    WHERE i.credential_id = ANY(:ids) AND i.deleted_at IS NULL AND i.active IS NOT FALSE GROUP BY i.credential_id
"""  # noqa: S608 - no values
APPLIED = f"""
    SELECT p.credential_id, count(*) AS rows, count(*) FILTER (
        WHERE abs(p.total - coalesce(p.unapplied_amount, 0) - applied.amount) > :tolerance) AS sums_wrong
    FROM st_payments p CROSS JOIN LATERAL (
        SELECT coalesce(sum({_amount("part ->> 'appliedAmount'")}), 0) AS amount
        FROM jsonb_path_query(p.applied_to, '$[*]') AS part
    ) applied
    WHERE p.credential_id = ANY(:ids) AND p.deleted_at IS NULL GROUP BY p.credential_id
"""  # noqa: S608 - no values


def money(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant and asset. What was never read to its end is not judged."""
    read = {(row.credential_id, row.entity) for row in asked.rows(READ)}
    for tolerance, ids in _by_tolerance(asked).items():
        bound = {"ids": ids, "tolerance": Decimal(str(tolerance)) / 100}
        if "invoices" in asked.assets:
            sums = {row.credential_id: row for row in asked.rows(SUMS, **bound)}
            owed = {row.credential_id: row for row in asked.joined_rows(OWED, **bound)}
            for one in ids:
                if (one, "invoices") in read:
                    paid = owed.get(one) if (one, "payments") in read else None
                    yield _of_invoices(one, sums.get(one), paid, asked)
        if "payments" in asked.assets:
            applied = {row.credential_id: row for row in asked.rows(APPLIED, **bound)}
            for one in ids:
                if (one, "payments") in read:
                    yield _of_payments(one, applied.get(one), asked)


def _by_tolerance(asked: CheckInput) -> Mapping[float, list[int]]:
    """The tenants by what they tolerate: it is part of the query."""
    found: dict[float, list[int]] = {}
    for one in asked.credential_ids:
        found.setdefault(_limit(asked, one, "invoices")(CENTS), []).append(one)
    return found


def _limit(asked: CheckInput, credential_id: int, asset: str) -> Callable[[str], float]:
    return lambda name: asked.thresholds.value(credential_id, asset, NAME, name)


def _of_invoices(credential_id: int, sums: Any, owed: Any, asked: CheckInput) -> Finding:
    limit = _limit(asked, credential_id, "invoices")
    if sums is None:
        return Finding(credential_id, "invoices", Status.PASSED, "There is no invoice.")
    figures = {
        "invoices": sums.rows,
        "totals_wrong": sums.totals_wrong,
        "with_lines": sums.with_lines,
        "lines_wrong": sums.lines_wrong,
    }
    said = []
    if sums.totals_wrong > limit(SUMS_SHARE) * sums.rows:
        said.append(f"the total of {sums.totals_wrong} of {sums.rows} is not subtotal and tax")
    if sums.lines_wrong > limit(SUMS_SHARE) * sums.with_lines:
        said.append(f"the lines of {sums.lines_wrong} of {sums.with_lines} do not add up to the subtotal")
    if owed is not None:
        figures |= {"with_balance": owed.owed, "adjusted": owed.adjusted, "balances_wrong": owed.balances_wrong}
        wrong = owed.balances_wrong
        if wrong > limit(BALANCES_SHARE) * owed.owed and wrong >= limit(BALANCES):
            said.append(f"of {wrong} of {owed.owed}, payments and balance are not the total")
    if said:
        return Finding(credential_id, "invoices", Status.FAILED, f"Of its invoices, {'; '.join(said)}.", figures)
    return Finding(credential_id, "invoices", Status.PASSED, f"The sums of {sums.rows} invoices are right.", figures)


def _of_payments(credential_id: int, applied: Any, asked: CheckInput) -> Finding:
    if applied is None:
        return Finding(credential_id, "payments", Status.PASSED, "There is no payment.")
    figures = {"payments": applied.rows, "sums_wrong": applied.sums_wrong}
    if applied.sums_wrong > _limit(asked, credential_id, "payments")(SUMS_SHARE) * applied.rows:
        message = (
            f"Of {applied.sums_wrong} of {applied.rows} payments, what is applied and what is not is not the total."
        )
        return Finding(credential_id, "payments", Status.FAILED, message, figures)
    return Finding(credential_id, "payments", Status.PASSED, f"The sums of {applied.rows} payments are right.", figures)


CHECKS = (
    Check(
        name=NAME,
        assets=("invoices", "payments"),
        severity=Severity.WARN,
        description="An invoice's lines add up to its subtotal, subtotal and tax to its total, payments and balance to "
        "its total; what a payment is applied to, and what is not applied, to its own. Adjustments count.",
        advice="Compare one such invoice with ServiceTitan's own page of it (docs/trust.md has a query that lists "
        "them). If they differ, run a full sync; if they agree, the company books in a way of its own: raise the "
        "threshold.",
        thresholds=(
            Threshold(CENTS, 1, "Cents by which a sum may differ: lines are rounded one by one."),
            Threshold(SUMS_SHARE, 0.005, "Largest share of invoices or payments whose sums may be wrong."),
            Threshold(BALANCES_SHARE, 0.02, "Largest share of invoices whose payments and balance may disagree."),
            Threshold(BALANCES, 3, "So many must disagree at least: a payment may be read before its invoice."),
        ),
        rule=money,
        reads_all_rows=True,
    ),
)
