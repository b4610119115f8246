"""What failed and has not succeeded since: by tenant, which entities, and how they were to be synced.

Here: choosing what to retry. Not here: retrying it (runs/).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline import errors
from st_pipeline.errors import (
    AuthError,
    ConfigurationError,
    DatabaseRefused,
    DataMappingError,
    DeletionRefused,
    PermanentApiError,
    PipelineError,
)
from st_pipeline.postgres import cursors, leases, switches, tenant_schedules
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.tenant_schedules import DEFAULT
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.transport import BodyTooLarge
from st_pipeline.streams import STREAMS
from st_pipeline.sync.data_types import SYNCED

_KINDS = [
    kind
    for kind in (*vars(errors).values(), BodyTooLarge)
    if isinstance(kind, type) and issubclass(kind, PipelineError)
]
_LASTING = (ConfigurationError, PermanentApiError, DataMappingError, DeletionRefused, DatabaseRefused)
# Error classes, by the names in the sync log: errors that somebody must fix at ServiceTitan, and errors that repeat
# until somebody changes a setting, a table, the data or our code.
AUTH_ERRORS = {kind.__name__ for kind in _KINDS if issubclass(kind, AuthError)}
PERMANENT_ERRORS = {kind.__name__ for kind in _KINDS if issubclass(kind, _LASTING) and not kind.retry_helps}


@dataclass(slots=True)
class Retry:
    """One sync to retry. `options`: fields of the launchpad's SyncOptions. `why_not`: why it is skipped, if it is."""

    tenant: str
    credential_id: int
    mode: Mode
    options: dict[str, Any]
    entities: tuple[str, ...]
    failed_syncs: list[int]
    messages: list[str]
    why_not: str | None = None
    is_permanent: bool = False


@dataclass(slots=True)
class _Asked:
    """Syncs of one tenant that were asked to do the same. `failures`: by entity, the newest sync last."""

    tenant: str
    credential_id: int
    mode: Mode
    options: dict[str, Any]
    failures: dict[str, list[Any]] = field(default_factory=dict)

    def caused_by(self, kinds: Collection[str]) -> set[str]:
        """The entities whose last error is of these kinds, and what depends on them."""
        found = {name for name in self.failures if self._kind(name) in kinds}
        for name in SYNCED:
            if name in self.failures and found.intersection(SYNCED[name].after):
                found.add(name)
        return found

    def retry(self, names: set[str], why_not: str | None) -> Retry:
        """A retry of these entities."""
        logs = {log.id: log.message or "" for name in names for log in self.failures[name]}
        entities = tuple(name for name in SYNCED if name in names)
        failed_syncs = sorted(logs)
        messages = [logs[log_id] for log_id in failed_syncs]
        return Retry(
            self.tenant, self.credential_id, self.mode, self.options, entities, failed_syncs, messages, why_not
        )

    def skipped(self, names: set[str]) -> Retry:
        """These entities, whose error would repeat."""
        kinds = ", ".join(sorted({self._kind(name) for name in names} & PERMANENT_ERRORS))
        why = f"fails again until the cause of {kinds} is fixed; then use --include-permanent"
        return replace(self.retry(names, why), is_permanent=True)

    def _kind(self, name: str) -> str:
        """The class of the entity's last error, empty if unknown."""
        return ((self.failures[name][-1].entities or {}).get(name) or {}).get("kind") or ""


def failed_since(
    connection: Connection, max_age: timedelta, *, exclude_auth_errors: bool = False, include_permanent: bool = False
) -> list[Retry]:
    """What to retry, the tenant that failed first at the top.

    Syncs of one tenant that were asked to do the same become one; what would fail again is a retry of its own.
    """
    held, schedules = leases.held_tenants(connection), tenant_schedules.load_all(connection)
    off = switches.load(connection)
    why_not: dict[int, str | None] = {}
    found: dict[tuple[int, str], _Asked] = {}
    logs = _failed_logs(connection, max_age)
    known = cursors.load_known(connection, {log.credential_id for log in logs})
    for log in logs:
        paused = schedules.get(log.credential_id, DEFAULT).paused_at is not None
        busy = held.get(log.credential_id)
        why_not[log.credential_id] = off.why_off(log.company, log.environment) or (
            "disabled" if not log.enabled else "paused" if paused else f"being synced now, {busy}" if busy else None
        )
        options = {name: value for name, value in log.asked.items() if name != "entities"}
        if log.mode != Mode.INCREMENTAL:
            options["mode"] = log.mode
        asked = _Asked(log.partition_key, log.credential_id, Mode(log.mode), options)
        asked = found.setdefault((log.credential_id, repr(sorted(options.items()))), asked)
        for name in _still_failed(connection, log, known):
            asked.failures.setdefault(name, []).append(log)
    retries = []
    for asked in found.values():
        names = set(asked.failures) - (asked.caused_by(AUTH_ERRORS) if exclude_auth_errors else set())
        permanent = set() if include_permanent else names & asked.caused_by(PERMANENT_ERRORS)
        retries += [asked.retry(names - permanent, why_not[asked.credential_id]), asked.skipped(permanent)]
    return list(_without_what_a_full_sync_covers(retries))


def _failed_logs(connection: Connection, max_age: timedelta) -> Sequence[Any]:
    """The failed syncs that recorded what they were asked for; a replay of rejects does not."""
    return connection.execute(
        text("""
            SELECT l.id, l.credential_id, t.partition_key, t.company, t.environment, t.enabled, l.mode, l.started_at,
                   l.completed_at, l.message,
                   l.sync_type = 'scheduled' AND l.mode = 'incremental' AS is_poll, l.details->'asked' AS asked,
                   (SELECT jsonb_object_agg(entity, jsonb_build_object('status', status, 'kind', error_kind))
                    FROM sync_log_entities e WHERE e.sync_log_id = l.id) AS entities
            FROM servicetitan_sync_logs l JOIN tenants t ON t.credential_id = l.credential_id
            -- Also by its start, which has an index; no sync takes a day.
            WHERE l.status = 'failed' AND l.started_at >= now() - CAST(:age AS interval) - interval '1 day'
                  AND l.completed_at >= now() - CAST(:age AS interval) AND l.details ? 'asked'
            ORDER BY l.id
        """),
        {"age": max_age},
    ).all()


def _still_failed(connection: Connection, log: Any, known: Mapping[tuple[int, str], Cursor]) -> Iterator[str]:
    """The entities that the sync was asked for, and that neither it nor a later sync completed."""
    became = log.entities or {}
    for name in log.asked["entities"]:
        if name not in SYNCED or became.get(name, {}).get("status") == "completed":
            continue
        if log.is_poll and became and name not in became:
            continue  # a poll has no row of what it read without a change, or skipped; the next poll reads it anyway
        cursor = known[log.credential_id, name]
        if not _succeeded_since(cursor, name, Mode(log.mode), log.started_at) and not _done_by_another(
            connection, log, name
        ):
            yield name


def _succeeded_since(cursor: Cursor, name: str, mode: Mode, started_at: datetime) -> bool:
    """Whether, by the cursor, a read as complete as that one has ended since."""
    if name in STREAMS:
        done = None if cursor.last_failed_at is not None else cursor.last_polled_at
    else:
        done = cursor.complete_through if mode is Mode.INCREMENTAL else cursor.last_full_at
    return done is not None and done > started_at


def _done_by_another(connection: Connection, log: Any, name: str) -> bool:
    """Whether a later sync of the same window completed it: a window moves no cursor."""
    if log.mode != Mode.WINDOW:
        return False
    query = text("""
        SELECT EXISTS (
            SELECT FROM servicetitan_sync_logs l JOIN sync_log_entities e ON e.sync_log_id = l.id
            WHERE l.credential_id = :credential_id AND l.id > :id AND e.entity = :entity AND e.status = 'completed'
                  AND l.mode = 'window' AND (l.details->'asked') - 'entities' = CAST(:window AS jsonb))
    """)
    window = json.dumps({key: value for key, value in log.asked.items() if key != "entities"})
    bound = {"credential_id": log.credential_id, "id": log.id, "entity": name, "window": window}
    return bool(connection.execute(query, bound).scalar())


def _without_what_a_full_sync_covers(retries: list[Retry]) -> Iterator[Retry]:
    """Drop incremental retries of entities that are retried in full anyway."""
    for retry in retries:
        if retry.mode is Mode.INCREMENTAL:
            full = {
                name
                for other in retries
                if other.credential_id == retry.credential_id and other.mode is Mode.FULL and not other.is_permanent
                for name in other.entities
            }
            retry.entities = tuple(name for name in retry.entities if name not in full)
        if retry.entities:
            yield retry
