"""Figures about a tenant's requests: durations, retries, refusals.

Here: counting. Not here: storing the figures; the sync log does.
"""

import math
import threading
from dataclasses import dataclass, field
from typing import Any

COUNTS = ("requests", "retries", "rate_limited", "token_requests", "bytes")  # what adds up over syncs
STEPS_PER_DOUBLING = 4  # so a percentile from the buckets is at most 19 % too high


@dataclass(slots=True)
class RequestStatistics:
    """Figures of one tenant's requests; durations in milliseconds, in buckets that can be added up over syncs."""

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    token_requests: int = 0
    bytes: int = 0
    longest_ms: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def record(self, seconds: float, received_bytes: int) -> None:
        """Count one request and its duration."""
        milliseconds = max(seconds * 1000, 0.001)
        bucket = math.ceil(STEPS_PER_DOUBLING * math.log2(milliseconds))
        with self._lock:
            self.requests += 1
            self.bytes += received_bytes
            self.longest_ms = max(self.longest_ms, milliseconds)
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def count(self, name: str) -> None:
        """Add one to `retries`, `rate_limited` or `token_requests`."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def percentile_ms(self, share: float) -> float:
        """The duration that this share of the requests did not exceed; 0 without requests."""
        wanted = share * sum(self.buckets.values())
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return float(min(2 ** (bucket / STEPS_PER_DOUBLING), self.longest_ms))
        return 0.0

    def as_details(self) -> dict[str, Any]:
        """For the sync log, as JSON. `buckets`: n to the number of requests of up to 2^(n/4) ms."""
        with self._lock:
            return self._figures()

    def _figures(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in COUNTS},
            "p50_ms": round(self.percentile_ms(0.5), 2),
            "p95_ms": round(self.percentile_ms(0.95), 2),
            "longest_ms": round(self.longest_ms, 2),
            "buckets": {str(bucket): count for bucket, count in sorted(self.buckets.items())},
        }
