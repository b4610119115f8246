"""A worker's polls: claim tenants that are due, poll them, note when each is due again, until nothing is due.

Here: the loop, and what a poll's end leads to. Not here: the poll itself (polling.py), the statements (postgres/), the
grid of times (tenants/schedule.py), the run around a worker (defs/).

Claims come in small batches, each with a thread of its own. A tenant that takes long holds up the end of its batch, and
the next batches are claimed meanwhile.
"""

import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from st_pipeline.postgres import api_pauses, cursors, poll_claims, poll_figures
from st_pipeline.postgres.api_pauses import ApiPause
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.poll_claims import Claim, PollEnd
from st_pipeline.postgres.poll_figures import PollFigures
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.settings import Settings
from st_pipeline.sync.api_health import ApiHealth
from st_pipeline.sync.polling import IdleConnections, TenantPoll, poll_batch
from st_pipeline.tenants.schedule import Grid, half_of, left_out_until, next_poll

# A worker that ends shortly before the next tick is taken for a running one by it, and nobody would poll for an
# interval: it waits so long for tenants that are about to be due.
LINGER_SECONDS = 20.0
# When fewer were due than could be claimed, nobody else becomes due within seconds.
PAUSE_SECONDS = 5.0
SHORTEST_PAUSE_SECONDS = 0.1  # while another worker's claim has not committed yet
TO_STOP_SECONDS = 10.0

PollBatch = Callable[..., Iterator[TenantPoll]]


@dataclass(slots=True)
class _BatchEnd:
    """A batch is over. `left`: its claims that were not polled. `error`: why it ended early."""

    left: int
    error: Exception | None


@dataclass(slots=True)
class PollWorker:
    """One worker. `paused`: the APIs that it paused for all tenants. `poll` and `sleep`: for tests."""

    engine: Engine
    settings: Settings
    run_id: uuid.UUID
    deadline: Deadline = NO_DEADLINE
    poll: PollBatch = poll_batch
    sleep: Callable[[float], None] = time.sleep
    paused: list[ApiPause] = field(init=False, default_factory=list)
    _health: ApiHealth = field(init=False, default_factory=ApiHealth)
    _figures: dict[int, PollFigures] = field(init=False, default_factory=dict)
    _counted: dict[int, set[int]] = field(init=False, default_factory=dict)
    connections: IdleConnections = field(default_factory=IdleConnections)
    _ends: "queue.SimpleQueue[TenantPoll | _BatchEnd]" = field(init=False, default_factory=queue.SimpleQueue)
    _in_flight: int = field(init=False, default=0)
    _threads: list[threading.Thread] = field(init=False, default_factory=list)
    _stopped: threading.Event = field(init=False, default_factory=threading.Event)
    _claim_again_at: float = field(init=False, default=-math.inf)
    _error: Exception | None = field(init=False, default=None)

    def polls(self) -> Iterator[TenantPoll]:
        """Poll every tenant that is due, the longest waiting first, and yield each when its poll has ended.

        Ends when nothing is due or the deadline has passed; what was claimed and not begun is given back.
        """
        grid = Grid.of(self.settings)
        with transaction(self.engine, "see who was loaded since") as connection:
            poll_claims.include_loaded(connection)
            self._health.known = api_pauses.load_all(connection)
        try:
            while self._claim(grid) or self._in_flight or self._linger():
                polled = self._ended()
                self._note_ends(grid, polled)
                yield from polled
            if self._error is not None:
                raise self._error
        finally:
            self._stop()

    def _claim(self, grid: Grid) -> bool:
        """Claim a batch when half of the threads are free. Returns whether a batch was begun."""
        most = self.settings.poll_threads
        now = self.deadline.clock()
        if self.deadline.has_passed or self._error or self._in_flight > most // 2 or now < self._claim_again_at:
            return False
        limit = most - self._in_flight
        with transaction(self.engine, "claim tenants that are due") as connection:
            claims = poll_claims.claim(
                connection, run_id=self.run_id, limit=limit, budget_seconds=self.settings.poll_tenant_seconds
            )
            if len(claims) < limit:
                self._claim_again_at = now + PAUSE_SECONDS
            claims = self._without_left_out(connection, grid, claims)
        if claims:
            self._in_flight += len(claims)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=self._poll_batch, args=(claims,), daemon=True))
            self._threads[-1].start()
        return bool(claims)

    def _without_left_out(self, connection: Connection, grid: Grid, claims: Sequence[Claim]) -> list[Claim]:
        """Without tenants whose time was due earlier, and who now leave out the day or the hour."""
        left_out = [one for one in claims if left_out_until(one.schedule, grid.zone, one.claimed_at) is not None]
        ends = [
            PollEnd(
                one.credential_id,
                next_poll(one.partition_key, one.schedule, grid, one.claimed_at),
                overtimes=one.overtimes,
            )
            for one in left_out
        ]
        poll_claims.ended(connection, self.run_id, ends)
        return [one for one in claims if one not in left_out]

    def _poll_batch(self, claims: Sequence[Claim]) -> None:
        left, error = len(claims), None
        try:
            for poll in self.poll(
                self.engine,
                self.settings,
                claims,
                run_id=self.run_id,
                deadline=self._deadline_of_batches(),
                connections=self.connections,
            ):
                left -= 1
                self._ends.put(poll)
        except Exception as caught:  # noqa: BLE001 - raised again by the thread that waits
            error = caught
        self._ends.put(_BatchEnd(left, error))

    def _deadline_of_batches(self) -> Deadline:
        """The run's, which also passes when the run is interrupted: threads hear of no signal."""
        clock = self.deadline.clock
        return Deadline(self.deadline.at, self.deadline.limit, lambda: math.inf if self._stopped.is_set() else clock())

    def _ended(self) -> list[TenantPoll]:
        """The polls that have ended since; waits for one."""
        polls = []
        item: TenantPoll | _BatchEnd | None = self._next(wait=self._in_flight > 0)
        while item is not None:
            if isinstance(item, TenantPoll):
                self._in_flight -= 1
                polls.append(item)
            else:
                self._in_flight -= item.left
                self._error = self._error or item.error
            item = self._next(wait=False)
        return polls

    def _next(self, *, wait: bool) -> TenantPoll | _BatchEnd | None:
        try:
            return self._ends.get(block=wait, timeout=PAUSE_SECONDS if wait else None)
        except queue.Empty:
            return None

    def _note_ends(self, grid: Grid, polls: Sequence[TenantPoll]) -> None:
        if not polls:
            return
        with transaction(self.engine, "note when tenants are polled next") as connection:
            now = cursors.now(connection)
            ends = []
            for poll in polls:
                claim = poll.claim
                overtimes = claim.overtimes + 1 if poll.spent_budget else 0
                polled_at = claim.claimed_at if poll.all_feeds_answered else None
                due_at = next_poll(claim.partition_key, claim.schedule, grid, now, overtimes)
                ends.append(PollEnd(claim.credential_id, due_at, polled_at, overtimes, poll.tokens_saved_at,
                                    poll.hourly_at, poll.unanswered))  # fmt: skip
            poll_claims.ended(connection, self.run_id, ends)
            self.paused += self._health.note(connection, polls)
        self._count(polls)

    def _count(self, polls: Sequence[TenantPoll]) -> None:
        """Add to the figures by which two intervals are compared."""
        for poll in polls:
            claim, half = poll.claim, half_of(poll.claim.partition_key)
            figures = self._figures.setdefault(half, PollFigures())
            self._counted.setdefault(half, set()).add(claim.credential_id)
            figures.tenants = len(self._counted[half])
            figures.polls += 1
            figures.with_news += not poll.is_quiet
            figures.requests += poll.requests
            figures.cpu_seconds += poll.cpu_seconds
            if poll.all_feeds_answered and claim.polled_at is not None:
                gap_seconds = (claim.claimed_at - claim.polled_at).total_seconds()
                figures.gaps += 1
                figures.gap_seconds += gap_seconds
                figures.longest_gap_seconds = max(figures.longest_gap_seconds, gap_seconds)

    def _linger(self) -> bool:
        """Wait for tenants that are due in a moment. Returns whether there are any."""
        if self.deadline.has_passed or self._error is not None:
            return False
        with transaction(self.engine, "see who is due next") as connection:
            seconds = poll_claims.seconds_until_due(connection)
        if seconds is None or seconds > min(LINGER_SECONDS, self.deadline.seconds_left):
            return False
        self.sleep(max(seconds, SHORTEST_PAUSE_SECONDS))
        self._claim_again_at = -math.inf
        return True

    def _stop(self) -> None:
        """End what is still polled, as when the run was interrupted, and give back what was claimed."""
        self._stopped.set()
        give_up_at = time.monotonic() + TO_STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        self.connections.close()
        with transaction(self.engine, "give back the tenants that were not polled") as connection:
            poll_claims.release(connection, self.run_id)
            poll_figures.add(connection, self._figures)
