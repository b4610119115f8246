"""A tenant's own schedule, where it differs from the settings, and when each tenant was last polled.

Here: the table tenant_schedules, and the times of the last polls. Not here: which tenants are due (tenants/).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class TenantSchedule:
    """One row; a tenant without one has the defaults. None for `nightly_full`: yes.

    Polled every `poll_minutes` or by `poll_cron`; at every tick without either. Not polled on `skip_days` (1: Monday),
    between `skip_from` and `skip_until`, and on `skip_holidays` (US, US-TX). `entities_off`: left out by schedules.
    """

    paused_at: datetime | None = None
    paused_because: str | None = None
    poll_minutes: int | None = None
    nightly_full: bool | None = None
    poll_cron: str | None = None
    skip_days: Sequence[int] | None = None
    skip_from: time | None = None
    skip_until: time | None = None
    skip_holidays: str | None = None
    entities_off: Sequence[str] | None = None

    @property
    def is_polled_every_tick(self) -> bool:
        """Is it polled whenever the others are?"""
        skips = (self.skip_days, self.skip_from, self.skip_holidays)
        return self.poll_minutes is None and self.poll_cron is None and not any(skips)

    @property
    def is_read_nightly(self) -> bool:
        """Does the tenant take part in the nightly full sync?"""
        return self.paused_at is None and self.nightly_full is not False


DEFAULT = TenantSchedule()
_FIELDS = ", ".join(TenantSchedule.__slots__)


def load_all(connection: Connection, credential_ids: Collection[int] | None = None) -> dict[int, TenantSchedule]:
    """The own schedules of these tenants (None: of all), by credential."""
    query = f"SELECT credential_id, {_FIELDS} FROM tenant_schedules"  # noqa: S608 - names of ours
    if credential_ids is None:
        rows = connection.execute(text(query))
    else:
        rows = connection.execute(text(f"{query} WHERE credential_id = ANY(:ids)"), {"ids": list(credential_ids)})
    return {credential_id: TenantSchedule(*row) for credential_id, *row in rows}


def save(connection: Connection, credential_id: int, **changes: object) -> None:
    """Set the named fields; `"now"` stands for the time on Postgres's clock."""
    unknown = set(changes) - set(TenantSchedule.__slots__)
    if unknown:
        raise TypeError(f"tenant_schedules has no {', '.join(sorted(unknown))}")
    values = {name: "now()" if value == "now" else f":{name}" for name, value in changes.items()}
    connection.execute(
        text(
            f"INSERT INTO tenant_schedules (credential_id, {', '.join(values)}) "  # noqa: S608 - fields of a class
            f"VALUES (:credential_id, {', '.join(values.values())}) ON CONFLICT (credential_id) "
            f"DO UPDATE SET updated_at = now(), {', '.join(f'{name} = excluded.{name}' for name in values)}"
        ),
        {**changes, "credential_id": credential_id},
    )


def last_polls(connection: Connection, entities: Collection[str]) -> dict[int, datetime]:
    """When the last poll of these entities was, successful or not, by credential: the longest ago counts.

    Without entities that were never read to the end: they wait for their first load, and no poll reads them.
    """
    rows = connection.execute(
        text("""
            SELECT credential_id, min(greatest(last_polled_at, last_failed_at)) AS polled FROM sync_cursors
            WHERE entity = ANY(:entities) AND last_full_at IS NOT NULL GROUP BY credential_id
        """),
        {"entities": list(entities)},
    )
    return {row.credential_id: row.polled for row in rows}
