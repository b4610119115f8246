"""References: what invoices, payments and contacts name is there.

Here: the share of names that lead to no row. Not here: reading what is missing (sync/).

ServiceTitan: records name others that were deleted long ago, so some names lead nowhere. A row that is marked as
deleted counts as there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from st_pipeline.checks.spec import Check, CheckInput, Finding, Severity, Status, Threshold
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import KEY

NAME, SHARE, ROWS = "references", "missing_share", "missing_rows"
# By asset, the columns that name a row of another entity.
NAMED = {
    "invoices": {"customer_id": "customers", "location_id": "locations", "job_id": "jobs"},
    "payments": {"invoice_id": "invoices"},
    "customer_contacts": {"customer_id": "customers"},
}
# ServiceTitan: 0 sometimes stands for null.
COLUMNS = "SELECT credential_id, {} FROM {} WHERE credential_id = ANY(:ids) AND deleted_at IS NULL"
INVOICES_OF_PAYMENTS = """
    SELECT p.credential_id, CAST(CAST(CAST(part AS text) AS numeric) AS bigint) AS invoice_id
    FROM st_payments p CROSS JOIN LATERAL jsonb_path_query(
        p.applied_to, '$[*].appliedTo ? (@ > 0 && @ < 9000000000000000000)') AS part
    WHERE p.credential_id = ANY(:ids) AND p.deleted_at IS NULL
"""
READ = """
    SELECT credential_id, entity FROM sync_cursors
    WHERE credential_id = ANY(:ids) AND entity = ANY(:entities) AND last_full_at IS NOT NULL
"""


def references(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant and asset. What was never read to its end is not judged, and neither are names of it."""
    entities = sorted({name for asset in asked.assets for name in (asset, *NAMED[asset].values())})
    read = {(row.credential_id, row.entity) for row in asked.rows(READ, entities=entities)}
    for asset in sorted(asked.assets):
        found = {row.credential_id: row for row in asked.joined_rows(_query(asset))}
        for credential_id in asked.credential_ids:
            known = {column: of for column, of in NAMED[asset].items() if (credential_id, of) in read}
            if (credential_id, asset) in read and known:
                yield _finding(credential_id, asset, known, found.get(credential_id), asked)


def _query(asset: str) -> str:
    """For each column, how many names there are and how many of them lead to no row."""
    named = NAMED[asset]
    columns = ", ".join(f"nullif({column}, 0) AS {column}" for column in named)
    rows = INVOICES_OF_PAYMENTS if asset == "payments" else COLUMNS.format(columns, ENTITIES[asset].table)
    counts = ", ".join(
        f"count(r.{column}) AS {column}_named, count(r.{column}) FILTER (WHERE {of}.{KEY} IS NULL) AS {column}_missing"
        for column, of in named.items()
    )
    # Postgres does not conclude that the other tables are about these tenants, too, and would read all of them.
    joins = " ".join(
        f"LEFT JOIN (SELECT credential_id, {KEY} FROM {ENTITIES[of].table} WHERE credential_id = ANY(:ids)) {of} "  # noqa: S608
        f"ON {of}.credential_id = r.credential_id AND {of}.{KEY} = r.{column}"
        for column, of in named.items()
    )
    return f"SELECT r.credential_id, {counts} FROM ({rows}) r {joins} GROUP BY r.credential_id"  # noqa: S608 - ours


def _finding(credential_id: int, asset: str, named: Mapping[str, str], row: Any, asked: CheckInput) -> Finding:
    figures: dict[str, Any] = {}
    over = []
    for column, of in named.items():
        names = 0 if row is None else getattr(row, f"{column}_named")
        missing = 0 if row is None else getattr(row, f"{column}_missing")
        share = missing / names if names else 0.0
        figures[column] = {"names": names, "missing": missing, "share": round(share, 6)}
        most = asked.thresholds.value(credential_id, asset, NAME, SHARE)
        if share > most and missing >= asked.thresholds.value(credential_id, asset, NAME, ROWS):
            over.append((share, f"{missing} of {names} name {of} that are not there ({share:.1%})"))
    if over:
        worst = "; ".join(text for _, text in sorted(over, reverse=True))
        return Finding(credential_id, asset, Status.FAILED, f"Of {asset}, {worst}.", figures)
    message = f"What {asset} name is there, but for {sum(one['missing'] for one in figures.values())}."
    return Finding(credential_id, asset, Status.PASSED, message, figures)


CHECKS = (
    Check(
        name=NAME,
        assets=tuple(NAMED),
        severity=Severity.WARN,
        description="Almost every customer, location, job and invoice that records name is there, deleted or not.",
        advice="See whether the entity that is named fails or is switched off (`st-pipeline sync-status`), then run a "
        "full sync of it. What ServiceTitan itself no longer has stays missing: raise the threshold.",
        thresholds=(
            Threshold(SHARE, 0.02, "Largest share of names that may lead nowhere."),
            Threshold(ROWS, 5, "So many names must lead nowhere at least: in a small table one is a large share."),
        ),
        rule=references,
        reads_all_rows=True,
    ),
)
