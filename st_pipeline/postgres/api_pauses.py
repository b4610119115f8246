"""APIs that are paused for all of their tenants, as several of them got no usable answer.

Here: the table api_pauses. Not here: what counts as no answer (sync/api_health.py), leaving their tenants out of claims
(poll_claims.py).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 600.0
# A pause that ended so long ago says nothing about today's trouble.
FORGOTTEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class ApiPause:
    """One row. `pauses`: how many in a row."""

    environment: str
    paused_until: datetime
    pauses: int
    reason: str

    def __str__(self) -> str:
        """For people."""
        return f"polls of {self.environment} are paused until {self.paused_until:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"


def load_all(connection: Connection) -> dict[str, ApiPause]:
    """By environment, also pauses that have ended while nobody has got an answer since."""
    rows = connection.execute(text("SELECT environment, paused_until, pauses, reason FROM api_pauses"))
    return {row.environment: ApiPause(*row) for row in rows}


def current(connection: Connection) -> list[ApiPause]:
    """Those that have not ended."""
    query = text("SELECT environment, paused_until, pauses, reason FROM api_pauses WHERE paused_until > now()")
    return [ApiPause(*row) for row in connection.execute(query)]


def begin(connection: Connection, environment: str, reason: str) -> ApiPause:
    """Pause the environment: for a minute, then for twice as long each time. One that is paused already stays so."""
    row = connection.execute(
        text("""
            INSERT INTO api_pauses AS p (environment, paused_until, pauses, reason)
            VALUES (:environment, now() + make_interval(secs => :first), 1, :reason)
            ON CONFLICT (environment) DO UPDATE SET
                (pauses, paused_until, reason) = (
                    SELECT n, now() + make_interval(secs => least(:first * 2 ^ least(n - 1, 20), :longest)),
                        excluded.reason
                    FROM (SELECT CASE WHEN p.paused_until < now() - make_interval(secs => :forgotten) THEN 1
                                      ELSE p.pauses + 1 END AS n) c)
                WHERE p.paused_until <= now()
            RETURNING environment, paused_until, pauses, reason
        """),
        {
            "environment": environment,
            "reason": reason,
            "first": FIRST_SECONDS,
            "longest": LONGEST_SECONDS,
            "forgotten": FORGOTTEN_SECONDS,
        },
    ).one_or_none()
    return load_all(connection)[environment] if row is None else ApiPause(*row)


def end(connection: Connection, environment: str) -> None:
    """Somebody got an answer."""
    connection.execute(text("DELETE FROM api_pauses WHERE environment = :environment"), {"environment": environment})
