"""A night's full syncs: claim the next tenant of the plan, sync what is left of it, until nothing is left.

Here: the loop, and what a tenant's end leads to. Not here: the plan's order (tenants/), the statements (postgres/), one
tenant's sync (tenant.py), the run around a worker (defs/).
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine

from st_pipeline.errors import OutOfTime, PipelineError, TenantBusy
from st_pipeline.postgres import night_plan
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.night_plan import Claim
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration
from st_pipeline.sync.tenant import TenantSync

# A run with less time left begins with no further tenant: reading the first entities alone takes seconds.
LEAST_SECONDS = 30.0
# In a night what failed is tried again, at growing intervals, where trying again may help.
TRIES = 3
FIRST_PAUSE_SECONDS = 600.0
BUSY_PAUSE_SECONDS = 120.0


@dataclass(slots=True)
class NightSync:
    """One tenant's full sync in a run. `error`: why it could not begin. `continues`: the next run does the rest."""

    claim: Claim
    sync: TenantSync
    error: PipelineError | None = None
    continues: bool = True


@dataclass(slots=True)
class NightWorker:
    """One run's work."""

    engine: Engine
    settings: Settings
    run_id: uuid.UUID
    deadline: Deadline = NO_DEADLINE
    ended: list[NightSync] = field(default_factory=list)

    def outcomes(self) -> Iterator[tuple[NightSync, EntityOutcome | None]]:
        """Sync tenant after tenant, and yield what became of each entity, then None. `ended` has the tenants."""
        while self.deadline.seconds_left > LEAST_SECONDS:
            with transaction(self.engine, "claim the next tenant of the night's plan") as connection:
                claim = night_plan.claim(connection, self.run_id, min(self.deadline.seconds_left, 24 * 3600))
            if claim is None:
                return
            yield from self._tenant(claim)

    def _tenant(self, claim: Claim) -> Iterator[tuple[NightSync, EntityOutcome | None]]:
        configuration = SyncConfiguration(sync_type="scheduled", incremental_only=False, night=claim.night)
        sync = TenantSync(
            self.engine,
            self.settings,
            claim.partition_key,
            configuration,
            sync_id=self.run_id,
            dagster_run_id=str(self.run_id),
            wait_seconds=min(self.settings.lease_wait_seconds, self.deadline.seconds_left),
            deadline=self.deadline,
        )
        night = NightSync(claim, sync)
        self.ended.append(night)
        try:
            with sync:
                for outcome in sync.entities(skip=lambda entity: entity in claim.done):
                    if outcome.error is None:
                        self._note_done(claim, outcome.entity)
                    yield night, outcome
            night.continues = sync.result.paused is not None
        except PipelineError as error:  # the sync could not begin: busy, removed, credentials that do not decrypt
            night.error, night.continues = error, isinstance(error, TenantBusy | OutOfTime)
        finally:  # also when the run was interrupted: then the next one continues
            self._give_back(night)
        yield night, None

    def _note_done(self, claim: Claim, entity: str) -> None:
        with transaction(self.engine, f"note what the night has done of tenant {claim.partition_key}") as connection:
            night_plan.entity_done(connection, claim.credential_id, self.run_id, entity)

    def _give_back(self, night: NightSync) -> None:
        """What was cut off continues; what failed and may succeed later is tried again after a pause."""
        claim, pause = night.claim, None
        errors = {one.entity: one.error for one in night.sync.result.outcomes if one.error is not None}
        if night.error is not None and not night.continues:
            errors = {"everything": night.error}
        if isinstance(night.error, TenantBusy):
            pause = BUSY_PAUSE_SECONDS
        elif errors and not night.continues and claim.tries + 1 < TRIES:
            night.continues = any(isinstance(one, PipelineError) and one.retry_helps for one in errors.values())
            pause = FIRST_PAUSE_SECONDS * 2**claim.tries if night.continues else None
        with transaction(self.engine, f"note the end of the night of tenant {claim.partition_key}") as connection:
            night_plan.release(
                connection,
                claim.credential_id,
                self.run_id,
                took_seconds=night.sync.result.seconds,
                has_ended=not night.continues,
                failed=list(errors) if pause is not None or not night.continues else (),
                pause_seconds=pause,
            )
