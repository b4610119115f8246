"""Drift: keys, enum values and nulls that ServiceTitan does not document, until a person has acknowledged them.

Here: which differences a tenant's records show. Not here: finding them (validation/drift.py), which of them were
acknowledged (postgres/check_verdicts.py).
"""

from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status
from st_pipeline.protocol import DriftKind

NAME = "drift"
MOST_SHOWN = 20
QUERY = """
    SELECT credential_id, entity, kind, field, value, records, first_seen_at FROM field_drift
    WHERE credential_id = ANY(:ids) ORDER BY first_seen_at DESC, entity, field, value
"""


def drift(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant: each difference is a cause, which is acknowledged for itself."""
    found: dict[int, list[Any]] = defaultdict(list)
    for row in asked.rows(QUERY):
        found[row.credential_id].append(row)
    for tenant in asked.tenants:
        rows = found.get(tenant.credential_id, [])
        if not rows:
            message = "Its records are as ServiceTitan documents them."
            yield Finding(tenant.credential_id, TENANT, Status.PASSED, message)
            continue
        entities = dict.fromkeys(row.entity for row in rows)
        message = f"Records of {', '.join(entities)} differ from ServiceTitan's documents in {len(rows)} ways."
        newest = [
            {
                "entity": row.entity,
                "kind": row.kind,
                "field": row.field,
                "records": row.records,
                "first_seen_at": row.first_seen_at.isoformat(),
            }
            for row in rows[:MOST_SHOWN]
        ]
        figures = {"differences": len(rows), "newest": newest}
        causes = sorted(map(_cause, rows))
        yield Finding(tenant.credential_id, TENANT, Status.FAILED, message, figures, causes=causes)


def _cause(row: Any) -> str:
    """One difference in words. A value is the source's, and may be a customer's: its hash tells it from others."""
    told = f"{row.entity}: {row.kind}: {row.field}"
    if row.kind != DriftKind.UNKNOWN_VALUE:
        return told
    return f"{told} #{sha256(row.value.encode()).hexdigest()[:8]}"


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.WARN,
        description="Records have no keys, enum values or nulls beyond what ServiceTitan documents, or a person has "
        "acknowledged each. Such records are stored all the same.",
        advice="Look at the view `drift`. Add a column or a known value where you need it (CONTRIBUTING.md), then "
        "`st-pipeline checks ack` it: only something newer fails again.",
        thresholds=(),
        rule=drift,
    ),
)
