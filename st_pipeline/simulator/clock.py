"""The simulator's clock, and timestamps as ServiceTitan writes them.

Here: ticks (100 ns since 1970, the precision of the API), to text and back. Not here: anything that waits.
"""

import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

TICKS_PER_SECOND = 10_000_000
TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_SHORTEST = len("2026-01-02T00:00:00Z")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class Clock:
    """Real UTC time plus an offset; each reading is at least one tick later than the one before."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0
        self._last = 0

    def now(self) -> int:
        """Ticks, strictly increasing, so that two changes never have the same `modifiedOn` by accident."""
        self._last = max(self._last + 1, self._real())
        return self._last

    def peek(self) -> int:
        """Ticks to compare with; unlike `now`, it does not use the tick up. Never earlier than the last `now`."""
        return max(self._last, self._real())

    def _real(self) -> int:
        return time.time_ns() // 100 + int(self.offset_seconds * TICKS_PER_SECOND)

    def set_offset(self, seconds: float) -> None:
        """Move the clock. It may go back; readings increase from there."""
        self.offset_seconds = seconds
        self._last = 0


@lru_cache(maxsize=20_000)
def _day_text(day: int) -> str:
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


@lru_cache(maxsize=20_000)
def _day_number(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


_MINUTES = [f"T{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60)]
_SECONDS = [f"{second:02}" for second in range(60)]


def to_text(ticks: int) -> str:
    """`2026-01-02T16:28:55.8446003Z`: up to seven digits, trailing zeros dropped, none at a whole second."""
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    day, second_of_day = divmod(seconds, 86_400)
    text = _day_text(day) + _MINUTES[second_of_day // 60] + _SECONDS[second_of_day % 60]
    if not fraction:
        return text + "Z"
    return (f"{text}.{fraction:07}" if fraction % 10 else f"{text}.{fraction:07}".rstrip("0")) + "Z"


def to_day_text(ticks: int) -> str:
    """A calendar day, which the API writes as midnight: `2026-01-02T00:00:00Z`."""
    return f"{_day_text(ticks // TICKS_PER_DAY)}T00:00:00Z"


def to_ticks(text: str) -> int:
    """Parse a date, or a date and time; without a zone it is UTC. Raises ValueError for other text."""
    if (
        len(text) >= _SHORTEST and text[-1] == "Z" and text[10] == "T"
    ):  # the API's own form: ten times faster than below
        fraction = text[20:-1].ljust(7, "0")[:7] if text[19] == "." else "0"
        clock = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        return _day_number(text[:10]) * TICKS_PER_DAY + clock * TICKS_PER_SECOND + int(fraction)
    moment = datetime.fromisoformat(text.strip())
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10
