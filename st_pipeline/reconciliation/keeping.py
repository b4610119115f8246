"""Reconciling a tenant and keeping what was found.

Here: both together, for the command and the scheduled job. Not here: either of them (tenant.py, postgres/).
"""

from collections.abc import Callable

from sqlalchemy import Engine

from st_pipeline.postgres import reconciliations
from st_pipeline.postgres.database import transaction
from st_pipeline.reconciliation.documents import entity_document
from st_pipeline.reconciliation.findings import EntityFinding, TenantFinding
from st_pipeline.reconciliation.tenant import Request, reconcile_tenant
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.tenants.store import Tenant


def reconcile_and_keep(
    engine: Engine,
    settings: Settings,
    tenant: Tenant,
    request: Request,
    *,
    kept_as: int | None = None,
    deadline: Deadline = NO_DEADLINE,
    after_entity: Callable[[EntityFinding], None] = lambda _finding: None,
) -> TenantFinding:
    """Reconcile a tenant and keep the finding, without values. `kept_as`: the row that a claim has made."""
    doing = f"keep the reconciliation of tenant {tenant.partition_key}"
    if kept_as is None:
        with transaction(engine, doing) as connection:
            kept_as = reconciliations.begin(connection, tenant.credential_id, request.as_details())
    finding = reconcile_tenant(engine, settings, tenant, request, deadline=deadline, after_entity=after_entity)
    entities = [entity_document(one, place) for place, one in enumerate(finding.entities, start=1)]
    with transaction(engine, doing) as connection:
        reconciliations.end(connection, kept_as, finding.verdict.value, finding.error, entities)
    return finding
