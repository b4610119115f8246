"""Timestamps as ServiceTitan writes them.

Here: reading the text, to the microsecond, writing it, comparing. Not here: calendar days, which column is a timestamp.
ServiceTitan: up to seven fractional digits. The seventh is cut off, everywhere: rounding would move the last moment of
June to July, and .NET's last one (`9999-12-31T23:59:59.9999999Z`, which means "never") to a year that datetime does not
have.
"""

from datetime import UTC, datetime, timedelta

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
OLDEST = -(2**62)


def parse_timestamp(text: str) -> datetime:
    """The timestamp in UTC, cut to six fractional digits. Raises ValueError for other text.

    ServiceTitan: some timestamps have no `Z` and mean UTC.
    """
    read = datetime.fromisoformat(text)
    if read.tzinfo is UTC:
        return read
    if read.tzinfo is None:
        return read.replace(tzinfo=UTC)
    try:
        return read.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None


def written(value: datetime) -> str:
    """The timestamp as a request has it."""
    return msgspec.json.encode(value).decode().strip('"')


def epoch_microseconds(value: datetime | None) -> int:
    """Microseconds since 1970, for comparing; a missing time counts as the oldest."""
    return OLDEST if value is None else (value - EPOCH) // MICROSECOND


def later(one: str | None, other: str | None) -> str | None:
    """The later of two timestamps, as the source wrote them."""
    if one is None or other is None:
        return one or other
    return one if parse_timestamp(one) >= parse_timestamp(other) else other
