"""Rounds of kill, next run, check; and the tally of them.

Here: what is drawn for a round, and its order. Not here: the processes (lab.py), what must be true (checks.py).

A series is one tenant's rounds from its first load on. Its number and the seed give all that is drawn, so a failure is
repeated by running its series again; only a kill at a moment in time may then fall elsewhere.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random

from st_pipeline_tests.kill_lab.kill_plans import PLACES, KillPlan, Kind, draw
from st_pipeline_tests.kill_lab.lab import Lab, LabTenant, Run
from st_pipeline_tests.kill_lab.worker import Ended

KILLS_A_SERIES = 10
SHARE_KILLED_AGAIN, SHARE_MOVING_AGAIN, SHARE_HEALED_BY_INCREMENTAL, SHARE_BY_SCHEDULE = 0.4, 0.3, 0.4, 0.5
MOVES = {"created": 5, "changed": 30, "merged": 2, "deactivated": 2, "deleted": 6, "reactivated": 1, "undeleted": 2}
RARE_MOVES = (
    {"changed": {"membership_types": 1}},
    {"deleted": {"customers": 1, "locations": 1}},
    {"created": {"membership_types": 2}, "deleted": {"membership_types": 1}},
    {"undeleted": {"customers": 1, "locations": 1}},
)
A_MOMENT = "at a random moment"
FIRST, FULL, INCREMENTAL = "first load", "full", "incremental"


@dataclass(slots=True)
class Tally:
    """What happened. `kills`: by what died and where, of syncs that it interrupted; `missed`: it came too late."""

    kills: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    rounds: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_kills(
    lab: Lab, seed: int, kills: int, first_series: int = 0, tell: Callable[[Tally], None] = lambda _tally: None
) -> Tally:
    """Kill so many syncs, in series that each begin with an empty tenant, and `tell` the tally after each.

    A series ends with its first failure.
    """
    tally, started = Tally(), time.monotonic()
    like = _learn(lab)
    for number in count(first_series):
        left = kills - tally.kills.total()
        if left <= 0 or number - first_series > kills:
            break
        Series(lab, seed, number, like, tally).run(min(left, KILLS_A_SERIES))
        tally.seconds = time.monotonic() - started
        tell(tally)
    return tally


def _learn(lab: Lab) -> dict[str, Ended]:
    """How long each kind of sync takes when nobody kills it, and how often it comes by each place."""
    tenant, like = lab.add_tenant("model", seed=0), {}
    for mode in (FIRST, INCREMENTAL, FULL):
        run = lab.sync(tenant, full=mode == FULL)
        if run.ended is None or run.ended.errors:
            raise RuntimeError(f"a sync that nobody killed failed: {run.ended.errors if run.ended else 'no word'}")
        like[mode] = run.ended
        tenant.source.advance(**MOVES)
    never = [place for place in PLACES if not any(ended.passed.get(place) for ended in like.values())]
    if never:
        raise RuntimeError(f"no sync comes by: {', '.join(never)}; has the engine changed? Mend PLACES")
    tenant.source.remove()
    return like


class Series:
    """Kills of one tenant's syncs."""

    def __init__(self, lab: Lab, seed: int, number: int, like: Mapping[str, Ended], tally: Tally) -> None:
        self.lab, self.like, self.tally = lab, like, tally
        self.label = f"seed {seed}, series {number}"
        self.random = Random(f"{seed}:{number}")  # noqa: S311 - a plan, no secret
        self.tenant: LabTenant = lab.add_tenant(f"series-{number}", self.random.randrange(2**31))
        self.story: list[str] = []

    def run(self, kills: int) -> None:
        """Rounds until so many syncs were killed, or the first failure: what comes after one proves nothing."""
        enough = self.tally.kills.total() + kills
        for number in count(1):
            if self.tally.kills.total() >= enough:
                break
            self.story = []
            found = self._round(first=number == 1)
            self.tally.rounds += 1
            if found:
                self.tally.failures.append(
                    f"{self.label}, round {number}\n  " + "\n  ".join([*self.story, *(f"! {one}" for one in found)])
                )
                break
        self.tenant.source.remove()

    def _round(self, *, first: bool) -> list[str]:
        """Time moves, a sync is killed, maybe the next as well, and then one is not. What is not as it must be."""
        modes: list[str] = []
        while not modes or self.random.random() < SHARE_KILLED_AGAIN:
            if not first and (not modes or self.random.random() < SHARE_MOVING_AGAIN):
                self._move()
            modes.append(FIRST if first else self.random.choice((FULL, INCREMENTAL)))
            found = self._kill(modes[-1])
            if found:
                return found
        if self.random.random() < SHARE_MOVING_AGAIN:
            self._move()
        if FULL not in modes:
            return self._next(full=False)
        if self.random.random() < SHARE_HEALED_BY_INCREMENTAL:
            found = self._next(full=False)
        return found or self._next(full=True)

    def _move(self) -> None:
        self.tenant.source.advance(**MOVES)
        if self.random.random() < SHARE_MOVING_AGAIN:
            self.tenant.source.advance(**self.random.choice(RARE_MOVES))
        self.story.append("the source moved on")

    def _kill(self, mode: str) -> list[str]:
        plan = draw(self.random, self.like[mode].passed, self.like[mode].seconds)
        run = self.lab.sync(self.tenant, full=mode == FULL, scheduled=self._by_schedule(), plan=plan)
        self._count(run, plan, mode)
        if run.exit_code != 0 and not run.kill_sent:
            return [f"the sync failed before anything was killed: {run.ended and run.ended.errors}"]
        if run.ended is None and run.exit_code != -signal.SIGKILL:
            return [f"the worker ended without a word, exit code {run.exit_code}"]
        unexpected = run.ended.unexpected if run.ended else ()
        return [f"the sync failed of an error that nobody foresaw, {kind}" for kind in unexpected]

    def _count(self, run: Run, plan: KillPlan, mode: str) -> None:
        self.story.append(f"{mode} sync, {plan}" + ("" if run.interrupted else " (too late)"))
        if run.interrupted:
            self.tally.kills[plan.kind, plan.place or A_MOMENT] += 1
            self.tally.modes[mode] += 1
        else:
            self.tally.missed += 1

    def _next(self, *, full: bool) -> list[str]:
        """The next run, with no help; and the checks after it."""
        run = self.lab.sync(self.tenant, full=full, scheduled=self._by_schedule())
        self.story.append(f"{FULL if full else INCREMENTAL} sync, not killed")
        if run.ended is None or run.ended.errors:
            return [f"the next run failed: {run.ended.errors if run.ended else f'exit code {run.exit_code}'}"]
        return self.lab.differences(self.tenant, after_full=full)

    def _by_schedule(self) -> bool:
        """A person's sync always leaves a row in the sync log, a poll only when it found something."""
        return self.random.random() < SHARE_BY_SCHEDULE
