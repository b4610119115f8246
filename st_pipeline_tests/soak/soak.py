"""The rounds: five minutes pass, things change and break, workers poll and are killed; at the end all is compared.

Here: what happens, drawn by a seed, and the tally. Not here: the processes (deployment.py), what must be true
(checks.py).
"""

import math
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from st_pipeline.postgres import tenant_schedules
from st_pipeline.postgres.sync_log import close_abandoned
from st_pipeline.sync.first_loads import due_first_loads
from st_pipeline.tenants import removal
from st_pipeline.tenants.store import enabled_tenants, find_tenant
from st_pipeline_tests.soak import checks
from st_pipeline_tests.soak.deployment import SLOW_PAGE_SECONDS, Deployment, figures_of
from st_pipeline_tests.soak.worker import Figures

STEP_SECONDS = 300
LONGEST_ROUND_SECONDS = 900
LOADS_A_WORKER = 60
POLL_WORKERS = 2
SHARE_CHANGED, SHARE_SLOW, SHARE_KILLED = 0.1, 0.02, 0.3
WRONG_SECRET = "cs.wrong"


@dataclass
class Tally:
    """What happened. `failed_unplanned`: polls and loads of tenants nobody had broken. `differences`: at the end."""

    rounds: int = 0
    polls: int = 0
    loads: int = 0
    kills: int = 0
    events: Counter[str] = field(default_factory=Counter)
    failed_planned: int = 0
    failed_unplanned: dict[str, str] = field(default_factory=dict)
    peaks_kb: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def share_successful(self) -> float:
        """Of the syncs of tenants that nobody had broken."""
        syncs = self.polls + self.loads - self.failed_planned
        return 1 - len(self.failed_unplanned) / max(syncs, 1)


class Soak:
    """`Soak(deployment, seed).run(tenants, rounds)`."""

    def __init__(self, deployment: Deployment, seed: int, tell: Callable[[Tally], None] = lambda _tally: None) -> None:
        self.deployment, self.random, self.tell, self.tally = deployment, Random(seed), tell, Tally()  # noqa: S311
        self.share_of_faults = 0.05
        self.broken: set[str] = set()
        self.paused: set[str] = set()
        self.slow: set[str] = set()
        self.removed: set[str] = set()

    def run(self, tenants: int, rounds: int) -> Tally:
        """Add the tenants, do the rounds, repair everything, let it catch up, and compare."""
        started = time.monotonic()
        for _ in range(tenants):
            self._add()
        while self._due_loads():
            self._round(kill=False)
        self._slow_down(math.ceil(tenants * SHARE_SLOW))
        for _ in range(rounds):
            self._let_things_happen()
            self._round(kill=self.random.random() < SHARE_KILLED)
        self._repair_all()
        for _ in range(4):  # of which each lets pauses of fifteen minutes and more run out
            self.deployment.let_time_pass(12 * 3600)
            self._round(kill=False)
        self._work([sorted(self.deployment.tenants)], kill=False)
        self.tally.differences = checks.differences(self.deployment)
        self.tally.seconds = time.monotonic() - started
        return self.tally

    def _add(self) -> None:
        self.deployment.add_tenant(self.random, self.share_of_faults)

    def _slow_down(self, number: int) -> None:
        """From now on the pages of so many tenants take long."""
        for name in self.random.sample(sorted(self.deployment.tenants), number):
            self.slow.add(name)
            self.deployment.tenants[name].fault("slow", seconds=SLOW_PAGE_SECONDS, path="/export/")

    def _due_loads(self) -> list[str]:
        with self.deployment.engine.begin() as connection:
            close_abandoned(connection)
            loads = due_first_loads(connection, enabled_tenants(connection), datetime.now(UTC))
        return [load.tenant.partition_key for load in loads if load.tenant.partition_key not in self.broken]

    def _round(self, *, kill: bool) -> None:
        """A tick: first loads, then polls, as the sensor and the schedule start them."""
        self.deployment.let_time_pass(STEP_SECONDS)
        loads = self._due_loads()
        batches = [loads[start : start + LOADS_A_WORKER] for start in range(0, len(loads), LOADS_A_WORKER)]
        self._work([*batches, *([] for _ in range(POLL_WORKERS))], kill=kill)
        self.tally.rounds += 1
        self.tally.rows.append(checks.operative_rows(self.deployment.engine))
        self.tell(self.tally)

    def _work(self, orders: list[list[str]], *, kill: bool) -> None:
        """Run the workers, two at a time; one of them may be killed on its way."""
        waiting = list(orders)
        while waiting:
            now = [waiting.pop(0) for _ in range(min(POLL_WORKERS, len(waiting)))]
            workers = [(self.deployment.start_worker(loads), bool(loads)) for loads in now]
            if kill:
                self._kill(workers[0][0])
                kill = False
            for worker, is_load in workers:
                figures = figures_of(worker, LONGEST_ROUND_SECONDS)
                if figures is not None:
                    self._note(figures, is_load=is_load)

    def _kill(self, worker: "subprocess.Popen[str]") -> None:
        try:
            worker.wait(self.random.uniform(1.5, 6.0))
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGKILL)
            self.tally.kills += 1

    def _note(self, figures: Figures, *, is_load: bool) -> None:
        self.tally.loads += len(figures.ended) if is_load else 0
        self.tally.polls += 0 if is_load else len(figures.ended)
        self.tally.peaks_kb.append(figures.peak_kb)
        for tenant, message in figures.failures.items():
            if tenant in self.broken | self.slow | self.removed:
                self.tally.failed_planned += 1
            else:
                self.tally.failed_unplanned[f"{tenant}, round {self.tally.rounds}"] = message

    def _let_things_happen(self) -> None:
        """Records change; tenants come and go; credentials break and are repaired."""
        tenants = sorted(self.deployment.tenants)
        for name in self.random.sample(tenants, max(1, int(len(tenants) * SHARE_CHANGED))):
            self.deployment.tenants[name].advance(created=1, changed=2, deleted=self.random.randint(0, 1))
            self.tally.events["records changed"] += 1
        name = self.random.choice(tenants)
        happens = self.random.choice([self._add, self._remove, self._pause, self._resume, self._break, self._repair])
        if happens == self._add:
            self._add()
        else:
            happens(name)  # type: ignore[operator]
        self.tally.events[happens.__name__.strip("_")] += 1

    def _remove(self, name: str) -> None:
        with self.deployment.engine.begin() as connection:
            tenant = find_tenant(connection, name)
        removal.remove_credential(self.deployment.engine, tenant)
        self.deployment.tenants.pop(name).remove()
        self.removed.add(name)

    def _pause(self, name: str) -> None:
        self._set_paused(name, paused=True)

    def _resume(self, _name: str) -> None:
        if self.paused:
            self._set_paused(self.random.choice(sorted(self.paused)), paused=False)

    def _set_paused(self, name: str, *, paused: bool) -> None:
        if name not in self.deployment.tenants:
            return
        with self.deployment.engine.begin() as connection:
            credential_id = find_tenant(connection, name).credential_id
            tenant_schedules.save(connection, credential_id, paused_at=datetime.now(UTC) if paused else None)
        (self.paused.add if paused else self.paused.discard)(name)

    def _break(self, name: str) -> None:
        self.deployment.tenants[name].change(client_secret=WRONG_SECRET)
        self.deployment.tenants[name].revoke_tokens()
        self.broken.add(name)

    def _repair(self, _name: str) -> None:
        for name in sorted(self.broken):
            if name in self.deployment.tenants:
                source = self.deployment.tenants[name]
                source.change(client_secret=source.client_secret)
        self.broken.clear()

    def _repair_all(self) -> None:
        self._repair("")
        for name in sorted(self.paused):
            self._set_paused(name, paused=False)
        for source in self.deployment.tenants.values():
            source.clear_faults()
        self.slow.clear()
