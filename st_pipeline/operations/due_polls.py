"""The tenants that are due, for a command that polls them: claimed a few at a time, as a worker does.

Here: claiming, keeping and ending claims. Not here: the statements (postgres/), running the syncs (runs/), a worker's
loop (sync/).
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from st_pipeline.postgres import cursors, poll_claims
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.poll_claims import Claim, PollEnd
from st_pipeline.runs.follow import TenantRun
from st_pipeline.settings import Settings
from st_pipeline.tenants.schedule import Grid, next_poll

# A command that is killed leaves its claims to run out: so long, and a minute, after it last kept them.
KEEP_SECONDS = 120.0
KEEP_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class DuePolls:
    """Who was due when the command began, each once.

    `is_whole`: all entities are polled, so the poll's end moves the time at which the tenant is due. After a poll of
    some of them the tenant is due as before. `run_of`: the run that polls a tenant.
    """

    engine: Engine
    settings: Settings
    request_id: uuid.UUID
    run_of: Callable[[int, str], TenantRun]
    environment: str | None = None
    is_whole: bool = True
    clock: Callable[[], float] = time.monotonic
    _began_at: datetime | None = field(init=False, default=None)
    _claims: dict[int, Claim] = field(init=False, default_factory=dict)
    _kept_at: float = field(init=False, default=0.0)

    def claim(self, number: int) -> list[TenantRun]:
        """The runs of up to so many tenants; empty: nobody else is due."""
        with transaction(self.engine, "claim tenants that are due") as connection:
            if self._began_at is None:
                poll_claims.include_loaded(connection)
                self._began_at, self._kept_at = cursors.now(connection), self.clock()
            claims = poll_claims.claim(
                connection,
                run_id=self.request_id,
                limit=number,
                budget_seconds=KEEP_SECONDS,
                environment=self.environment,
                due_before=self._began_at,
            )
        self._claims |= {claim.credential_id: claim for claim in claims}
        return [self.run_of(claim.credential_id, claim.partition_key) for claim in claims]

    def keep(self) -> None:
        """Keep the claims for some more minutes; to be called every second or so."""
        if self._claims and self.clock() - self._kept_at >= KEEP_EVERY_SECONDS:
            with transaction(self.engine, "keep the tenants that were claimed") as connection:
                poll_claims.extend(connection, self.request_id, KEEP_SECONDS + poll_claims.TO_END_SECONDS)
            self._kept_at = self.clock()

    def ended(self, runs: Sequence[TenantRun]) -> None:
        """Note that these have ended, however they did."""
        mine = [run for run in runs if run.credential_id in self._claims]
        if not mine or not self.is_whole:
            return
        grid = Grid.of(self.settings)
        with transaction(self.engine, "note when tenants are polled next") as connection:
            now = cursors.now(connection)
            ends = []
            for run in mine:
                claim = self._claims.pop(run.credential_id)
                polled_at = claim.claimed_at if run.status == "completed" and not claim.entities_off else None
                ends.append(
                    PollEnd(
                        claim.credential_id,
                        next_poll(claim.partition_key, claim.schedule, grid, now),
                        polled_at,
                        unanswered=None if polled_at is None else frozenset(),
                    )
                )
            poll_claims.ended(connection, self.request_id, ends)

    def close(self) -> None:
        """Give back what was claimed and has not ended."""
        if self._claims:
            with transaction(self.engine, "give back the tenants that were not polled") as connection:
                poll_claims.release(connection, self.request_id)
