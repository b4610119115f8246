"""The last day on which a credential's secret works, where somebody stated it, and the warnings before it.

Here: finding secrets that end soon, and one log line a day. Not here: stating the date (credential_updates). The date
is a reminder and refuses nothing, as only ServiceTitan knows whether the secret still works.
"""

from dataclasses import dataclass
from datetime import date

import structlog
from sqlalchemy import Connection, text

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Expiry:
    """An enabled tenant whose secret ends. `days`: from today on Postgres's clock; negative when it has ended."""

    tenant: str
    expires_on: date
    days: int

    @property
    def message(self) -> str:
        """What ends when, and what to do."""
        match self.days:
            case 0:
                when = "ends today"
            case 1:
                when = "ends tomorrow"
            case days if days < 0:
                when = f"ended {-days} day{'s' if days < -1 else ''} ago"
            case days:
                when = f"ends in {days} days"
        return (
            f"{self.tenant}: its client secret {when}, on {self.expires_on}: make a new one in ServiceTitan, then run "
            f"`st-pipeline credentials rotate-secret {self.tenant}`"
        )


def expiring(connection: Connection, within_days: int) -> list[Expiry]:
    """The enabled tenants whose secrets end within so many days or have ended, the earliest first."""
    sql = text("""
        SELECT t.partition_key, c.expires_on, c.expires_on - current_date
        FROM tenants t JOIN servicetitan_credentials c ON c.id = t.credential_id
        WHERE t.enabled AND c.expires_on <= current_date + CAST(:days AS integer)
        ORDER BY c.expires_on, t.partition_key
    """)
    return [Expiry(*row) for row in connection.execute(sql, {"days": within_days})]


def warn_once_a_day(connection: Connection, credential_id: int, tenant: str, within_days: int) -> None:
    """Log a warning when the secret in use ends within so many days, unless one was logged in the last day."""
    sql = text("""
        UPDATE servicetitan_credentials SET expiry_warned_at = now()
        WHERE id = :id AND expires_on <= current_date + CAST(:days AS integer)
              AND (expiry_warned_at IS NULL OR expiry_warned_at <= now() - interval '1 day')
        RETURNING expires_on, expires_on - current_date
    """)
    row = connection.execute(sql, {"id": credential_id, "days": within_days}).one_or_none()
    if row is not None:
        expiry = Expiry(tenant, *row)
        log.warning(
            "credential expires", tenant=tenant, expires_on=str(expiry.expires_on), days=expiry.days,
            fix=f"st-pipeline credentials rotate-secret {tenant}",
        )  # fmt: skip
