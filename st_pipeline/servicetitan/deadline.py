"""Until when a piece of work may take time: a value that is passed down to every request and every wait.

Here: the value. Not here: who sets one (tenant_sync.py, defs/), who obeys it (servicetitan/).

A thread cannot be killed, so whatever may block is told how long it may.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by `clock`, which never goes back. `limit`: where it comes from, for people: "a run may take 900 s"."""

    at: float = math.inf
    limit: str = "there is no limit"
    clock: Callable[[], float] = time.monotonic

    @property
    def seconds_left(self) -> float:
        """0 when it has passed, infinite when there is none."""
        return max(0.0, self.at - self.clock())

    @property
    def has_passed(self) -> bool:
        """Is the time up?"""
        return self.clock() >= self.at

    def within(self, seconds: float, limit: str) -> "Deadline":
        """This deadline, or the one `seconds` from now if that comes first."""
        at = self.clock() + seconds
        return Deadline(at, limit, self.clock) if at < self.at else self


NEVER = Deadline()
BY_A_PERSON = "ended at once, by a person or with its service"


def out_of_time(deadline: Deadline) -> str:
    """What an error says that comes of it."""
    return f"out of time, as {deadline.limit}; what is committed stays, the next sync goes on from there"


def why_ended(kind: type[BaseException], deadline: Deadline) -> str:
    """Why work ended in the middle. Interrupts are no errors, so that nobody catches them by mistake."""
    if issubclass(kind, Exception | GeneratorExit):
        return f"stopped by {kind.__name__}"
    return f"ended at once, as {deadline.limit}" if deadline.has_passed else BY_A_PERSON
