"""Rejected records: how many of an entity's records could not be stored.

Here: their share. Not here: why a record is rejected (validation/), the rejects themselves (postgres/rejects.py).
"""

from collections import defaultdict
from collections.abc import Iterator

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status, Threshold
from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.streams import STREAMS

NAME, SHARE = "rejected", "share"
REJECTS = """
    SELECT credential_id, entity, count(*) AS rejected FROM sync_rejects
    WHERE credential_id = ANY(:ids) AND dismissed_at IS NULL GROUP BY credential_id, entity
"""
COUNTED = {
    **{name: f"{spec.table} WHERE deleted_at IS NULL AND" for name, spec in {**ENTITIES, **LISTS}.items()},
    **{name: f"{stream.table} WHERE" for name, stream in STREAMS.items()},
}
ROWS = "SELECT credential_id, count(*) AS number FROM {} credential_id = ANY(:of) GROUP BY credential_id"


def rejected(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant: the entities whose share of rejects is too large. Only what has rejects is counted."""
    rejects: dict[str, dict[int, int]] = defaultdict(dict)
    for row in asked.rows(REJECTS):
        if row.entity in COUNTED:
            rejects[row.entity][row.credential_id] = row.rejected
    found: dict[int, dict[str, dict[str, float]]] = defaultdict(dict)
    for entity, of in rejects.items():
        held = {row.credential_id: row.number for row in asked.rows(ROWS.format(COUNTED[entity]), of=list(of))}
        for credential_id, number in of.items():
            rows = held.get(credential_id, 0)
            figures = {"rejected": number, "rows": rows, "share": round(number / (rows + number), 6)}
            found[credential_id][entity] = figures
    for tenant in asked.tenants:
        yield _finding(tenant.credential_id, found.get(tenant.credential_id, {}), asked)


def _finding(credential_id: int, entities: dict[str, dict[str, float]], asked: CheckInput) -> Finding:
    by_share = dict(sorted(entities.items(), key=lambda item: -item[1]["share"]))
    if not by_share:
        return Finding(credential_id, TENANT, Status.PASSED, "No record is rejected.")
    over = [
        entity
        for entity, of in by_share.items()
        if of["share"] > asked.thresholds.value(credential_id, entity, NAME, SHARE)
    ]
    total = sum(of["rejected"] for of in by_share.values())
    figures = {"rejected": total, "entities": by_share}
    if not over:
        message = f"{total} records are rejected, nowhere more than is allowed."
        return Finding(credential_id, TENANT, Status.PASSED, message, figures)
    worst = ", ".join(f"{entity} {by_share[entity]['share']:.1%}" for entity in over)
    message = f"More records are rejected than is allowed: {worst}."
    return Finding(credential_id, TENANT, Status.FAILED, message, figures)


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.ERROR,
        description="Of each entity and stream, hardly any record is rejected. Dismissed rejects do not count.",
        advice="`st-pipeline rejects list --summary` groups them by reason. Fix the records in ServiceTitan or our "
        "rule, then `st-pipeline rejects replay`.",
        thresholds=(Threshold(SHARE, 0.01, "Largest share of an entity's records that may be rejected."),),
        rule=rejected,
    ),
)
