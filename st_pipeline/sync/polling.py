"""The polls of claimed tenants: all are looked at, side by side in threads, and those with news are entered.

Here: the threads, and what becomes of each tenant. Not here: claiming tenants and noting the end
(poll_worker.py), what a look sees (look.py), how a tenant is synced (tenant.py), telling people (defs/).

What Postgres knows of a batch's tenants comes in three queries, connections to ServiceTitan stay open from tenant to
tenant, and a tenant without news is not written to: at ten thousand tenants everything else would be too much.
"""

import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import TypeVar

from sqlalchemy import Engine

from st_pipeline.errors import ConfigurationError, OutOfTime, PipelineError, TenantBusy, without_frames
from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.servicetitan.network import SharedConnections
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.look import Look, look_at, parts_of
from st_pipeline.sync.poll_answers import note_answers
from st_pipeline.sync.poll_policy import plan, resting
from st_pipeline.sync.stream_owner import StreamOwner, stream_owners
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.poll_tenants import PollTenant, load_poll_tenants
from st_pipeline.tenants.store import PostgresTokenStore

POLL = SyncConfiguration(sync_type="scheduled")
# An answer without news has a new token, too. Saved with each, it would be thirteen rows a poll.
TOKENS_ARE_SAVED_EVERY = timedelta(days=1)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TenantPoll:
    """What became of a claimed tenant.

    `result`: None when it was not entered: nothing differed, or the sync could not begin, for which see `error`.
    `is_quiet`: nothing was written. `all_feeds_answered`: what the source held when the tenant was claimed is in the
    tables, but for the `unanswered` entities and lists. `is_news`: is `error` to be reported, or was it before?
    `tokens_saved_at`, `hourly_at`: where they moved.
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
    unanswered: frozenset[str] | None = None
    requests: int = 0
    cpu_seconds: float = 0.0

    @property
    def message(self) -> str | None:
        """Why the sync could not begin, in words that hold no data."""
        if self.error is None or isinstance(self.error, PipelineError):
            return None if self.error is None else str(self.error)
        return f"{self.claim.partition_key}: unexpected {type(self.error).__name__}; the log of the run has the place"


class IdleConnections:
    """Connections to ServiceTitan that no thread uses at the moment. They last as long as the worker."""

    def __init__(self) -> None:
        self._idle: SimpleQueue[SharedConnections] = SimpleQueue()

    @contextmanager
    def taken(self) -> Iterator[SharedConnections]:
        """Some for a thread's use."""
        try:
            connections = self._idle.get_nowait()
        except Empty:
            connections = SharedConnections()
        try:
            yield connections
        finally:
            self._idle.put(connections)

    def close(self) -> None:
        """Close them."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


def poll_batch(
    engine: Engine,
    settings: Settings,
    claims: Sequence[Claim],
    *,
    run_id: uuid.UUID,
    deadline: Deadline = NO_DEADLINE,
    connections: IdleConnections | None = None,
) -> Iterator[TenantPoll]:
    """Poll the tenants and yield each as soon as its poll has ended.

    Those that were not begun when the deadline passed are not yielded: their claims are given back. `connections`:
    those of the worker, for batch after batch. Raises ConfigurationError (there is no keyring) and DatabaseUnavailable.
    """
    own = connections or IdleConnections()
    batch = _Batch(engine, settings, run_id, deadline, own)
    try:
        yield from batch.polls(claims)
    finally:
        if connections is None:
            own.close()


@dataclass(frozen=True, slots=True)
class _Task:
    claim: Claim
    known: PollTenant | None  # None: removed since it was claimed
    cursors: Mapping[str, Cursor]
    owners: Mapping[str, StreamOwner]

    @property
    def left_out(self) -> frozenset[str]:
        """What is off, and what rests after failures. Where ServiceTitan refuses all, the tenant itself waits."""
        off, tenant = self.claim.entities_off, self.known.tenant if self.known else None
        if tenant is None or tenant.connection_status != "connected" or tenant.refused_since is not None:
            return off
        return off | resting(self.cursors, self.claim.claimed_at, tested_at=tenant.last_tested_at)


@dataclass(slots=True)
class _Batch:
    engine: Engine
    settings: Settings
    run_id: uuid.UUID
    deadline: Deadline
    connections: IdleConnections
    _tasks: "SimpleQueue[_Task | None]" = field(init=False, default_factory=SimpleQueue)
    _ended: "SimpleQueue[TenantPoll | None]" = field(init=False, default_factory=SimpleQueue)

    def polls(self, claims: Sequence[Claim]) -> Iterator[TenantPoll]:
        threads = min(len(claims), self.settings.poll_threads)
        for task in (*self._tasks_of(claims), *[None] * threads):
            self._tasks.put(task)
        for _ in range(threads):  # daemons: a request that hangs must not keep a process from ending
            threading.Thread(target=copy_context().run, args=(self._work,), name="poll", daemon=True).start()
        for _ in claims:
            poll = self._ended.get()
            if poll is not None:
                yield poll

    def _tasks_of(self, claims: Sequence[Claim]) -> list[_Task]:
        """What Postgres knows of all of them."""
        ids = [claim.credential_id for claim in claims]
        with transaction(self.engine, "read what is known of the tenants to poll") as connection:
            known = load_poll_tenants(connection, self.settings, ids)
            held, owners = by_tenant(cursors.load_all(connection, ids)), by_tenant(stream_owners(connection, ids))
        return [
            _Task(claim, known.get(of), held.get(of, {}), owners.get(of, {}))
            for claim, of in zip(claims, ids, strict=True)
        ]

    def _work(self) -> None:
        with self.connections.taken() as connections:
            while (task := self._tasks.get()) is not None:
                poll = None
                if not self.deadline.has_passed:
                    began = time.thread_time()
                    try:
                        poll = self._poll(task, connections)
                        poll = replace(poll, cpu_seconds=time.thread_time() - began)
                    except Exception as error:  # noqa: BLE001 - one tenant's failure must not stop the others
                        poll = TenantPoll(task.claim, is_quiet=False, error=without_frames(error))
                self._ended.put(poll)

    def _poll(self, task: _Task, connections: SharedConnections) -> TenantPoll:
        claim, known = task.claim, task.known
        if known is not None and known.busy_with is not None:
            busy = f"poll of tenant {claim.partition_key}: the tenant is busy with another run, {known.busy_with}"
            return TenantPoll(claim, error=TenantBusy(busy))
        seconds = self.settings.poll_tenant_seconds
        limit = f"a poll gives a tenant {seconds:g} s (ST_PIPELINE_POLL_TENANT_SECONDS)"
        deadline = self.deadline.within(seconds, limit)
        look = self._look(task, connections, deadline)
        poll = self._leave(task, look) if look and not look.has_news else self._enter(task, look, deadline)
        return replace(poll, requests=look.client.statistics.requests if look else 0)

    def _look(self, task: _Task, connections: SharedConnections, deadline: Deadline) -> Look | None:
        """None: the tenant cannot be asked; its sync says why."""
        known, claim = task.known, task.claim
        if known is None or known.authentication is None:
            return None
        store = PostgresTokenStore(self.engine, self.settings, known.tenant)
        try:
            client = ServiceTitanClient(
                known.authentication,
                self.settings,
                store=store,
                deadline=deadline,
                connections=connections,
                token=known.token,
            )
        except ConfigurationError:
            return None
        names = plan(
            POLL,
            self.settings,
            task.cursors,
            first_loads=False,
            without=task.left_out,
            lists_polled_at=claim.hourly_at,
        )
        must_enter = known.was_cut_off or not known.is_in_order(claim.polled_at)
        look = Look(
            claim.partition_key,
            claim.credential_id,
            client,
            deadline,
            names,
            task.cursors,
            task.owners,
            claim.claimed_at,
            must_enter,
        )
        look_at(look, self.engine)
        return look

    def _leave(self, task: _Task, look: Look) -> TenantPoll:
        """A tenant without news. Once a day its feed tokens are saved."""
        claim, of = task.claim, task.claim.credential_id
        poll = self._answered(TenantPoll(claim), look.unchanged, task)
        saves = claim.tokens_saved_at is None or claim.claimed_at - claim.tokens_saved_at >= TOKENS_ARE_SAVED_EVERY
        tokens = look.new_tokens() if saves else {}
        unnoted = () if poll.all_feeds_answered else parts_of(look.unchanged)
        if tokens or unnoted:
            with transaction(self.engine, f"note the poll of tenant {claim.partition_key}") as connection:
                cursors.save_tokens(connection, of, tokens)
                cursors.note_unchanged(connection, of, unnoted, claim.claimed_at)
        return replace(poll, tokens_saved_at=claim.claimed_at if saves else None)

    def _enter(self, task: _Task, look: Look | None, deadline: Deadline) -> TenantPoll:
        sync = TenantSync(
            self.engine,
            self.settings,
            task.claim.partition_key,
            POLL,
            sync_id=self.run_id,
            dagster_run_id=str(self.run_id),
            deadline=deadline,
            first_loads=False,
            without=task.left_out,
            look=look,
        )
        try:
            with sync:
                for _ in sync.entities():
                    pass
        except PipelineError as error:
            return TenantPoll(task.claim, is_quiet=False, error=without_frames(error), is_news=sync.is_news)
        result = sync.result
        answered = result.unchanged | {outcome.entity for outcome in result.outcomes if outcome.error is None}
        ran_out = any(isinstance(outcome.error, OutOfTime) for outcome in result.outcomes)
        poll = TenantPoll(
            task.claim,
            result,
            is_quiet=result.sync_log_id is None,
            spent_budget=ran_out or (deadline.has_passed and not self.deadline.has_passed),
        )
        return self._answered(poll, answered, task)

    def _answered(self, poll: TenantPoll, answered: Collection[str], task: _Task) -> TenantPoll:
        found = note_answers(self.engine, task.claim, task.cursors, answered=answered, left_out=task.left_out)
        return replace(poll, all_feeds_answered=found.all_feeds, hourly_at=found.hourly_at, unanswered=found.unanswered)


def by_tenant(found: Mapping[tuple[int, str], T]) -> dict[int, dict[str, T]]:
    """What was found by credential and name, by credential."""
    tenants: dict[int, dict[str, T]] = {}
    for (credential_id, name), one in found.items():
        tenants.setdefault(credential_id, {})[name] = one
    return tenants
