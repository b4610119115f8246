"""A tenant's reconciliation: its entities one after the other, the repair of what differs, the verdict.

Here: the order, what an error stops, comparing again after a repair. Not here: one entity (entity.py, repair.py),
keeping the result (postgres/), whom a schedule takes (worker.py).

Comparing takes no lease and writes nothing, so polls go on beside it. Only a repair takes the tenant, for as long as it
writes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import PipelineError
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.sync_log import SyncType
from st_pipeline.reconciliation.entity import ALL_TIME, Comparison, Period, compare_entity
from st_pipeline.reconciliation.findings import EntityFinding, TenantFinding
from st_pipeline.reconciliation.repair import repair
from st_pipeline.reconciliation.source import Source
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.streams import streams_of
from st_pipeline.sync.entity_order import OUTAGES_IN_A_ROW, is_outage
from st_pipeline.sync.leased_work import leased_work
from st_pipeline.tenants import store
from st_pipeline.tenants.store import Tenant


@dataclass(frozen=True, slots=True)
class Request:
    """What to reconcile. `entities`: none means all. `repairs`: fetch again what differs."""

    entities: tuple[str, ...] = ()
    period: Period = ALL_TIME
    repairs: bool = False
    sync_type: SyncType = "manual"

    def as_details(self) -> dict[str, Any]:
        """What was asked for, as JSON."""
        period = self.period
        return {
            "entities": list(self.entities),
            "from": None if period.created_from is None else period.created_from.isoformat(),
            "to": None if period.created_before is None else period.created_before.isoformat(),
            "deep": period.deep,
            "repair": self.repairs,
        }

    def lists(self) -> list[EntitySpec]:
        """The entities, or their lists, in the order in which they are synced."""
        return [one for name, spec in ENTITIES.items() if not self.entities or name in self.entities
                for one in spec.read_as]  # fmt: skip


def reconcile_tenant(
    engine: Engine,
    settings: Settings,
    tenant: Tenant,
    request: Request,
    *,
    deadline: Deadline = NO_DEADLINE,
    after_entity: Callable[[EntityFinding], None] = lambda _finding: None,
) -> TenantFinding:
    """Compare a tenant's tables with ServiceTitan, and repair what differs if that is asked for.

    What goes wrong with an entity or the tenant is part of the finding. Raises DatabaseUnavailable.
    """
    finding = TenantFinding(tenant.partition_key, tenant.credential_id, datetime.now(UTC), request.as_details())
    with database_errors(f"reconciliation of tenant {tenant.partition_key}"), engine.connect() as connection:
        try:
            with _client(engine, connection, settings, tenant, deadline) as client:
                _reconcile(connection, client, settings, tenant, request, finding, after_entity)
        except PipelineError as error:
            finding.error = str(error)
    finding.ended_at = datetime.now(UTC)
    return finding


def _client(
    engine: Engine, connection: Connection, settings: Settings, tenant: Tenant, deadline: Deadline
) -> ServiceTitanClient:
    with connection.begin():
        authentication = store.load_authentication(connection, settings, tenant.partition_key)
    tokens = store.PostgresTokenStore(engine, settings, tenant)
    return ServiceTitanClient(authentication, settings, store=tokens, deadline=deadline)


def _reconcile(
    connection: Connection,
    client: ServiceTitanClient,
    settings: Settings,
    tenant: Tenant,
    request: Request,
    finding: TenantFinding,
    after_entity: Callable[[EntityFinding], None],
) -> None:
    comparisons, outages = [], 0
    for spec in request.lists():
        source = Source(connection, client, spec, tenant.partition_key, tenant.credential_id)
        one, error = _entity(source, request.period)
        finding.entities.append(one.finding)
        after_entity(one.finding)
        comparisons.append(one)
        outages = outages + 1 if is_outage(error) else 0
        if isinstance(error, PipelineError) and error.ends_tenant:
            raise error
        if outages == OUTAGES_IN_A_ROW:
            finding.error = f"{outages} entities in a row got no usable answer; the rest was not compared"
            break
    differing = [one for one in comparisons if one.finding.left]
    if request.repairs and differing:
        _repair(connection, settings, tenant, request, differing)


def _entity(source: Source, period: Period) -> tuple[Comparison, PipelineError | None]:
    """One entity; an error is its own, and the others are compared all the same."""
    comparison = Comparison(source, period, EntityFinding(source.spec.name))
    with _figures(source.client, comparison.finding):
        try:
            with database_errors(source.doing):
                compare_entity(comparison)
        except PipelineError as error:
            comparison.finding.error = str(error)
            return comparison, error
    return comparison, None


class _figures:  # noqa: N801 - a context manager
    """Count the requests, bytes and seconds of a block into an entity's figures."""

    def __init__(self, client: ServiceTitanClient, finding: EntityFinding) -> None:
        self._statistics, self._finding = client.statistics, finding

    def __enter__(self) -> None:
        self._before = self._statistics.requests, self._statistics.bytes, time.monotonic()

    def __exit__(self, *_: object) -> None:
        requests, received, started = self._before
        self._finding.requests += self._statistics.requests - requests
        self._finding.bytes += self._statistics.bytes - received
        self._finding.seconds += time.monotonic() - started


@contextmanager
def _noted(comparison: Comparison, doing: str) -> Iterator[None]:
    """An error of the block is its entity's, unless it would meet every other entity, too."""
    try:
        with database_errors(doing):
            yield
    except PipelineError as error:
        if error.ends_tenant:
            raise
        comparison.finding.error = str(error)


def _repair(
    connection: Connection, settings: Settings, tenant: Tenant, request: Request, differing: Sequence[Comparison]
) -> None:
    """Repair entity by entity under the tenant's lease, build the streams, then compare again what differed.

    Raises TenantBusy.
    """
    label = f"repair of {', '.join(one.spec.name for one in differing)}"
    with leased_work(connection, settings, tenant, "repair", label, request.sync_type) as work:
        for one in differing:
            doing = f"repair of {one.spec.name} of tenant {tenant.partition_key}"
            with _figures(one.source.client, one.finding), _noted(one, doing):
                repair(work, one)
        for stream in dict.fromkeys(stream for one in differing for stream, _ in streams_of(one.spec.name)):
            work.build(stream)
    for one in differing:
        with _figures(one.source.client, one.finding), _noted(one, f"comparing {one.spec.name} again"):
            one.compare_again()
