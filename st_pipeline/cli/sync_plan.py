"""What a sync would do: whom, from which position, and the fewest requests that takes. Contacts nobody.

Here: the reckoning and its table, for `sync --dry-run`. Not here: the choice itself (due.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline import polls
from st_pipeline.cli.sync_request import SyncRequest
from st_pipeline.data_types import SYNCED
from st_pipeline.due import Choice
from st_pipeline.entities.spec import EntitySpec, Presence
from st_pipeline.postgres import cursors
from st_pipeline.records import Mode
from st_pipeline.settings import Settings

IDS_A_REQUEST = 50


@dataclass(slots=True)
class Plan:
    """One tenant's. `requests`: the fewest it can take; `token`: of which one is for a token."""

    choice: Choice
    entities: list[dict[str, Any]] = field(default_factory=list)
    needs_token: bool = False

    @property
    def requests(self) -> int:
        """Of all its entities."""
        of_entities: int = sum(entity["requests"] for entity in self.entities)
        return of_entities + self.needs_token

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        tenant = self.choice.tenant
        facts = {"tenant": tenant.partition_key, "credential_id": tenant.credential_id}
        why = {"would_sync": self.choice.taken, "reason": self.choice.reason}
        return {**facts, **why, "requests_at_least": self.requests, "entities": self.entities}


def plan(connection: Connection, settings: Settings, request: SyncRequest, choices: Sequence[Choice]) -> list[Plan]:
    """One a tenant that was chosen or left out."""
    return [_plan(connection, settings, request, choice) for choice in choices]


def _plan(connection: Connection, settings: Settings, request: SyncRequest, choice: Choice) -> Plan:
    made = Plan(choice)
    if not choice.taken:
        return made
    expires = connection.execute(
        text("SELECT token_expires_at FROM servicetitan_credentials WHERE id = :id"),
        {"id": choice.tenant.credential_id},
    ).scalar_one()
    left = 0.0 if expires is None else (expires - datetime.now(UTC)).total_seconds()
    for name in request.configuration.entities:
        spec = SYNCED[name]
        if isinstance(spec, EntitySpec):
            made.entities.append(_entity(connection, settings, request, choice.tenant.credential_id, spec))
    made.needs_token = left < settings.token_refresh_threshold_seconds and any(e["requests"] for e in made.entities)
    return made


def _entity(
    connection: Connection, settings: Settings, request: SyncRequest, credential_id: int, spec: EntitySpec
) -> dict[str, Any]:
    asked = request.configuration.mode
    requests, position, mode = 0, None, asked
    cursor = cursors.load(connection, credential_id, spec.name)
    if polls.is_poll(request.configuration) and polls.rests(spec.name, cursor, settings):
        return {"entity": spec.name, "mode": str(asked), "from": "rests: looked at a while ago", "requests": 0}
    for one in spec.read_as:
        cursor = cursors.load(connection, credential_id, one.name)
        mode = Mode.FULL if asked is Mode.INCREMENTAL and cursor.last_full_at is None else asked
        requests += _requests(connection, settings, credential_id, one, mode, announced=asked is Mode.FULL)
        position = position or _position(one, cursor, mode, request)
    return {"entity": spec.name, "mode": str(mode), "from": position, "requests": requests}


def _requests(
    connection: Connection, settings: Settings, credential_id: int, spec: EntitySpec, mode: Mode, *, announced: bool
) -> int:
    """A page of what changed; for a full pass the pages of the list that would show the rows we hold."""
    if mode is not Mode.FULL or spec.presence is not Presence.LIST:
        return 1 + announced
    held: int = connection.execute(
        text(f"SELECT count(*) FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NULL"),  # noqa: S608
        {"id": credential_id},
    ).scalar_one()
    pages = max(1, math.ceil(held / settings.list_page_size))
    return pages + (spec.feed_path is not None) + announced


def _position(spec: EntitySpec, cursor: cursors.Cursor, mode: Mode, request: SyncRequest) -> str:
    configuration = request.configuration
    if mode is Mode.WINDOW:
        ends = (configuration.modified_from, configuration.modified_to)
        return " to ".join("…" if end is None else f"{end.astimezone(UTC):%Y-%m-%d %H:%M}" for end in ends)
    if mode is Mode.FULL:
        goes_on = cursor.full_started_at is not None and cursor.full_continue_from is not None
        return "where the last full pass was left" if goes_on else "the beginning"
    if spec.feed_path is not None and cursor.continue_from is not None:
        return "a feed token" + (f" of {cursor.last_polled_at:%Y-%m-%d %H:%M}" if cursor.last_polled_at else "")
    return "the beginning" if cursor.newest_modified_on is None else f"{cursor.newest_modified_on[:16]}, less an hour"
