"""The scheduled reconciliation: claim the tenant that has waited longest, compare it, keep the verdict, next.

Here: when it runs, whom it takes, and until when. Not here: one tenant (tenant.py), the claims (postgres/), the run
around it (defs/).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim
from sqlalchemy import Engine

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import reconciliations
from st_pipeline.postgres.database import transaction
from st_pipeline.reconciliation.entity import ALL_TIME
from st_pipeline.reconciliation.findings import TenantFinding
from st_pipeline.reconciliation.keeping import reconcile_and_keep
from st_pipeline.reconciliation.tenant import Request
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.tenants import store
from st_pipeline.tenants.schedule import checked_cron

# A run begins with tenants for so long; the rest of its time is for the last one, which may have to be repaired.
BEGINS_FOR_SECONDS = 240.0
# A week's reconciliation may begin half a day early, or it would slip by a day each week.
SLACK = timedelta(hours=12)


def is_open(settings: Settings, now: datetime) -> bool:
    """Is it the time of the day in which tenants are compared? Raises ConfigurationError for a wrong setting."""
    if not settings.reconciliation_every_days:
        return False
    cron = checked_cron(settings.reconciliation_cron, "wrong setting: ST_PIPELINE_RECONCILIATION_CRON")
    local = now.astimezone(settings.time_zone)
    began: datetime = next(CronSim(cron, local - timedelta(hours=settings.reconciliation_hours)))
    return began <= local


def due_since(settings: Settings, now: datetime) -> datetime:
    """Who was compared since then is not due."""
    return now - timedelta(days=settings.reconciliation_every_days) + SLACK


@dataclass(slots=True)
class ReconciliationWorker:
    """One run's work. `clock`: seconds that never go back; `now`: the time on the wall."""

    engine: Engine
    settings: Settings
    deadline: Deadline = NO_DEADLINE
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def findings(self) -> Iterator[TenantFinding]:
        """Compare tenant after tenant, and yield what was found. One process at a time: the caller sees to that."""
        request = Request((), ALL_TIME, self.settings.reconciliation_repairs, "scheduled")
        stop_at = self.clock() + BEGINS_FOR_SECONDS
        while self.clock() < stop_at and is_open(self.settings, self.now()):
            with transaction(self.engine, "claim the next tenant to reconcile") as connection:
                since, seconds = due_since(self.settings, self.now()), min(self.deadline.seconds_left, 24 * 3600)
                claim = reconciliations.claim(connection, since, request.as_details(), seconds)
            if claim is None:
                return
            try:
                with transaction(self.engine, f"open tenant {claim.partition_key}") as connection:
                    tenant = store.find_tenant(connection, claim.partition_key)
            except ConfigurationError:
                continue  # removed meanwhile, and its claim with it
            yield reconcile_and_keep(
                self.engine, self.settings, tenant, request, kept_as=claim.id, deadline=self.deadline
            )
