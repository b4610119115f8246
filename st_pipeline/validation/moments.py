"""Moments as ServiceTitan writes them, and comparing them.

Here: reading the text, to the microsecond. Not here: calendar days (frame.py), which column is a moment.
ServiceTitan: up to seven digits behind the second. The seventh is cut, everywhere the same way: rounded, the last
moment of June lies in July, and .NET's last moment (`9999-12-31T23:59:59.9999999Z`, which means "never") in a year that
no datetime holds.
"""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NEVER = -(2**62)


def moment(text: str) -> datetime:
    """The moment in UTC; more than six digits behind the second are cut. Raises ValueError for text that is none.

    ServiceTitan: some times lack `Z` and mean UTC.
    """
    read = datetime.fromisoformat(text)
    if read.tzinfo is UTC:
        return read
    if read.tzinfo is None:
        return read.replace(tzinfo=UTC)
    try:
        return read.astimezone(UTC)
    except OverflowError:
        raise ValueError("beyond the years 1 to 9999") from None


def instant(value: datetime | None) -> int:
    """Microseconds since 1970, for comparing; a missing time is the oldest."""
    return NEVER if value is None else (value - EPOCH) // MICROSECOND


def later(one: str | None, other: str | None) -> str | None:
    """The later of two moments as the source wrote them."""
    if one is None or other is None:
        return one or other
    return one if moment(one) >= moment(other) else other
