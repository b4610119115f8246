"""How fast one tenant may be asked.

Here: a token bucket. Not here: what happens after a 429 (client.py).
ServiceTitan: 60 calls a second per app and tenant. A tenant has one spender, the run that holds its lease.
"""

import threading
import time
from collections.abc import Callable

from st_pipeline.rates import Rate


class RateLimiter:
    """Lets `burst` calls go at once and then `rate`. Shared by the threads of one tenant's sync."""

    def __init__(
        self,
        rate: Rate,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_second = rate.per_second
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._at = clock()

    def wait(self) -> None:
        """Return when the next call may go. Callers are served in turn."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            self._tokens -= 1
            pause = -self._tokens / self._per_second
        if pause > 0:
            self._sleep(pause)
