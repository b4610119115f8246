"""The polls of a batch of claimed tenants.

Here: each tenant's poll, and what it says of itself. Not here: claiming tenants and noting the end (poll_worker.py),
how a tenant is synced (tenant.py), telling people (defs/).
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from st_pipeline.errors import PipelineError
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.selection import FEEDS

POLL = SyncConfiguration(sync_type="scheduled")


@dataclass(frozen=True, slots=True)
class TenantPoll:
    """What became of a claimed tenant.

    `result`: None when it was not entered: nothing differed, or the sync could not begin, for which see `error`.
    `is_quiet`: nothing was written. `all_feeds_answered`: what the source held when the tenant was claimed is in the
    tables. `is_news`: is `error` to be reported, or was it before? `tokens_saved_at`, `hourly_at`: where they moved.
    """

    claim: Claim
    result: SyncResult | None = None
    is_quiet: bool = True
    all_feeds_answered: bool = False
    spent_budget: bool = False
    error: Exception | None = None
    is_news: bool = True
    tokens_saved_at: datetime | None = None
    hourly_at: datetime | None = None

    @property
    def message(self) -> str | None:
        """Why the sync could not begin, in words that hold no data."""
        if self.error is None or isinstance(self.error, PipelineError):
            return None if self.error is None else str(self.error)
        return f"{self.claim.partition_key}: unexpected {type(self.error).__name__}; the log of the run has the place"


def poll_batch(
    engine: Engine,
    settings: Settings,
    claims: Sequence[Claim],
    *,
    run_id: uuid.UUID,
    deadline: Deadline = NO_DEADLINE,
) -> Iterator[TenantPoll]:
    """Poll the tenants and yield each as soon as its poll has ended.

    Those that were not begun when the deadline passed are not yielded: their claims are given back.
    """
    for claim in claims:
        if deadline.has_passed:
            return
        yield _poll(engine, settings, claim, run_id, deadline)


def _poll(engine: Engine, settings: Settings, claim: Claim, run_id: uuid.UUID, deadline: Deadline) -> TenantPoll:
    seconds = settings.poll_tenant_seconds
    sync = TenantSync(
        engine,
        settings,
        claim.partition_key,
        POLL,
        sync_id=run_id,
        dagster_run_id=str(run_id),
        deadline=deadline,
        budget=(seconds, f"a poll gives a tenant {seconds:g} s (ST_PIPELINE_POLL_TENANT_SECONDS)"),
        first_loads=False,
        without=claim.entities_off,
    )
    try:
        with sync:
            for _ in sync.entities():
                pass
    except PipelineError as error:
        return TenantPoll(claim, error=error, is_news=sync.is_news)
    answered = {outcome.entity for outcome in sync.result.outcomes if outcome.error is None}
    return TenantPoll(
        claim,
        sync.result,
        is_quiet=sync.result.sync_log_id is None,
        all_feeds_answered=answered >= {name for name in FEEDS if name in sync.plan.entities},
        spent_budget=sync.deadline.has_passed and not deadline.has_passed,
    )
