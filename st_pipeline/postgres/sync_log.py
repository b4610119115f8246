"""The sync log: one row for each sync of a tenant, and one for each entity in it.

Here: servicetitan_sync_logs and sync_log_entities. Not here: when a poll that found nothing gets a row (sync/).
"""

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from st_pipeline.protocol import Counts, Mode

SyncType = Literal["manual", "scheduled"]
CHANNEL = "st_pipeline_progress"
_COUNTED = ("processed", "successful", "failed", "created", "updated", "unchanged", "deleted")


@dataclass(slots=True)
class SyncLog:
    """A tenant's row of one sync, written when `ensure` is first called: polls that find nothing leave no row.

    `sync_id` is shared by the tenants of one sync, and is in the Dagster run's tags. `derived`: the streams, which are
    built from entities; they have rows of their own and do not count in the tenant's figures. `asked`: what the sync
    was asked to do, as JSON, so that it can be repeated. `started_at`: where it began before the row is written.
    """

    credential_id: int
    tenant: str
    sync_id: uuid.UUID
    sync_type: SyncType
    mode: Mode
    data_type: str
    dagster_run_id: str | None = None
    derived: Collection[str] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None
    counts: dict[str, Counts] = field(default_factory=dict)
    expected: int | None = None
    started_at: datetime | None = None

    def ensure(self, connection: Connection) -> int:
        """Write the row, with status `running`, unless it exists. Returns its id; the caller commits."""
        if self.id is None:
            self.id = connection.execute(
                text("""
                    INSERT INTO servicetitan_sync_logs
                        (credential_id, sync_id, sync_type, mode, data_type, dagster_run_id, details, started_at)
                    VALUES (:credential_id, :sync_id, :sync_type, :mode, :data_type, :run_id, CAST(:details AS jsonb),
                        coalesce(:started_at, now()))
                    RETURNING id
                """),
                {
                    "credential_id": self.credential_id,
                    "sync_id": self.sync_id,
                    "sync_type": self.sync_type,
                    "mode": self.mode.value,
                    "data_type": self.data_type,
                    "run_id": self.dagster_run_id,
                    "started_at": self.started_at,
                    "details": json.dumps({"asked": self.asked} if self.asked else {}),
                },
            ).scalar_one()
        return self.id

    @contextmanager
    def forgotten_on_rollback(self) -> Iterator[None]:
        """For a block in a transaction: forget a row written in it when the transaction fails."""
        before = self.id
        try:
            yield
        except BaseException:
            self.id = before
            raise

    def total(self) -> Counts:
        """The sum of the figures of all entities that were read."""
        total = Counts()
        for name, counts in self.counts.items():
            if name not in self.derived:
                total.add(counts)
        return total

    def progress(
        self, connection: Connection, entity: str, mode: Mode, counts: Counts, cursor_before: str | None
    ) -> None:
        """Write an entity's figures so far and the tenant's, and tell listeners; part of the chunk's transaction."""
        self.counts[entity] = counts
        log_id = self.ensure(connection)
        columns = ", ".join(f"records_{name}" for name in _COUNTED)
        connection.execute(
            text(f"""
                INSERT INTO sync_log_entities AS e (sync_log_id, entity, mode, cursor_before, pages, {columns})
                VALUES (:log, :entity, :mode, :before, :pages, {", ".join(f":{name}" for name in _COUNTED)})
                ON CONFLICT (sync_log_id, entity) DO UPDATE SET pages = excluded.pages,
                    {", ".join(f"records_{name} = excluded.records_{name}" for name in _COUNTED)}
            """),  # noqa: S608 - constant column names
            {
                "log": log_id,
                "entity": entity,
                "mode": mode.value,
                "before": cursor_before,
                "pages": counts.pages,
                **_figures(counts),
            },
        )
        self._write_totals(connection)
        note = {"sync_log_id": log_id, "tenant": self.tenant, "entity": entity, "processed": counts.processed}
        connection.execute(text("SELECT pg_notify(:channel, :note)"), {"channel": CHANNEL, "note": json.dumps(note)})

    def entity_ended(
        self,
        connection: Connection,
        entity: str,
        *,
        message: str | None = None,
        error_kind: str | None = None,
        cursor_after: str | None = None,
    ) -> None:
        """Close an entity's row; a message means that it failed. `error_kind`: the class of the error."""
        connection.execute(
            text("""
                UPDATE sync_log_entities SET completed_at = clock_timestamp(), message = :message,
                    status = CASE WHEN CAST(:message AS text) IS NULL THEN 'completed' ELSE 'failed' END,
                    cursor_after = :after, error_kind = :kind
                WHERE sync_log_id = :log AND entity = :entity
            """),
            {"log": self.id, "entity": entity, "message": message, "after": cursor_after, "kind": error_kind},
        )

    def ended(self, connection: Connection, message: str | None, details: Mapping[str, Any]) -> None:
        """Close the tenant's row; a message means that the sync failed.

        Entities' rows that are still `running` are closed, too: Postgres may have been away when their failure was to
        be written, and nothing reads the entities of a closed row again. In a sync that did not fail it is the entity
        with which the night's next run continues.
        """
        self.ensure(connection)
        self._write_totals(connection)
        connection.execute(
            text("""
                UPDATE sync_log_entities SET completed_at = clock_timestamp(), status = :status, message = :message
                WHERE sync_log_id = :id AND status = 'running'
            """),
            {
                "id": self.id,
                "status": "completed" if message is None else "failed",
                "message": None if message is None else "the sync ended before it did",
            },
        )
        connection.execute(
            text("""
                UPDATE servicetitan_sync_logs SET completed_at = clock_timestamp(), message = :message,
                    status = CASE WHEN CAST(:message AS text) IS NULL THEN 'completed' ELSE 'failed' END,
                    duration_seconds = extract(epoch FROM clock_timestamp() - started_at),
                    details = details || CAST(:details AS jsonb)
                WHERE id = :id AND status = 'running'
            """),
            {"id": self.id, "message": message, "details": json.dumps(details)},
        )

    def _write_totals(self, connection: Connection) -> None:
        connection.execute(
            text(
                f"UPDATE servicetitan_sync_logs SET {', '.join(f'records_{n} = :{n}' for n in _COUNTED)}, "  # noqa: S608
                "records_expected = :expected WHERE id = :id"
            ),
            {"id": self.id, "expected": self.expected, **_figures(self.total())},
        )


def _figures(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _COUNTED}


def close_abandoned(connection: Connection, credential_id: int | None = None) -> int:
    """Close as failed the rows that a dead process left `running`. Returns how many syncs.

    For one tenant, the caller must hold its lease, so that nobody else can be syncing it. For all (None), tenants whose
    lease is held by a living session are skipped.
    """
    held = "SELECT credential_id FROM tenant_leases WHERE session_lives(holder)"
    where = "credential_id = :id" if credential_id is not None else f"credential_id NOT IN ({held})"
    message = "the process ended before the sync was finished; the next sync continues from the last committed chunk"
    ended = "status = 'failed', completed_at = clock_timestamp(), message = :message"
    parameters = {"id": credential_id, "message": message}
    connection.execute(
        text(f"""
            UPDATE sync_log_entities SET {ended} WHERE status = 'running' AND sync_log_id IN
            (SELECT id FROM servicetitan_sync_logs WHERE status = 'running' AND {where})
        """),  # noqa: S608 - constant text
        parameters,
    )
    return connection.execute(
        text(f"""
            UPDATE servicetitan_sync_logs SET {ended},
                duration_seconds = extract(epoch FROM clock_timestamp() - started_at)
            WHERE status = 'running' AND {where}
        """),  # noqa: S608 - constant text
        parameters,
    ).rowcount
