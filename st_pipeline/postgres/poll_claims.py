"""Which tenants are due for a poll, and who has claimed them.

Here: the table tenant_polls. Not here: when a tenant is due (tenants/schedule.py), polling it (sync/).

A claim moves `claimed_until` and leaves `due_at`; only a poll that has ended moves `due_at`. So a worker that dies
loses nobody: its claims run out, and its tenants are still due.
"""

import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from st_pipeline.postgres.switches import ENTITIES_OFF, OFF
from st_pipeline.postgres.tenant_schedules import TenantSchedule

# On top of the time that a poll may take: to write the current chunk and to note the end.
TO_END_SECONDS = 60.0

# A tenant that schedules may poll, of credential `c` and company `co`. `:now` null: Postgres's clock.
_NOW = "coalesce(CAST(:now AS timestamptz), now())"
_MAY_BE_POLLED = f"""
    c.enabled AND co.enabled AND c.last_sync_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM tenant_schedules s WHERE s.credential_id = c.id AND s.paused_at IS NOT NULL)
    AND (c.connection_status <> 'error' OR c.retry_at <= {_NOW})
    AND (CAST(:environment AS text) IS NULL OR c.environment = :environment)
    AND NOT {OFF}
    AND NOT EXISTS (SELECT FROM api_pauses a WHERE a.environment = c.environment AND a.paused_until > {_NOW})
"""  # noqa: S608 - constants
_POLLED = """
    FROM tenant_polls p JOIN servicetitan_credentials c ON c.id = p.credential_id
    JOIN companies co ON co.id = c.company_id
"""
_DUE = f"""
    p.due_at <= coalesce(CAST(:due_before AS timestamptz), {_NOW})
    AND (p.claimed_until IS NULL OR p.claimed_until < {_NOW})
"""
# Read in the order of their turns, so that the claim asks of the first few only whether they may be polled. Without the
# OFFSET Postgres asks it of all that are due and sorts them then: 206 ms instead of 12 for 10,000 tenants.
_IN_TURN = f"""
    (SELECT p.credential_id, p.due_at, p.polled_at FROM tenant_polls p WHERE {_DUE}
     ORDER BY p.due_at, p.polled_at NULLS FIRST, p.credential_id OFFSET 0) AS turn
"""  # noqa: S608 - constants
_SCHEDULE = tuple(field.name for field in fields(TenantSchedule))


@dataclass(frozen=True, slots=True)
class Poll:
    """A row of tenant_polls."""

    due_at: datetime
    claimed_until: datetime | None = None
    polled_at: datetime | None = None
    overtimes: int = 0

    def is_claimed(self, now: datetime) -> bool:
        """Is somebody polling it?"""
        return self.claimed_until is not None and self.claimed_until >= now


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that is ours to poll. `claimed_at`: on Postgres's clock, before anything was asked.

    `unanswered`: the entities and lists for which `polled_at` and `hourly_at` do not speak. `entities_off`: what a poll
    leaves out, by the tenant's schedule or by a switch.
    """

    credential_id: int
    partition_key: str
    environment: str
    claimed_at: datetime
    due_at: datetime
    polled_at: datetime | None
    overtimes: int
    tokens_saved_at: datetime | None
    hourly_at: datetime | None
    unanswered: frozenset[str]
    entities_off: frozenset[str]
    schedule: TenantSchedule


@dataclass(frozen=True, slots=True)
class PollEnd:
    """How a poll ended. None leaves what is stored; `overtimes` is always stored.

    `unanswered`: the entities and lists for which `polled_at` and `hourly_at`, as they will be stored, do not speak.
    """

    credential_id: int
    next_due_at: datetime
    polled_at: datetime | None = None
    overtimes: int = 0
    tokens_saved_at: datetime | None = None
    hourly_at: datetime | None = None
    unanswered: frozenset[str] | None = None


def include_loaded(connection: Connection) -> int:
    """Make tenants that have been loaded since due for their first poll. Returns how many those are."""
    statement = text("""
        INSERT INTO tenant_polls (credential_id, due_at)
        SELECT c.id, now() FROM servicetitan_credentials c
        WHERE c.last_sync_at IS NOT NULL AND NOT EXISTS (SELECT FROM tenant_polls WHERE credential_id = c.id)
        ON CONFLICT DO NOTHING
    """)
    return connection.execute(statement).rowcount


def number_due(connection: Connection, *, now: datetime | None = None) -> int:
    """How many tenants could be claimed."""
    query = text(f"SELECT count(*) {_POLLED} WHERE {_DUE} AND {_MAY_BE_POLLED}")
    bound = {"now": now, "environment": None, "due_before": None}
    return int(connection.execute(query, bound).scalar_one())


def late(connection: Connection, late_by: timedelta, *, now: datetime | None = None) -> Sequence[Row[Any]]:
    """Tenants that could have been claimed for longer than this: partition key, environment, since when, last poll."""
    query = text(f"""
        SELECT t.partition_key, t.environment, p.due_at, p.polled_at {_POLLED}
        JOIN tenants t ON t.credential_id = p.credential_id WHERE {_DUE} AND {_MAY_BE_POLLED} ORDER BY p.due_at
    """)
    due_before = (now or datetime.now(UTC)) - late_by
    return connection.execute(query, {"now": now, "environment": None, "due_before": due_before}).all()


def seconds_until_due(connection: Connection) -> float | None:
    """Until the next tenant can be claimed, 0 when one can be now. None: there is no tenant to poll."""
    next_at = "min(greatest(p.due_at, p.claimed_until))"
    query = text(f"SELECT extract(epoch FROM {next_at} - now()) {_POLLED} WHERE {_MAY_BE_POLLED}")  # noqa: S608
    seconds = connection.execute(query, {"now": None, "environment": None}).scalar_one()
    return None if seconds is None else max(0.0, float(seconds))


def claim(
    connection: Connection,
    *,
    run_id: uuid.UUID,
    limit: int,
    budget_seconds: float,
    environment: str | None = None,
    due_before: datetime | None = None,
    now: datetime | None = None,
) -> list[Claim]:
    """Claim tenants that are due, the longest waiting first.

    `environment`: only of this one. `due_before`: only who was due by then. `now`: another time than Postgres's.
    """
    rows = connection.execute(
        text(f"""
            WITH due AS MATERIALIZED (
                SELECT p.credential_id {_POLLED} JOIN {_IN_TURN} ON turn.credential_id = p.credential_id
                WHERE {_DUE} AND {_MAY_BE_POLLED}
                ORDER BY turn.due_at, turn.polled_at NULLS FIRST, turn.credential_id
                LIMIT :limit FOR UPDATE OF p SKIP LOCKED
            )
            UPDATE tenant_polls p SET claimed_by = :run_id, claimed_until = {_NOW} + make_interval(secs => :seconds)
            FROM due JOIN tenants t USING (credential_id) LEFT JOIN tenant_schedules s USING (credential_id)
            WHERE p.credential_id = due.credential_id
            RETURNING p.credential_id, t.partition_key, t.environment, {_NOW}, p.due_at, p.polled_at, p.overtimes,
                p.tokens_saved_at, p.hourly_at, p.unanswered, {ENTITIES_OFF},
                {", ".join(f"s.{name}" for name in _SCHEDULE)}
        """),  # noqa: S608 - constants
        {
            "run_id": run_id,
            "limit": limit,
            "seconds": budget_seconds + TO_END_SECONDS,
            "environment": environment,
            "due_before": due_before,
            "now": now,
        },
    )
    width = len(_SCHEDULE)
    claims = [
        Claim(*row[:-width][:-2], *map(frozenset, row[:-width][-2:]), TenantSchedule(*row[-width:]))  # type: ignore[call-arg]
        for row in map(tuple, rows)
    ]
    return sorted(claims, key=lambda one: (one.due_at, one.polled_at is not None, one.polled_at, one.credential_id))


def ended(connection: Connection, run_id: uuid.UUID, ends: Sequence[PollEnd]) -> int:
    """Note that polls have ended, and release their claims. Returns how many of them were still ours."""
    if not ends:
        return 0
    statement = text("""
        UPDATE tenant_polls p SET due_at = e.next_due_at, claimed_until = NULL, claimed_by = NULL,
            polled_at = coalesce(e.polled_at, p.polled_at), overtimes = e.overtimes,
            tokens_saved_at = coalesce(e.tokens_saved_at, p.tokens_saved_at),
            hourly_at = coalesce(e.hourly_at, p.hourly_at),
            unanswered = coalesce(string_to_array(e.unanswered, ','), p.unanswered)
        FROM unnest(CAST(:ids AS bigint[]), CAST(:due AS timestamptz[]), CAST(:polled AS timestamptz[]),
                    CAST(:overtimes AS smallint[]), CAST(:saved AS timestamptz[]), CAST(:hourly AS timestamptz[]),
                    CAST(:unanswered AS text[]))
            AS e (credential_id, next_due_at, polled_at, overtimes, tokens_saved_at, hourly_at, unanswered)
        WHERE p.credential_id = e.credential_id AND p.claimed_by = :run_id
    """)
    names = ("ids", "due", "polled", "overtimes", "saved", "hourly", "unanswered")
    rows = [(*astuple(end)[:-1], None if end.unanswered is None else ",".join(sorted(end.unanswered))) for end in ends]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return connection.execute(statement, {**columns, "run_id": run_id}).rowcount


def extend(connection: Connection, run_id: uuid.UUID, seconds: float) -> None:
    """Keep what we have claimed for so long from now."""
    statement = text(
        "UPDATE tenant_polls SET claimed_until = now() + make_interval(secs => :seconds) WHERE claimed_by = :run_id"
    )
    connection.execute(statement, {"run_id": run_id, "seconds": seconds})


def release(connection: Connection, run_id: uuid.UUID) -> int:
    """Give back what we have claimed and not polled: it is due as before. Returns how many tenants that is."""
    statement = text("UPDATE tenant_polls SET claimed_until = NULL, claimed_by = NULL WHERE claimed_by = :run_id")
    return connection.execute(statement, {"run_id": run_id}).rowcount


def load_all(connection: Connection) -> dict[int, Poll]:
    """By credential; without tenants that were never loaded."""
    names = tuple(field.name for field in fields(Poll))
    rows = connection.execute(text(f"SELECT credential_id, {', '.join(names)} FROM tenant_polls"))  # noqa: S608
    return {credential_id: Poll(*rest) for credential_id, *rest in rows}


def set_due(connection: Connection, credential_id: int, due_at: datetime) -> None:
    """Its schedule was changed. A tenant that was never loaded has no poll to move."""
    statement = text("""
        INSERT INTO tenant_polls (credential_id, due_at)
        SELECT id, :due_at FROM servicetitan_credentials WHERE id = :id AND last_sync_at IS NOT NULL
        ON CONFLICT (credential_id) DO UPDATE SET due_at = excluded.due_at, overtimes = 0
    """)
    connection.execute(statement, {"id": credential_id, "due_at": due_at})
