"""The state of all: each tenant, the last syncs, figures over a period, refused tenants and the next polls.

Here: putting the answers together, as one moment shows them. Not here: the queries, showing them (cli/).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from st_pipeline.operations.history import SyncFilter, Totals, last_sync_of_each, last_syncs, slowest, totals
from st_pipeline.operations.next_polls import next_due
from st_pipeline.operations.tenant_status import TenantStatus, read_tenants
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings
from st_pipeline.tenants.selection import Selection, check_names
from st_pipeline.tenants.store import Tenant, all_tenants

FIGURES_OF_DAYS = 7


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What one snapshot shows: each tenant, the worst first; the syncs that were asked for; figures over a period."""

    tenants: list[TenantStatus]
    syncs: list[dict[str, Any]]
    figures: dict[str, Any]


def read_status(engine: Engine, settings: Settings, chosen: SyncFilter, limit: int | None) -> StatusReport:
    """The state of all. `limit` None: the last sync of each tenant. Raises ConfigurationError: an unknown company."""
    period = chosen.since or datetime.now(UTC) - timedelta(days=FIGURES_OF_DAYS)
    counted = replace(chosen, since=period, status=None)
    with transaction(engine.execution_options(isolation_level="REPEATABLE READ"), "read the sync log") as connection:
        selection = Selection(companies=tuple(chosen.companies), environment=chosen.environment)
        tenants = all_tenants(connection)
        check_names(tenants, Selection(companies=selection.companies))
        tenants = [tenant for tenant in tenants if selection.covers(tenant)]
        syncs = last_sync_of_each(connection, chosen) if limit is None else last_syncs(connection, chosen, limit)
        figures = _figures(totals(connection, counted), period)
        figures["slowest"] = slowest(connection, counted)
        figures["next_due"] = next_due(connection, settings, tenants)
        figures["refused"] = _refused(tenants)
        lines = read_tenants(connection, tenants, datetime.now(UTC))
    return StatusReport(lines, syncs, figures)


def _figures(total: Totals, since: datetime) -> dict[str, Any]:
    ended = total.completed + total.failed
    return {
        "since": since,
        "syncs": total.syncs,
        "completed": total.completed,
        "failed": total.failed,
        "running": total.running,
        "success_rate": round(total.completed / ended, 4) if ended else None,
        "records": total.processed,
        "records_failed": total.records_failed,
        "failed_share": round(total.records_failed / total.processed, 6) if total.processed else None,
        "records_per_second": round(total.processed / total.seconds, 1) if total.seconds else None,
        "requests": total.api.requests,
        "retries": total.api.retries,
        "rate_limited": total.api.rate_limited,
        "api_p95_ms": round(total.api.percentile_ms(0.95), 1) if total.api.buckets else None,
        "token_refreshes": total.api.token_requests,
    }


def _refused(tenants: Sequence[Tenant]) -> list[dict[str, Any]]:
    """The enabled tenants whose credentials do not work, also while that is taken for an outage.

    Dagster still shows their last materializations as green: a poll that fails for a tenant writes none.
    """
    return [
        {
            "tenant": tenant.partition_key,
            "status": tenant.connection_status,
            "since": tenant.refused_since,
            "tried_again_from": tenant.retry_at,
            "message": tenant.connection_message,
        }
        for tenant in tenants
        if tenant.enabled and (tenant.connection_status == "error" or tenant.refused_since is not None)
    ]
