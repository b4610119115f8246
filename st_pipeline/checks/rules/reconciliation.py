"""Reconciliation: nothing that a comparison with ServiceTitan found to differ is left as it was.

Here: what the kept comparisons say. Not here: comparing (reconciliation/).
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status

NAME = "reconciliation"
NAMED = 5  # entities in the message
# An entity's difference is over when a later comparison that covers it found none left: one of all times or of the same
# period, and of every record where it took that to find it.
DIFFERING = """
    SELECT DISTINCT ON (r.credential_id, e.entity) r.credential_id, e.entity, r.ended_at,
        e.missing_here, e.gone_there, e.different, e.repaired
    FROM reconciliation_entities e JOIN reconciliations r ON r.id = e.reconciliation_id
    WHERE e.verdict = 'differs' AND r.credential_id = ANY(:ids) AND NOT EXISTS (
        SELECT FROM reconciliations l JOIN reconciliation_entities c ON c.reconciliation_id = l.id
        WHERE l.credential_id = r.credential_id AND l.id > r.id AND c.entity = e.entity
            AND c.verdict IN ('equal', 'repaired') AND (c.compared = 'records' OR e.compared = 'totals')
            AND ((l.asked ->> 'from') IS NULL AND (l.asked ->> 'to') IS NULL
                OR (l.asked -> 'from', l.asked -> 'to') = (r.asked -> 'from', r.asked -> 'to')))
    ORDER BY r.credential_id, e.entity, r.id DESC
"""
LATEST = """
    SELECT t.credential_id, r.verdict, r.ended_at, r.message FROM unnest(CAST(:ids AS bigint[])) AS t (credential_id)
    CROSS JOIN LATERAL (
        SELECT verdict, ended_at, message FROM reconciliations r
        WHERE r.credential_id = t.credential_id AND r.ended_at IS NOT NULL ORDER BY r.id DESC LIMIT 1) r
"""


def reconciled(asked: CheckInput) -> Iterator[Finding]:
    """One finding for each tenant that was ever compared."""
    differing: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in asked.rows(DIFFERING):
        found = {"missing": row.missing_here, "gone": row.gone_there, "different": row.different}
        left = sum(found.values()) - row.repaired
        differing[row.credential_id][row.entity] = {**found, "left": left, "compared_at": row.ended_at.isoformat()}
    for row in asked.rows(LATEST):
        yield _finding(row, differing.get(row.credential_id, {}))


def _finding(row: Any, entities: dict[str, dict[str, Any]]) -> Finding:
    at = f"{row.ended_at:%Y-%m-%d %H:%M} UTC"
    if entities:
        worst = dict(sorted(entities.items(), key=lambda item: -item[1]["left"]))
        named = ", ".join(f"{name} {of['left']:,}" for name, of in list(worst.items())[:NAMED])
        message = f"Records differ from ServiceTitan: {named}{' and others' if len(worst) > NAMED else ''}."
        return Finding(row.credential_id, TENANT, Status.FAILED, message, {"entities": worst})
    if row.verdict == "incomplete":
        message = f"The comparison of {at} could not be completed; nothing differs in what was compared."
        return Finding(row.credential_id, TENANT, Status.NOT_CHECKABLE, message, {"verdict": row.verdict})
    message = f"At {at} everything that was compared was equal{' after a repair' * (row.verdict == 'repaired')}."
    return Finding(row.credential_id, TENANT, Status.PASSED, message, {"verdict": row.verdict})


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.ERROR,
        description="Where the tables were compared with ServiceTitan, by schedule or by hand, nothing differs.",
        advice="`st-pipeline reconcile TENANT --last` shows which records; `st-pipeline reconcile TENANT --repair` "
        "fetches them again.",
        thresholds=(),
        rule=reconciled,
        is_time_driven=True,
    ),
)
