"""What failed and has not succeeded since: tenant by tenant, which entities, and how they were to be synced.

Here: the choice. Not here: doing it again (cli/retry_command.py), what a failure means (errors.py).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline import errors
from st_pipeline.data_types import SYNCED
from st_pipeline.errors import AuthError
from st_pipeline.postgres import cursors, leases, tenant_schedules
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.tenant_schedules import DEFAULT
from st_pipeline.records import Mode
from st_pipeline.streams import STREAMS

# The names under which the sync log notes errors that a person has to mend at ServiceTitan.
AUTH_ERRORS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AuthError)
}  # fmt: skip


@dataclass(slots=True)
class Retry:
    """One sync to do again. `options`: as defs/options.py takes them. `why_not`: it is left, and for this reason."""

    tenant: str
    credential_id: int
    mode: Mode
    options: dict[str, Any]
    entities: tuple[str, ...]
    failed_syncs: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    why_not: str | None = None


def failed_since(connection: Connection, max_age: timedelta, *, exclude_auth_errors: bool = False) -> list[Retry]:
    """What to do again, the tenant that failed first at the head.

    Syncs of one tenant that were to do the same in the same way become one.
    """
    held, schedules = leases.held_tenants(connection), tenant_schedules.load_all(connection)
    found: dict[tuple[int, str], Retry] = {}
    for log in _failed_logs(connection, max_age):
        entities = set(_still_failed(connection, log))
        if exclude_auth_errors:
            entities = _without_auth_errors(entities, log.entities or {})
        if not entities:
            continue
        options = {name: value for name, value in log.asked.items() if name != "entities"}
        if log.mode != Mode.INCREMENTAL:
            options["mode"] = log.mode
        retry = Retry(log.partition_key, log.credential_id, Mode(log.mode), options, ())
        retry = found.setdefault((log.credential_id, repr(sorted(options.items()))), retry)
        retry.entities = tuple(name for name in SYNCED if name in entities | set(retry.entities))
        retry.failed_syncs.append(log.id)
        retry.messages.append(log.message or "")
        paused = schedules.get(log.credential_id, DEFAULT).paused_at is not None
        busy = held.get(log.credential_id)
        retry.why_not = (
            "disabled" if not log.enabled else "paused" if paused else f"being synced now, {busy}" if busy else None
        )
    return list(_without_what_a_full_sync_covers(list(found.values())))


def _failed_logs(connection: Connection, max_age: timedelta) -> Iterable[Any]:
    """Those that noted what they were asked to do; a replay of rejects did not."""
    return connection.execute(
        text("""
            SELECT l.id, l.credential_id, t.partition_key, t.enabled, l.mode, l.started_at, l.completed_at, l.message,
                   l.details->'asked' AS asked,
                   (SELECT jsonb_object_agg(entity, jsonb_build_object('status', status, 'kind', error_kind))
                    FROM sync_log_entities e WHERE e.sync_log_id = l.id) AS entities
            FROM servicetitan_sync_logs l JOIN tenants t ON t.credential_id = l.credential_id
            WHERE l.status = 'failed' AND l.completed_at >= now() - CAST(:age AS interval) AND l.details ? 'asked'
            ORDER BY l.id
        """),
        {"age": max_age},
    ).all()


def _still_failed(connection: Connection, log: Any) -> Iterator[str]:
    """Of what the sync was asked for: what it did not complete, and nothing has since."""
    became = log.entities or {}
    for name in log.asked["entities"]:
        if name not in SYNCED or became.get(name, {}).get("status") == "completed":
            continue
        cursor = cursors.load(connection, log.credential_id, name)
        if not _succeeded_since(cursor, name, Mode(log.mode), log.started_at) and not _done_by_another(
            connection, log, name
        ):
            yield name


def _succeeded_since(cursor: Cursor, name: str, mode: Mode, started_at: datetime) -> bool:
    """By its position: has a read as complete as that one reached its end since?"""
    if name in STREAMS:
        done = None if cursor.last_failed_at is not None else cursor.last_polled_at
    else:
        done = cursor.complete_through if mode is Mode.INCREMENTAL else cursor.last_full_at
    return done is not None and done > started_at


def _done_by_another(connection: Connection, log: Any, name: str) -> bool:
    """A window moves no position: has a later sync of the same window completed it?"""
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


def _without_auth_errors(entities: set[str], became: dict[str, Any]) -> set[str]:
    """Without those that a person must mend, and what depends on them."""
    refused = {name for name in entities if became.get(name, {}).get("kind") in AUTH_ERRORS}
    for name in SYNCED:
        if name in entities and refused.intersection(SYNCED[name].after):
            refused.add(name)
    return entities - refused


def _without_what_a_full_sync_covers(retries: list[Retry]) -> Iterator[Retry]:
    """An entity that is read in full anyway is not polled beside it."""
    for retry in retries:
        if retry.mode is Mode.INCREMENTAL:
            full = {
                name
                for other in retries
                if other.credential_id == retry.credential_id and other.mode is Mode.FULL
                for name in other.entities
            }
            retry.entities = tuple(name for name in retry.entities if name not in full)
        if retry.entities:
            yield retry
