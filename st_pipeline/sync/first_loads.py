"""Which entities of which tenants were never read to their end, and when that is tried again.

Here: the choice. Not here: starting a run for it (defs/sensors.py), leaving them out of polls (poll_policy.py).

A poll has many tenants and does no first loads, so whatever it leaves out must be started by itself: a new tenant, an
entity that came with a new version, a first load that failed or whose process died.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres.switches import ENTITIES_OFF
from st_pipeline.streams import STREAMS
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.tenants.store import Tenant

# Between two tries, doubling: an outage ends in minutes, a missing scope may take a company weeks.
FIRST_PAUSE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """What is to be loaded, with the streams that are built from it; `failures`: full syncs that failed so far."""

    tenant: Tenant
    names: tuple[str, ...]
    failures: int

    @property
    def is_everything(self) -> bool:
        """Has nothing of the tenant been loaded?"""
        return len(self.names) == len(SYNCED)


def due_first_loads(connection: Connection, tenants: Collection[Tenant], now: datetime) -> list[FirstLoad]:
    """What is to be loaded now, of these tenants, in their order."""
    missing: dict[int, list[Any]] = {}
    for row in _never_loaded(connection, [tenant.credential_id for tenant in tenants]):
        missing.setdefault(row.credential_id, []).append(row)
    failed = _failed_full_syncs(connection, list(missing))
    found = []
    for tenant in tenants:
        failures, last_failed_at = failed.get(tenant.credential_id, (0, None))
        entities = {
            row.entity for row in missing.get(tenant.credential_id, []) if _is_due(row, failures, last_failed_at, now)
        }
        if entities:
            streams = {name for name, stream in STREAMS.items() if entities.intersection(stream.after)}
            names = tuple(name for name in SYNCED if name in entities | streams)
            found.append(FirstLoad(tenant, names, failures))
    return found


def _is_due(row: Any, failures: int, last_failed_at: datetime | None, now: datetime) -> bool:
    tried_at, tries = row.tried_at, row.tries
    if tried_at is None:  # a sync that failed before it came to this entity counts as one try
        tried_at, tries = last_failed_at, min(failures, 1)
    if tried_at is None or (row.last_tested_at is not None and row.last_tested_at > tried_at):
        return True
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** max(tries - 1, 0), LONGEST_PAUSE_SECONDS)
    return bool(now - tried_at >= timedelta(seconds=pause))


def _never_loaded(connection: Connection, credential_ids: list[int]) -> list[Any]:
    """`tries`: first loads of the entity that failed."""
    return list(
        connection.execute(
            text(f"""
                SELECT k.id AS credential_id, e.entity, k.last_tested_at,
                       greatest(c.full_started_at, c.last_failed_at) AS tried_at,
                       (SELECT count(*) FROM servicetitan_sync_logs l JOIN sync_log_entities t ON t.sync_log_id = l.id
                        WHERE l.credential_id = k.id AND t.entity = e.entity AND t.mode = 'full'
                              AND t.status = 'failed') AS tries
                FROM servicetitan_credentials k CROSS JOIN unnest(CAST(:entities AS text[])) AS e (entity)
                LEFT JOIN sync_cursors c ON c.credential_id = k.id AND c.entity = e.entity
                LEFT JOIN tenant_schedules s ON s.credential_id = k.id
                WHERE k.id = ANY(:ids) AND c.last_full_at IS NULL AND e.entity <> ALL({ENTITIES_OFF})
            """),  # noqa: S608 - constants
            {"ids": credential_ids, "entities": list(ENTITIES)},
        )
    )


def _failed_full_syncs(connection: Connection, credential_ids: list[int]) -> dict[int, tuple[int, datetime | None]]:
    """How many of a tenant's failed, and when the last one did."""
    if not credential_ids:
        return {}
    rows = connection.execute(
        text("""
            SELECT credential_id, count(*) AS failures, max(completed_at) AS last FROM servicetitan_sync_logs
            WHERE credential_id = ANY(:ids) AND mode = 'full' AND status = 'failed' GROUP BY credential_id
        """),
        {"ids": credential_ids},
    )
    return {row.credential_id: (row.failures, row.last) for row in rows}
