"""How fast one tenant may be asked.

Here: a token bucket. Not here: the waiting itself, and what happens after a 429 (client.py).
ServiceTitan: 60 calls a second per app and tenant. A tenant has one spender, the run that holds its lease.
"""

import threading
import time
from collections.abc import Callable

from st_pipeline.rates import Rate


class RateLimiter:
    """Lets `burst` calls go at once and then `rate`. Shared by the threads of one tenant's sync."""

    def __init__(self, rate: Rate, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = rate.per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._free = float(burst)
        self._at = clock()

    def reserve(self) -> float:
        """Take a place in the queue: the seconds to wait before the call may go, 0 when it may go now."""
        with self._lock:
            now = self._clock()
            self._free = min(self._burst, self._free + (now - self._at) * self._per_second) - 1
            self._at = now
            return max(0.0, -self._free / self._per_second)
