"""Running the syncs of a command: a limited number at once, each within its time limit.

Here: starting, following and stopping runs. Not here: which tenants are synced (tenants/), what a run does (defs/),
showing progress (cli/).

Dagster's webserver may not answer for a moment, as when it is restarted: it is asked again, at growing intervals. If it
stays silent, every tenant that is still queued or running there is named.

A sync is stopped by a request in Postgres that it obeys at its next chunk; one that does not obey is killed.
"""

import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal, Protocol

from sqlalchemy import Engine

from st_pipeline.errors import DagsterSilent, PipelineError
from st_pipeline.postgres import leases, stops
from st_pipeline.postgres.database import transaction
from st_pipeline.runs.backend import Phase, RunBackend, RunState
from st_pipeline.runs.run_request import RunRequest
from st_pipeline.runs.tags import MESSAGE_TAG, SKIPPED_TAG

POLL_SECONDS = 0.25
# A request may take 120 s (ST_PIPELINE_REQUEST_TIMEOUT_SECONDS); a run that has not ended its chunk by then hangs.
OBEY_SECONDS = 150.0
# A run on another machine may not end even then; the command does not wait for it forever.
GIVE_UP_SECONDS = 60.0
# A webserver takes 10 to 30 s to start.
SILENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
INTERRUPTED = "stopped by a person"

Status = Literal["waiting", "running", "completed", "failed", "skipped", "unknown"]


@dataclass(slots=True)
class TenantRun:
    """One tenant of the command: its request, and what became of it. Times are of the monotonic clock.

    Status `unknown`: Dagster stopped answering while the run was queued or running.
    """

    credential_id: int
    request: RunRequest
    status: Status = "waiting"
    run_id: str | None = None
    message: str | None = None
    state: RunState | None = None
    began_at: float | None = None
    submitted_at: float = 0.0
    ended_at: float | None = None
    stop_asked_at: float | None = None
    end_asked_at: float | None = None

    @property
    def tenant(self) -> str:
        """Its partition key."""
        return self.request.tenant

    def ends(self, status: Status, message: str | None = None) -> None:
        """Record how it ended."""
        self.status, self.message, self.ended_at = status, message, time.monotonic()


class MoreRuns(Protocol):
    """Where further runs come from."""

    def claim(self, number: int) -> list[TenantRun]:
        """Up to `number` more; none when there are no more."""

    def keep(self) -> None:
        """They are still wanted; called several times a second."""

    def ended(self, runs: Sequence[TenantRun]) -> None:
        """These have ended; one may be told several times."""


@dataclass(slots=True)
class Interrupts:
    """Counts how often a person has asked the command to end."""

    number: int = 0

    def heard(self, _signal: int, _frame: FrameType | None) -> None:
        """One more."""
        self.number += 1

    @contextmanager
    def listening(self) -> Iterator["Interrupts"]:
        """Count Ctrl-C and SIGTERM instead of ending the process at once."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(one, self.heard) for one in signals]
        try:
            yield self
        finally:
            for one, handler in zip(signals, before, strict=True):
                signal.signal(one, handler)


@dataclass(slots=True)
class SyncRunner:
    """Runs of tenants through a run backend. `due`: where more of them come from when there is room."""

    engine: Engine
    backend: RunBackend
    runs: list[TenantRun]
    max_concurrent: int
    timeout_seconds: float
    due: MoreRuns | None = None
    interrupts: Interrupts = field(default_factory=Interrupts)
    obey_seconds: float = OBEY_SECONDS
    silence_seconds: float = SILENCE_SECONDS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _waiting: deque[TenantRun] = field(init=False)
    _active: list[TenantRun] = field(init=False, default_factory=list)
    _all_taken: bool = field(init=False, default=False)
    _told: int = field(init=False, default=0)
    _silent_since: float | None = field(init=False, default=None)
    _pause_seconds: float = field(init=False, default=FIRST_PAUSE_SECONDS)
    _ask_again_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._waiting = deque(self.runs)

    def run(self, on_poll: Callable[[], None] = lambda: None) -> None:
        """Run them all and return when each has ended; their failures raise nothing. `on_poll`: called every 0.25 s."""
        with self.interrupts.listening():
            while self._waiting or self._active:
                self._unless_silent(self._step)
                self._tell_ends()
                on_poll()
                if self._active or self._silent_since is not None:
                    self.sleep(POLL_SECONDS)

    def _step(self) -> None:
        if self.interrupts.number:
            self._stop_all()
        while len(self._active) < self.max_concurrent and (run := self._next()) is not None:
            self._start(run)
        self._follow()
        self._take_more()

    def _take_more(self) -> None:
        """Fill the room with what else is due."""
        room = self.max_concurrent - len(self._active)
        if self.due is None or self._all_taken or self._waiting or room < 1 or self.interrupts.number:
            return
        more = self.due.claim(room)
        self._all_taken = not more
        self.runs.extend(more)
        self._waiting.extend(more)

    def _tell_ends(self) -> None:
        """Tell where the runs came from which of them have ended."""
        if self.due is None:
            return
        self.due.ended([run for run in self.runs[self._told :] if run.ended_at is not None])
        while self._told < len(self.runs) and self.runs[self._told].ended_at is not None:
            self._told += 1
        self.due.keep()

    def _unless_silent(self, step: Callable[[], None]) -> None:
        """Do a step that asks Dagster; while it is silent, only at growing intervals."""
        if self.clock() < self._ask_again_at:
            return
        try:
            step()
        except DagsterSilent as error:
            now = self.clock()
            if self._silent_since is None:
                self._silent_since, self._pause_seconds = now, FIRST_PAUSE_SECONDS
            self._ask_again_at = now + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            if now - self._silent_since > self.silence_seconds or self.interrupts.number > 1:
                self._give_up(error)
        else:
            self._silent_since = None

    def _give_up(self, silence: DagsterSilent) -> None:
        """Note for every tenant where it is, as far as is known."""
        for run in self._active:
            where = "running" if run.status == "running" else "queued"
            run.ends("unknown", f"{silence}; its run was {where} and continues: see `st-pipeline sync-status`")
        for run in self._waiting:
            run.ends("failed", f"{silence}; it was not started: sync it again once Dagster answers")
        self._active.clear()
        self._waiting.clear()
        self._silent_since = None

    def _next(self) -> TenantRun | None:
        """The first waiting run whose tenant no other run of this command works on."""
        active = {run.tenant for run in self._active}
        run = next((run for run in self._waiting if run.tenant not in active), None)
        if run is not None:
            self._waiting.remove(run)
        return run

    def submit(self) -> None:
        """Queue them all and wait for none."""
        while self._waiting:
            self._unless_silent(lambda: self._start(self._waiting.popleft()))
            if self._silent_since is not None:
                self.sleep(POLL_SECONDS)

    def _start(self, run: TenantRun) -> None:
        try:
            busy = self._busy_with(run) if run.request.is_due else None
            if busy is not None:
                run.ends("skipped", busy)
                return
            run.run_id = self.backend.start(run.request)
        except DagsterSilent:
            self._waiting.appendleft(run)
            raise
        except PipelineError as error:
            run.ends("failed", str(error))
            return
        run.submitted_at = time.monotonic()
        self._active.append(run)

    def _busy_with(self, run: TenantRun) -> str | None:
        """Why scheduled work skips the tenant: another sync works on it."""
        with transaction(self.engine, f"see whether tenant {run.tenant} is free") as connection:
            holder = leases.held_tenants(connection).get(run.credential_id)
        if holder is not None:
            return f"busy with another sync, {holder}"
        if run.tenant in self.backend.queued_tenants():
            return "a run of it is queued already"
        return None

    def _follow(self) -> None:
        states = self.backend.states([run.run_id for run in self._active if run.run_id]) if self._active else {}
        for run in list(self._active):
            run.state = states.get(run.run_id or "")
            if run.state is None:
                continue
            if run.state.has_ended:
                self._active.remove(run)
                _ended(run, run.state)
                continue
            if run.state.phase is Phase.RUNNING and run.began_at is None:
                run.status, run.began_at = "running", time.monotonic()
            self._watch_the_clock(run)

    def _watch_the_clock(self, run: TenantRun) -> None:
        now = time.monotonic()
        if run.end_asked_at is not None:
            if now - run.end_asked_at > GIVE_UP_SECONDS:
                self._active.remove(run)
                run.ends("failed", f"was told to end and has not ended after {GIVE_UP_SECONDS:g} s; see the run's page")
            return
        since = run.began_at if run.began_at is not None else run.submitted_at
        if run.stop_asked_at is None and now - since > self.timeout_seconds:
            where = "" if run.began_at is not None else " in the queue"
            self._stop(run, f"stopped after {self.timeout_seconds:g} s{where}, its time limit (--timeout)")
        elif run.stop_asked_at is not None and now - run.stop_asked_at > self.obey_seconds:
            self._end_now(run)

    def _stop_all(self) -> None:
        while self._waiting:
            self._waiting.popleft().ends("failed", f"{INTERRUPTED} before it began")
        for run in self._active:
            if run.stop_asked_at is None:
                self._stop(run, INTERRUPTED)
            if self.interrupts.number > 1:
                self._end_now(run)

    def _stop(self, run: TenantRun, reason: str) -> None:
        """Ask the run to end at its next chunk; one that has not begun is taken out of the queue."""
        run.stop_asked_at = time.monotonic()
        with transaction(self.engine, f"ask the sync of tenant {run.tenant} to end") as connection:
            stops.request(connection, uuid.UUID(run.run_id), reason)
        if run.began_at is None:
            self._end_now(run)

    def _end_now(self, run: TenantRun) -> None:
        if run.end_asked_at is None and run.run_id is not None:
            self.backend.end_now(run.run_id)
            run.end_asked_at = time.monotonic()


def _ended(run: TenantRun, state: RunState) -> None:
    if state.phase is Phase.FAILED:
        run.ends("failed", state.tags.get(MESSAGE_TAG) or state.message or "its run failed; the run's page says why")
    elif SKIPPED_TAG in state.tags:
        run.ends("skipped", state.tags[SKIPPED_TAG])
    else:
        run.ends("completed")
