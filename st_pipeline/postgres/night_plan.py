"""The plan of the nightly full syncs: which tenants, in which order, who has claimed which, how far each is.

Here: the table night_plan. Not here: the order and the times (tenants/), syncing a tenant (sync/).

A claim whose run has died, or that ran out, may be claimed again: nobody is lost. What a tenant has done in the night
is noted entity by entity: whoever claims it next does the rest.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime

from sqlalchemy import Connection, text

from st_pipeline.postgres.switches import OFF

# On top of the run's time: to write the current chunk and to note the end.
TO_END_SECONDS = 60.0

_TENANT = """
    FROM tenants t JOIN servicetitan_credentials c ON c.id = t.credential_id JOIN companies co ON co.id = c.company_id
    LEFT JOIN tenant_schedules s ON s.credential_id = c.id
"""
# A tenant that takes part in the night. One that was never loaded waits for its first load, which has a run of its own.
_TAKES_PART = """
    c.enabled AND co.enabled AND c.last_sync_at IS NOT NULL AND s.paused_at IS NULL AND s.nightly_full IS NOT FALSE
"""
# One that may be synced now: what stands in the way of the others may be over before the night is.
_MAY_BE_SYNCED = f"""
    {_TAKES_PART} AND NOT {OFF}
    AND NOT EXISTS (SELECT FROM api_pauses a WHERE a.environment = c.environment AND a.paused_until > now())
"""
_CLAIMABLE = f"""
    {_TENANT} JOIN night_plan p ON p.credential_id = c.id
    WHERE p.ended_at IS NULL AND (p.claimed_until IS NULL OR p.claimed_until < now() OR NOT session_lives(p.claimed_by))
        AND (p.not_before IS NULL OR p.not_before <= now()) AND {_MAY_BE_SYNCED}
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant to plan. `took_seconds`: its last full sync. `is_left_over`: an earlier night did not finish it."""

    credential_id: int
    partition_key: str
    took_seconds: float | None
    is_left_over: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant's place in a night: of all, the how many-th, and from when it is expected to take how long."""

    credential_id: int
    place: int
    starts_at: datetime
    expected_seconds: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A row of night_plan, for people."""

    partition_key: str
    night: date
    starts_at: datetime
    expected_seconds: float
    took_seconds: float
    done: Sequence[str]
    failed: Sequence[str]
    tries: int
    claimed_until: datetime | None
    not_before: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that is ours to sync. `done`: entities that need not be read again; `tries`: that failed so far."""

    credential_id: int
    partition_key: str
    night: date
    done: frozenset[str]
    tries: int


def candidates(connection: Connection, night: date) -> list[Candidate]:
    """The tenants to plan for a night, by partition key: without those that it has finished, or has begun."""
    rows = connection.execute(
        text(f"""
            SELECT t.credential_id, t.partition_key, coalesce(nullif(p.took_seconds, 0), (
                    SELECT l.duration_seconds FROM servicetitan_sync_logs l WHERE l.credential_id = t.credential_id
                        AND l.mode = 'full' AND l.status = 'completed' AND l.data_type = 'all'
                    ORDER BY l.id DESC LIMIT 1)),
                p.credential_id IS NOT NULL AND p.ended_at IS NULL
            {_TENANT} LEFT JOIN night_plan p ON p.credential_id = t.credential_id
            WHERE {_TAKES_PART} AND (p.night IS NULL OR p.night < :night) ORDER BY t.partition_key
        """),  # noqa: S608 - constants
        {"night": night},
    )
    return [Candidate(*row) for row in rows]


def save(connection: Connection, night: date, places: Sequence[Place]) -> None:
    """Write a night's plan. What an earlier night left over keeps its night and what it has done; its time is new."""
    connection.execute(
        text("""
            INSERT INTO night_plan AS p (credential_id, night, place, starts_at, expected_seconds)
            SELECT u.id, :night, u.place, u.starts_at, u.seconds FROM unnest(CAST(:ids AS bigint[]),
                CAST(:places AS int[]), CAST(:starts AS timestamptz[]), CAST(:seconds AS real[]))
                AS u (id, place, starts_at, seconds)
            ON CONFLICT (credential_id) DO UPDATE SET
                place = excluded.place, starts_at = excluded.starts_at, expected_seconds = excluded.expected_seconds,
                not_before = NULL, tries = 0, failed = '{}', ended_at = NULL,
                night = CASE WHEN p.ended_at IS NULL AND p.done <> '{}' THEN p.night ELSE excluded.night END,
                done = CASE WHEN p.ended_at IS NULL THEN p.done ELSE '{}' END,
                took_seconds = CASE WHEN p.ended_at IS NULL THEN p.took_seconds ELSE 0 END
        """),
        {
            "night": night,
            "ids": [one.credential_id for one in places],
            "places": [one.place for one in places],
            "starts": [one.starts_at for one in places],
            "seconds": [one.expected_seconds for one in places],
        },
    )


def number_waiting(connection: Connection) -> int:
    """How many tenants could be claimed now."""
    return int(connection.execute(text(f"SELECT count(*) {_CLAIMABLE}")).scalar_one())


def claim(connection: Connection, run_id: uuid.UUID, seconds: float) -> Claim | None:
    """Claim the next tenant of the plan for so long. None: there is none left."""
    row = connection.execute(
        text(f"""
            WITH next AS MATERIALIZED (
                SELECT p.credential_id {_CLAIMABLE} ORDER BY p.place LIMIT 1 FOR UPDATE OF p SKIP LOCKED
            )
            UPDATE night_plan p SET claimed_by = :run_id, claimed_until = now() + make_interval(secs => :seconds)
            FROM next JOIN tenants t USING (credential_id) WHERE p.credential_id = next.credential_id
            RETURNING p.credential_id, t.partition_key, p.night, p.done, p.tries
        """),  # noqa: S608 - constants
        {"run_id": run_id, "seconds": seconds + TO_END_SECONDS},
    ).one_or_none()
    return None if row is None else Claim(row[0], row[1], row[2], frozenset(row[3]), row[4])


def entity_done(connection: Connection, credential_id: int, run_id: uuid.UUID, entity: str) -> None:
    """Note that the entity need not be read again in this night."""
    connection.execute(
        text(
            "UPDATE night_plan SET done = done || CAST(:entity AS text) "
            "WHERE credential_id = :id AND claimed_by = :run_id AND NOT :entity = ANY(done)"
        ),
        {"id": credential_id, "run_id": run_id, "entity": entity},
    )


def release(
    connection: Connection,
    credential_id: int,
    run_id: uuid.UUID,
    *,
    took_seconds: float,
    has_ended: bool,
    failed: Sequence[str] = (),
    pause_seconds: float | None = None,
) -> bool:
    """Give back a claim; False: it was not ours. `failed`: counts as a try. `pause_seconds`: until the next."""
    statement = text("""
        UPDATE night_plan SET claimed_by = NULL, claimed_until = NULL, took_seconds = took_seconds + :took,
            failed = :failed, tries = tries + :is_try, not_before = now() + make_interval(secs => :pause),
            ended_at = CASE WHEN :has_ended THEN now() END
        WHERE credential_id = :id AND claimed_by = :run_id
    """)
    bound = {"id": credential_id, "run_id": run_id, "took": took_seconds, "has_ended": has_ended}
    failures = {"failed": list(failed), "is_try": int(bool(failed)), "pause": pause_seconds}
    return connection.execute(statement, bound | failures).rowcount == 1


def load(connection: Connection) -> list[Planned]:
    """The plan, in its order."""
    names = ", ".join(f"p.{field.name}" for field in fields(Planned) if field.name != "partition_key")
    rows = connection.execute(
        text(f"SELECT t.partition_key, {names} FROM night_plan p JOIN tenants t USING (credential_id) ORDER BY p.place")  # noqa: S608
    )
    return [Planned(*row) for row in rows]
