"""A worker's polls: claim tenants that are due, poll them, note when each is due again, until nothing is due.

Here: the loop, and what a poll's end leads to. Not here: the poll itself (polling.py), the statements (postgres/), the
grid of times (tenants/schedule.py), the run around a worker (defs/).
"""

import uuid
from collections.abc import Iterator

from sqlalchemy import Engine

from st_pipeline.postgres import cursors, poll_claims
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.poll_claims import Claim, PollEnd
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.sync.polling import TenantPoll, poll_batch
from st_pipeline.tenants.schedule import Grid, next_poll


def poll_due(
    engine: Engine, settings: Settings, *, run_id: uuid.UUID, deadline: Deadline = NO_DEADLINE
) -> Iterator[TenantPoll]:
    """Poll every tenant that is due, the longest waiting first, and yield each when its poll has ended.

    Ends when nothing is due or the deadline has passed; what was claimed and not begun is given back.
    """
    grid = Grid.of(settings)
    with transaction(engine, "see who was loaded since") as connection:
        poll_claims.include_loaded(connection)
    try:
        while not deadline.has_passed and (claims := _claim(engine, settings, run_id)):
            for poll in poll_batch(engine, settings, claims, run_id=run_id, deadline=deadline):
                _note_end(engine, grid, run_id, poll)
                yield poll
    finally:
        with transaction(engine, "give back the tenants that were not polled") as connection:
            poll_claims.release(connection, run_id)


def _claim(engine: Engine, settings: Settings, run_id: uuid.UUID) -> list[Claim]:
    with transaction(engine, "claim tenants that are due") as connection:
        return poll_claims.claim(
            connection, run_id=run_id, limit=settings.poll_threads, budget_seconds=settings.poll_tenant_seconds
        )


def _note_end(engine: Engine, grid: Grid, run_id: uuid.UUID, poll: TenantPoll) -> None:
    claim = poll.claim
    overtimes = claim.overtimes + 1 if poll.spent_budget else 0
    with transaction(engine, f"note when tenant {claim.partition_key} is polled next") as connection:
        now = cursors.now(connection)
        end = PollEnd(
            claim.credential_id,
            next_poll(claim.schedule, grid, now, overtimes),
            claim.claimed_at if poll.all_feeds_answered else None,
            overtimes,
            poll.tokens_saved_at,
            poll.hourly_at,
        )
        poll_claims.ended(connection, run_id, [end])
