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
    """A moment by `clock`, a clock that never goes back. `limit`: which limit it comes from, in words for people."""

    at: float = math.inf
    limit: str = "no limit"
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
