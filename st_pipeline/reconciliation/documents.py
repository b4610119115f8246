"""What was found as one document: kept in Postgres, printed, and shown as a report.

Here: the form. Not here: the tables (postgres/), the page (report.py), the terminal (cli/).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from st_pipeline.reconciliation.findings import Difference, EntityFinding, Kind, Month, TenantFinding, Verdict

# Records by id in a document; the numbers are of all.
DIFFERENCES_NAMED = 1_000


def tenant_document(finding: TenantFinding, *, company: str, values: bool = False) -> dict[str, Any]:
    """A tenant's finding. `company`: its name. `values`: with both values of what differs: customers' data."""
    return {
        "tenant": finding.tenant,
        "company": company,
        "started_at": finding.started_at,
        "ended_at": finding.ended_at,
        "asked": dict(finding.asked),
        "verdict": finding.verdict.value,
        "error": finding.error,
        "entities": [entity_document(one, place, values=values) for place, one in enumerate(finding.entities, start=1)],
    }


def entity_document(finding: EntityFinding, place: int, *, values: bool = False) -> dict[str, Any]:
    """An entity's finding. `place`: in the order in which entities are compared."""
    left = {one.st_id for one in finding.left}
    return {
        "place": place,
        "entity": finding.entity,
        "compared": finding.compared.value,
        "verdict": finding.verdict.value,
        "here": finding.here,
        "there": finding.there,
        "created_before": None if finding.before is None else finding.before.isoformat(),
        "missing": finding.number(Kind.MISSING),
        "gone": finding.number(Kind.GONE),
        "different": finding.number(Kind.DIFFERENT),
        "repaired": finding.repaired,
        "left": len(finding.left),
        "recent": finding.recent,
        "rejected": finding.rejected,
        "requests": finding.requests,
        "bytes": finding.bytes,
        "seconds": round(finding.seconds, 2),
        "notes": list(finding.notes),
        "error": finding.error,
        "differences": [
            _difference(one, one.st_id in left, values=values) for one in finding.found[:DIFFERENCES_NAMED]
        ],
        "months": [_month(one) for one in finding.months],
    }


def summary(tenants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several tenants as one document: the worst verdict first."""
    verdicts = {one["verdict"] for one in tenants}
    worst = next((one.value for one in WORST_FIRST if one.value in verdicts), Verdict.INCOMPLETE.value)
    entities = [one for tenant in tenants for one in tenant["entities"]]
    return {
        "verdict": worst,
        "requests": sum(one["requests"] for one in entities),
        "bytes": sum(one["bytes"] for one in entities),
        "tenants": list(tenants),
    }


WORST_FIRST = (Verdict.DIFFERS, Verdict.INCOMPLETE, Verdict.REPAIRED, Verdict.EQUAL)


def _difference(one: Difference, is_left: bool, *, values: bool) -> dict[str, Any]:
    shown = {name: {"here": here, "there": there} for name, (here, there) in one.values.items()} if values else {}
    return {
        "id": one.st_id,
        "kind": one.kind.value,
        "fields": list(one.fields),
        "is_left": is_left,
        **({"values": shown} if values else {}),
    }


def _month(one: Month) -> dict[str, Any]:
    return {
        "month": f"{one.month:%Y-%m}",
        "records_here": one.records_here,
        "records_there": one.records_there,
        "is_read": one.is_read,
        "differs": one.differs,
        "amounts": {name: {"here": _money(one.here[name]), "there": _money(one.there[name])} for name in one.here},
    }


def _money(amount: Decimal) -> str:
    return format(amount.quantize(Decimal("0.01")) if amount == round(amount, 2) else amount, "f")
