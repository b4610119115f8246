"""What the polls of each half of the tenants cost in a day, and how fresh they kept the tables.

Here: the table poll_figures. Not here: which tenant belongs to which half (tenants/schedule.py), gathering the figures
(sync/poll_worker.py).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date

from sqlalchemy import Connection, text


@dataclass(slots=True)
class PollFigures:
    """What a worker saw of one half. `tenants`: how many different ones; `gaps`: times between two complete polls."""

    tenants: int = 0
    polls: int = 0
    with_news: int = 0
    requests: int = 0
    cpu_seconds: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0
    longest_gap_seconds: float = 0.0


LARGEST = ("tenants", "longest_gap_seconds")  # all others add up
_NAMES = tuple(field.name for field in fields(PollFigures))


def add(connection: Connection, figures: Mapping[int, PollFigures]) -> None:
    """Add a worker's figures, by half, to those of the day."""
    if not figures:
        return
    merged = ", ".join(
        f"{name} = greatest(f.{name}, excluded.{name})" if name in LARGEST else f"{name} = f.{name} + excluded.{name}"
        for name in _NAMES
    )
    statement = text(
        f"INSERT INTO poll_figures AS f (day, half, {', '.join(_NAMES)}) "  # noqa: S608 - fields of a class
        f"VALUES (current_date, :half, {', '.join(f':{name}' for name in _NAMES)}) "
        f"ON CONFLICT (day, half) DO UPDATE SET {merged}"
    )
    connection.execute(statement, [{"half": half, **asdict(figures[half])} for half in sorted(figures)])


def since(connection: Connection, day: date) -> dict[int, PollFigures]:
    """The figures of a day and all that followed, by half."""
    # The sum of a bigint is a numeric.
    summed = ", ".join(
        f"CAST({'max' if one.name in LARGEST else 'sum'}({one.name}) AS {'bigint' if one.type is int else 'float8'})"
        for one in fields(PollFigures)
    )
    query = text(f"SELECT half, {summed} FROM poll_figures WHERE day >= :day GROUP BY half ORDER BY half")  # noqa: S608
    return {half: PollFigures(*rest) for half, *rest in connection.execute(query, {"day": day})}
