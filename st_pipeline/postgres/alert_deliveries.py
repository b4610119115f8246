"""Messages to send, and how each channel does.

Here: the tables alert_deliveries, alert_channels and alert_ticks. Not here: what a message says, sending it, and when
quiet hours end (alerts/).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine, text

from st_pipeline.postgres.database import SERVER_KEEPALIVES, database_errors

LOCK = 7_305_204  # an arbitrary number: one process of a deployment sends at a time
FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 900.0

Kind = Literal["opened", "worsened", "closed", "digest"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a channel that waits to be sent."""

    id: int
    channel: str
    kind: Kind
    problem_id: int | None
    created_at: datetime
    tries: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message to put into the queue. `occasion`: what it tells; each channel is told once."""

    channel: str
    occasion: str
    kind: Kind
    problem_id: int | None
    not_before: datetime


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A row of alert_channels."""

    name: str
    failures: int
    failing_since: datetime | None
    next_try_at: datetime | None
    error: str | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tick:
    """The row of alert_ticks."""

    ticked_at: datetime | None
    digest_on: date | None
    heartbeat_at: datetime | None
    heartbeat_error: str | None


@contextmanager
def only_one(engine: Engine) -> Iterator[bool]:
    """Whether no other process looks for problems and sends messages now; it stays so until the block ends."""
    with database_errors("take the turn to send alerts"), engine.connect() as connection:
        with connection.begin():
            taken = connection.execute(text(f"SELECT pg_try_advisory_lock({LOCK}), {SERVER_KEEPALIVES}")).one()[0]
        try:
            yield bool(taken)
        finally:
            if taken:
                with connection.begin():
                    connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))


def enqueue(connection: Connection, messages: Sequence[Message], now: datetime) -> None:
    """Put messages into the queue; a channel that has been told of an occasion is not told again."""
    if not messages:
        return
    names = Message.__slots__
    rows = [{name: getattr(one, name) for name in names} for one in messages]
    connection.execute(
        text(f"""
            INSERT INTO alert_deliveries ({", ".join(names)}, created_at)
            SELECT {", ".join(names)}, :now
            FROM jsonb_populate_recordset(CAST(NULL AS alert_deliveries), CAST(:rows AS jsonb)) r
            ON CONFLICT DO NOTHING
        """),  # noqa: S608 - constants
        {"rows": json.dumps(rows, default=datetime.isoformat), "now": now},
    )


def withdraw_untold(connection: Connection, problem_ids: Sequence[int], now: datetime) -> None:
    """Withdraw what waits to be said about these: they are over."""
    connection.execute(
        text("""
            UPDATE alert_deliveries SET withdrawn_at = :now
            WHERE problem_id = ANY(:ids) AND delivered_at IS NULL AND withdrawn_at IS NULL
        """),
        {"ids": list(problem_ids), "now": now},
    )


def told(connection: Connection, problem_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Which channels have been told of which of these problems, or may have been: one that was tried may have."""
    query = text("SELECT DISTINCT problem_id, channel FROM alert_deliveries WHERE problem_id = ANY(:ids) AND tries > 0")
    return [(row.problem_id, row.channel) for row in connection.execute(query, {"ids": list(problem_ids)})]


def withdraw_digests(connection: Connection, now: datetime) -> None:
    """Withdraw digests that were not delivered: a new one comes."""
    statement = text("""
        UPDATE alert_deliveries SET withdrawn_at = :now
        WHERE kind = 'digest' AND delivered_at IS NULL AND withdrawn_at IS NULL
    """)
    connection.execute(statement, {"now": now})


def withdraw_of_others(connection: Connection, channels: Sequence[str], now: datetime) -> None:
    """Withdraw what waits for channels that the settings no longer name, and forget how those did."""
    connection.execute(
        text("""
            WITH gone AS (DELETE FROM alert_channels WHERE name <> ALL(:channels))
            UPDATE alert_deliveries SET withdrawn_at = :now
            WHERE delivered_at IS NULL AND withdrawn_at IS NULL AND channel <> ALL(:channels)
        """),
        {"channels": list(channels), "now": now},
    )


def waiting(connection: Connection, now: datetime) -> list[Delivery]:
    """What may be sent now, in order; nothing of a channel that pauses after a failure."""
    rows = connection.execute(
        text("""
            SELECT d.id, d.channel, d.kind, d.problem_id, d.created_at, d.tries FROM alert_deliveries d
            LEFT JOIN alert_channels c ON c.name = d.channel
            WHERE d.delivered_at IS NULL AND d.withdrawn_at IS NULL AND d.not_before <= :now
                AND (c.next_try_at IS NULL OR c.next_try_at <= :now)
            ORDER BY d.id
        """),
        {"now": now},
    )
    return [Delivery(*row) for row in rows]


def begin_try(connection: Connection, delivery_id: int) -> None:
    """Count a try before it begins."""
    connection.execute(text("UPDATE alert_deliveries SET tries = tries + 1 WHERE id = :id"), {"id": delivery_id})


def delivered(connection: Connection, delivery: Delivery, now: datetime) -> None:
    """The channel took it, and so it works."""
    connection.execute(
        text("UPDATE alert_deliveries SET delivered_at = :now, error = NULL WHERE id = :id"),
        {"id": delivery.id, "now": now},
    )
    channel_works(connection, delivery.channel, now)


def channel_works(connection: Connection, channel: str, now: datetime) -> None:
    """It took a message."""
    connection.execute(
        text("""
            INSERT INTO alert_channels (name, delivered_at) VALUES (:name, :now)
            ON CONFLICT (name) DO UPDATE SET failures = 0, failing_since = NULL, next_try_at = NULL, error = NULL,
                delivered_at = :now
        """),
        {"name": channel, "now": now},
    )


def failed(connection: Connection, delivery: Delivery, error: str, now: datetime) -> None:
    """The channel did not take it: it pauses, twice as long each time."""
    connection.execute(
        text("UPDATE alert_deliveries SET error = :error WHERE id = :id"), {"id": delivery.id, "error": error}
    )
    failures = connection.execute(
        text("""
            INSERT INTO alert_channels AS c (name, failures, failing_since, error) VALUES (:name, 1, :now, :error)
            ON CONFLICT (name) DO UPDATE SET failures = c.failures + 1, error = :error,
                failing_since = coalesce(c.failing_since, :now)
            RETURNING failures
        """),
        {"name": delivery.channel, "now": now, "error": error},
    ).scalar_one()
    pause_seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10), LONGEST_PAUSE_SECONDS)
    connection.execute(
        text("UPDATE alert_channels SET next_try_at = :at WHERE name = :name"),
        {"name": delivery.channel, "at": now + timedelta(seconds=pause_seconds)},
    )


def channels(connection: Connection) -> dict[str, ChannelState]:
    """How those do that were used, by name."""
    rows = connection.execute(text(f"SELECT {', '.join(ChannelState.__slots__)} FROM alert_channels ORDER BY name"))  # noqa: S608
    return {row.name: ChannelState(*row) for row in rows}


def number_waiting(connection: Connection) -> int:
    """How many messages wait, also those of quiet hours."""
    query = text("SELECT count(*) FROM alert_deliveries WHERE delivered_at IS NULL AND withdrawn_at IS NULL")
    return int(connection.execute(query).scalar_one())


def of_problem(connection: Connection, problem_id: int) -> list[dict[str, object]]:
    """Who was told of a problem, or will be: for people."""
    query = text("""
        SELECT channel, kind, created_at, not_before, tries, delivered_at, withdrawn_at, error FROM alert_deliveries
        WHERE problem_id = :id ORDER BY id
    """)
    return [dict(row) for row in connection.execute(query, {"id": problem_id}).mappings()]


def tick(connection: Connection) -> Tick:
    """When what was done last."""
    return Tick(*connection.execute(text(f"SELECT {', '.join(Tick.__slots__)} FROM alert_ticks")).one())  # noqa: S608


def note_tick(connection: Connection, now: datetime, digest_on: date | None = None) -> None:
    """Problems were looked for. `digest_on`: the day whose digest is in the queue."""
    statement = text("UPDATE alert_ticks SET ticked_at = :now, digest_on = coalesce(:day, digest_on)")
    connection.execute(statement, {"now": now, "day": digest_on})


def note_heartbeat(connection: Connection, now: datetime, error: str | None) -> None:
    """The heartbeat's address was called."""
    statement = text("""
        UPDATE alert_ticks SET heartbeat_error = :error,
            heartbeat_at = CASE WHEN CAST(:error AS text) IS NULL THEN :now ELSE heartbeat_at END
    """)
    connection.execute(statement, {"now": now, "error": error})
