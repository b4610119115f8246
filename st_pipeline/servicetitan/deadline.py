"""A deadline that is passed down to every request and every wait.

Here: the value. Not here: setting one (sync, defs), keeping to it (the other modules of this room).

A thread cannot be killed, so everything that may block is told for how long it may.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on the monotonic `clock`. `limit` says where it comes from, in words: "a run may take 900 s"."""

    at: float = math.inf
    limit: str = "there is no limit"
    clock: Callable[[], float] = time.monotonic

    @property
    def seconds_left(self) -> float:
        """0 when the deadline has passed, infinite when there is none."""
        return max(0.0, self.at - self.clock())

    @property
    def has_passed(self) -> bool:
        """Has the deadline passed?"""
        return self.clock() >= self.at

    def within(self, seconds: float, limit: str) -> "Deadline":
        """This deadline, or the one `seconds` from now if that comes first."""
        at = self.clock() + seconds
        return Deadline(at, limit, self.clock) if at < self.at else self


NO_DEADLINE = Deadline()
INTERRUPTED = "ended at once, by a person or with its service"


def out_of_time(deadline: Deadline) -> str:
    """The words for an error caused by this deadline."""
    return f"out of time, as {deadline.limit}; what is committed stays, and the next sync continues from there"


def why_ended(kind: type[BaseException], deadline: Deadline) -> str:
    """Why work ended early. Interrupts are not Exceptions, so that `except Exception` does not catch them."""
    if issubclass(kind, Exception | GeneratorExit):
        return f"stopped by {kind.__name__}"
    return f"ended at once, as {deadline.limit}" if deadline.has_passed else INTERRUPTED
