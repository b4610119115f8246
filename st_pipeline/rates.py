"""A rate such as `40/second`: its text form and its arithmetic.

Here: the value. Not here: who waits (servicetitan/).
"""

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/|per)\s*([a-z]+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` events in `per_seconds` seconds."""

    count: float
    per_seconds: float

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.count / self.per_seconds

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `40/second`, `100/min` or `100 per minute`. Raises ValueError otherwise."""
        match = _FORM.fullmatch(text)
        if match is None or match[2].lower() not in SECONDS or float(match[1]) <= 0:
            raise ValueError(f"write a rate as 40/second or 100/minute, not {text!r}")
        return cls(float(match[1]), SECONDS[match[2].lower()])

    def __str__(self) -> str:
        unit = {1: "second", 60: "minute", 3600: "hour"}.get(int(self.per_seconds), f"{self.per_seconds:g} seconds")
        return f"{self.count:g}/{unit}"
