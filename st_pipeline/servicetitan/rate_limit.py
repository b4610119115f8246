"""How many requests a second one tenant gets.

Here: a token bucket. Not here: the waiting itself, and what happens after a 429.
ServiceTitan: 60 calls a second per app and tenant. Only the run that holds a tenant's lease sends requests for it.
"""

import threading
import time
from collections.abc import Callable

from st_pipeline.rates import Rate


class RateLimiter:
    """Allows `burst` calls at once, then `rate`. Shared by the threads of one tenant's sync."""

    def __init__(self, rate: Rate, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = rate.per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._free = float(burst)
        self._at = clock()

    def reserve(self) -> float:
        """Reserve the next call: the seconds to wait before it may be sent, 0 for now."""
        with self._lock:
            now = self._clock()
            self._free = min(self._burst, self._free + (now - self._at) * self._per_second) - 1
            self._at = now
            return max(0.0, -self._free / self._per_second)
