"""Problems that people are told about, and silences.

Here: the tables alert_problems and alert_silences. Not here: what is a problem and when it alerts (alerts/), the
messages about it (alert_deliveries.py).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from st_pipeline.postgres.check_verdicts import Severity

# How often a problem alerted within this time says how long it must be gone to be over.
FLAPPING_WITHIN = timedelta(days=1)


@dataclass(slots=True, eq=False)
class Problem:
    """A row of alert_problems. `part_of`: the open problem that explains this one or tells of it.

    `id` 0: not stored yet. `is_changed`: to be written.
    """

    cause: str
    tenant: str | None
    subject: str
    severity: Severity
    message: str
    figures: dict[str, Any]
    since: datetime
    hold_until: datetime
    opened_at: datetime | None = None
    gone_since: datetime | None = None
    closed_at: datetime | None = None
    times: int = 1
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    because: str | None = None
    id: int = 0
    part_of: "Problem | None" = None
    is_changed: bool = field(default=False, compare=False)

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What makes it the same problem the next time it is seen."""
        return self.cause, self.tenant, self.subject

    def change(self, **values: Any) -> None:
        """Set fields; it is to be written if one is new."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)
                self.is_changed = True


@dataclass(frozen=True, slots=True)
class Silence:
    """A row of alert_silences. None: any."""

    id: int
    cause: str | None
    tenant: str | None
    created_at: datetime
    created_by: str
    because: str | None
    ends_at: datetime

    def covers(self, problem: Problem) -> bool:
        """Is nobody to be told of this one?"""
        return self.cause in (None, problem.cause) and self.tenant in (None, problem.tenant)


_STORED = (
    "cause", "tenant", "subject", "severity", "message", "figures", "since", "hold_until", "opened_at", "gone_since",
    "closed_at", "times", "acknowledged_by", "acknowledged_at", "because",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(_STORED)}, id, part_of FROM alert_problems"  # noqa: S608 - constants
_MOVING = ("severity", "message", "figures", "hold_until", "opened_at", "gone_since", "closed_at", "part_of")


def load_open(connection: Connection) -> list[Problem]:
    """All that are not closed, the oldest first."""
    return _problems(connection.execute(text(f"{_SELECT} WHERE closed_at IS NULL ORDER BY id")))


def load(connection: Connection, ids: Sequence[int]) -> dict[int, Problem]:
    """These, open or closed, by id."""
    rows = connection.execute(text(f"{_SELECT} WHERE id = ANY(:ids)"), {"ids": list(ids)})
    return {problem.id: problem for problem in _problems(rows)}


def alerted(connection: Connection, *, closed_since: datetime, limit: int = 1000) -> list[Problem]:
    """Those that are alerts or were until this time, the newest first; without what another one tells of."""
    rows = connection.execute(
        text(f"""
            {_SELECT} WHERE opened_at IS NOT NULL AND part_of IS NULL AND (closed_at IS NULL OR closed_at >= :since)
            ORDER BY id DESC LIMIT :limit
        """),
        {"since": closed_since, "limit": limit},
    )
    return _problems(rows)


def parts_of(connection: Connection, problem_id: int) -> list[Problem]:
    """What the problem explains or tells of, the oldest first."""
    return _problems(connection.execute(text(f"{_SELECT} WHERE part_of = :id ORDER BY since, id"), {"id": problem_id}))


def times_before(connection: Connection, now: datetime) -> dict[tuple[str, str | None, str], int]:
    """How often each problem alerted, and was over, within the last day."""
    rows = connection.execute(
        text("""
            SELECT cause, tenant, subject, count(*) FROM alert_problems
            WHERE closed_at > :since AND opened_at IS NOT NULL GROUP BY cause, tenant, subject
        """),
        {"since": now - FLAPPING_WITHIN},
    )
    return {(cause, tenant, subject): number for cause, tenant, subject, number in rows}


def save(connection: Connection, problems: Iterable[Problem]) -> None:
    """Write those that are new or changed; those that closed without an alert are deleted. A quiet tick: nothing."""
    changed = [problem for problem in problems if problem.is_changed or not problem.id]
    new = [problem for problem in changed if not problem.id]
    # What others are part of comes first, so that it has an id.
    for rows in ([one for one in new if one.part_of is None], [one for one in new if one.part_of is not None]):
        _insert(connection, rows)
    stay = [one for one in changed if one.closed_at is None or one.opened_at is not None]
    if changed:
        fresh = {one.id for one in new}
        connection.execute(_UPDATE, {"rows": _rows([one for one in stay if one.id not in fresh])})
        connection.execute(_DELETE, {"ids": [one.id for one in changed if one not in stay]})
    for problem in changed:
        problem.is_changed = False


def _insert(connection: Connection, problems: Sequence[Problem]) -> None:
    if problems:
        by_key = {problem.key: problem for problem in problems}
        for row in connection.execute(_INSERT, {"rows": _rows(problems)}):
            by_key[row.cause, row.tenant, row.subject].id = row.id


def _rows(problems: Sequence[Problem]) -> str:
    """As JSON, for one statement however many there are."""
    rows = [
        {name: getattr(one, name) for name in (*_STORED, "id")}
        | {"part_of": None if one.part_of is None else one.part_of.id}
        for one in problems
    ]
    return json.dumps(rows, default=datetime.isoformat)


def acknowledge(connection: Connection, problem_id: int, by: str, because: str | None, now: datetime) -> Problem | None:
    """Note that somebody works on an open alert. None: there is none with this id."""
    row = connection.execute(
        text("""
            UPDATE alert_problems SET acknowledged_by = :by, acknowledged_at = :now, because = :because
            WHERE id = :id AND closed_at IS NULL AND opened_at IS NOT NULL RETURNING id
        """),
        {"id": problem_id, "by": by, "because": because, "now": now},
    ).scalar()
    return None if row is None else load(connection, [row])[row]


def silences(connection: Connection, now: datetime) -> list[Silence]:
    """Those that have not ended."""
    rows = connection.execute(
        text(f"SELECT {', '.join(Silence.__slots__)} FROM alert_silences WHERE ends_at > :now ORDER BY id"),  # noqa: S608
        {"now": now},
    )
    return [Silence(*row) for row in rows]


def silence(
    connection: Connection,
    *,
    cause: str | None,
    tenant: str | None,
    by: str,
    because: str | None,
    ends_at: datetime,
    now: datetime,
) -> int:
    """Tell nobody of problems of this cause and tenant until then. Returns its id."""
    statement = text("""
        INSERT INTO alert_silences (cause, tenant, created_at, created_by, because, ends_at)
        VALUES (:cause, :tenant, :now, :by, :because, :ends_at) RETURNING id
    """)
    bound = {"cause": cause, "tenant": tenant, "by": by, "because": because, "ends_at": ends_at, "now": now}
    return int(connection.execute(statement, bound).scalar_one())


def end_silence(connection: Connection, silence_id: int, now: datetime) -> bool:
    """Returns whether it had not ended."""
    statement = text("UPDATE alert_silences SET ends_at = :now WHERE id = :id AND ends_at > :now")
    return bool(connection.execute(statement, {"id": silence_id, "now": now}).rowcount)


def delete_closed(connection: Connection, before: datetime) -> int:
    """Delete alerts that were over by then, with their messages, digests and silences. Returns how many alerts."""
    bound = {"before": before}
    connection.execute(text("DELETE FROM alert_silences WHERE ends_at < :before"), bound)
    connection.execute(text("DELETE FROM alert_deliveries WHERE kind = 'digest' AND created_at < :before"), bound)
    return connection.execute(text("DELETE FROM alert_problems WHERE closed_at < :before"), bound).rowcount


_RECORDS = "jsonb_populate_recordset(CAST(NULL AS alert_problems), CAST(:rows AS jsonb)) r"
_INSERT = text(
    f"INSERT INTO alert_problems ({', '.join(_STORED)}, part_of) "  # noqa: S608 - constants
    f"SELECT {', '.join(_STORED)}, part_of FROM {_RECORDS} RETURNING id, cause, tenant, subject"
)
_UPDATE = text(
    f"UPDATE alert_problems p SET {', '.join(f'{name} = r.{name}' for name in _MOVING)} "  # noqa: S608 - constants
    f"FROM {_RECORDS} WHERE p.id = r.id"
)
_DELETE = text("DELETE FROM alert_problems WHERE id = ANY(:ids)")


def _problems(rows: Iterable[Row[Any]]) -> list[Problem]:
    found: list[tuple[Problem, int | None]] = []
    for row in rows:
        *values, part_of = tuple(row)
        problem = Problem(*values)
        problem.severity = Severity(problem.severity)
        found.append((problem, part_of))
    by_id = {problem.id: problem for problem, _ in found}
    for problem, part_of in found:
        problem.part_of = None if part_of is None else by_id.get(part_of)
    return [problem for problem, _ in found]
