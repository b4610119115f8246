"""Counters of a tenant's requests, for tests and for the rate limit.

Here: counting. Not here: the responses.
"""

import time
from collections import Counter, deque
from typing import Any


class Traffic:
    """Requests of one tenant. Rates are over the last second."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Set the counters to zero; requests in flight still count as in flight."""
        self._counting_since = time.monotonic()
        self.max_in_flight = self.in_flight
        self.max_per_second = 0
        self.by_operation: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()

    def begin(self, operation: str) -> None:
        """A request arrived: `customers.list`, `invoices.export`, `token`, `unknown`."""
        self.by_operation[operation] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._recent.append(time.monotonic())
        self.per_second()
        self.max_per_second = max(self.max_per_second, sum(moment >= self._counting_since for moment in self._recent))

    def end(self, status: int) -> None:
        """Its response was sent; 0 when the connection was dropped instead."""
        self.by_status[status] += 1
        self.in_flight -= 1

    def per_second(self) -> int:
        """Requests in the last second."""
        while self._recent and self._recent[0] <= time.monotonic() - 1:
            self._recent.popleft()
        return len(self._recent)

    def as_dict(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "total": self.by_operation.total(),
            "by_operation": dict(self.by_operation),
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "token_requests": self.by_operation["token"],
            "too_many_requests": self.by_status[429],
            "max_per_second": self.max_per_second,
            "max_concurrent": self.max_in_flight,
        }
