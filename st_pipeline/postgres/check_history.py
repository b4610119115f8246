"""The changes of a tenant's verdicts.

Here: reading table check_history. Not here: writing it, which happens with the verdict (check_verdicts).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from st_pipeline.postgres.check_verdicts import Severity, Status


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the history. `before`: the status that ended; None: it was the first verdict."""

    at: datetime
    asset: str
    before: Status | None
    status: Status
    severity: Severity
    message: str


def history(connection: Connection, credential_id: int, check: str, limit: int) -> list[Change]:
    """The changes of a tenant's check, the latest first."""
    query = text("""
        SELECT at, asset, status_before, status, severity, message FROM check_history
        WHERE credential_id = :id AND check_name = :check ORDER BY at DESC, id DESC LIMIT :limit
    """)
    return [
        Change(
            row.at,
            row.asset,
            None if row.status_before is None else Status(row.status_before),
            Status(row.status),
            Severity(row.severity),
            row.message,
        )
        for row in connection.execute(query, {"id": credential_id, "check": check, "limit": limit})
    ]
