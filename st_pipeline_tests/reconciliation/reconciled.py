"""What tests of reconciliation share: reconciling `acme`, and what was found in short.

Here: asking. Not here: tests, and what is planted.
"""

from typing import Any

from st_pipeline.reconciliation.entity import Period
from st_pipeline.reconciliation.findings import EntityFinding, Kind, TenantFinding
from st_pipeline.reconciliation.tenant import Request, reconcile_tenant
from st_pipeline.tenants.store import find_tenant
from st_pipeline_tests.acme import Acme

BY_RANGES = Period(records_read_at_once=5)
DEEP = Period(deep=True)
INVOICES = 100


def reconcile(acme: Acme, *entities: str, period: Period = BY_RANGES, **options: Any) -> TenantFinding:
    """Reconcile these entities, by ranges although they are small."""
    with acme.engine.connect() as connection:
        tenant = find_tenant(connection, "acme")
    return reconcile_tenant(acme.engine, acme.settings, tenant, Request(entities, period, **options))


def one(found: TenantFinding) -> EntityFinding:
    """What was found of the only entity."""
    (entity,) = found.entities
    assert (found.error, entity.error) == (None, None)
    return entity


def brief(differences: Any) -> list[tuple[int, Kind, tuple[str, ...]]]:
    """Who differs how."""
    return [(each.st_id, each.kind, each.fields) for each in differences]


def an_id(acme: Acme, entity: str, place: int = 10) -> int:
    """A live record."""
    return acme.source.ids(entity)[place]
