"""What a sync would do: which tenants, from which cursor, and the fewest requests that takes. Sends no request.

Here: the plan, as values. Not here: choosing the tenants (tenants/), syncing them (sync/).
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.protocol import Mode
from st_pipeline.settings import Settings
from st_pipeline.sync import poll_policy
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.tenants.selection import Choice


@dataclass(slots=True)
class Plan:
    """One tenant's plan. `needs_token`: one request more, for a token."""

    choice: Choice
    entities: list[dict[str, Any]] = field(default_factory=list)
    needs_token: bool = False

    @property
    def requests(self) -> int:
        """The fewest requests that the sync can take."""
        of_entities: int = sum(entity["requests"] for entity in self.entities)
        return of_entities + self.needs_token

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        tenant = self.choice.tenant
        facts = {"tenant": tenant.partition_key, "credential_id": tenant.credential_id}
        why = {"would_sync": self.choice.taken, "reason": self.choice.reason}
        return {**facts, **why, "requests_at_least": self.requests, "entities": self.entities}


def plan(
    connection: Connection, settings: Settings, configuration: SyncConfiguration, choices: Sequence[Choice]
) -> list[Plan]:
    """One for each tenant, selected or not; three queries, however many tenants there are."""
    taken = [choice.tenant.credential_id for choice in choices if choice.taken]
    estimate = _Estimate(settings, configuration, cursors.load_known(connection, taken))
    estimate.rows = _count_rows(connection, estimate.to_count(taken))
    needs_token = _without_fresh_token(connection, settings, taken)
    plans = []
    for choice in choices:
        made = Plan(choice)
        if choice.taken:
            made.entities = list(estimate.entities(choice.tenant.credential_id))
            asks = any(entity["requests"] for entity in made.entities)
            made.needs_token = asks and choice.tenant.credential_id in needs_token
        plans.append(made)
    return plans


@dataclass(slots=True)
class _Estimate:
    """What is known of all tenants. `rows`: by credential and table, the rows that a full sync would read again."""

    settings: Settings
    configuration: SyncConfiguration
    held: Mapping[tuple[int, str], Cursor]
    rows: Mapping[tuple[int, str], int] = field(default_factory=dict)

    def entities(self, credential_id: int) -> Iterator[dict[str, Any]]:
        """What the sync would do for each of a tenant's entities."""
        asked = self.configuration.mode
        for spec in self._specs():
            if self._rests(credential_id, spec):
                yield {"entity": spec.name, "mode": str(asked), "from": "skipped: polled recently", "requests": 0}
                continue
            requests, start, mode = 0, None, asked
            for one in spec.read_as:
                cursor = self.held[credential_id, one.name]
                mode = cursor.mode_for(asked)
                requests += self._requests(credential_id, one, mode)
                start = start or _start(one, cursor, mode, self.configuration)
            yield {"entity": spec.name, "mode": str(mode), "from": start, "requests": requests}

    def to_count(self, credential_ids: Collection[int]) -> dict[str, list[int]]:
        """By table, the tenants whose number of rows says how many pages a full sync takes."""
        asked = self.configuration.mode
        found: dict[str, list[int]] = defaultdict(list)
        for credential_id in credential_ids:
            for spec in self._specs():
                for one in () if self._rests(credential_id, spec) else spec.read_as:
                    if self.held[credential_id, one.name].mode_for(asked) is Mode.FULL:
                        found[one.table].append(credential_id)
        return found

    def _specs(self) -> Iterator[EntitySpec]:
        """The entities asked for; streams take no request."""
        for name in self.configuration.entities:
            spec = SYNCED[name]
            if isinstance(spec, EntitySpec):
                yield spec

    def _rests(self, credential_id: int, spec: EntitySpec) -> bool:
        is_poll = poll_policy.is_poll(self.configuration)
        return is_poll and poll_policy.rests(spec.name, self.held[credential_id, spec.name], self.settings)

    def _requests(self, credential_id: int, spec: EntitySpec, mode: Mode) -> int:
        """One page of changes; for a full sync, pages that hold as many rows as we do, and the list's total."""
        if mode is not Mode.FULL:
            return 1
        announced = self.configuration.mode is Mode.FULL
        pages = max(1, math.ceil(self.rows.get((credential_id, spec.table), 0) / self.settings.list_page_size))
        return pages + announced + (not spec.is_read_from_list)


def _count_rows(connection: Connection, wanted: Mapping[str, list[int]]) -> dict[tuple[int, str], int]:
    """By credential and table, the number of rows that are not soft-deleted."""
    if not wanted:
        return {}
    counts = (
        f"SELECT credential_id, '{table}', count(*) FROM {table} "  # noqa: S608 - names of a spec
        f"WHERE credential_id = ANY(:{table}) AND deleted_at IS NULL GROUP BY credential_id"
        for table in wanted
    )
    rows = connection.execute(text(" UNION ALL ".join(counts)), dict(wanted))
    return {(credential_id, table): number for credential_id, table, number in rows}


def _without_fresh_token(connection: Connection, settings: Settings, credential_ids: list[int]) -> set[int]:
    """The tenants that need a token before their first request."""
    query = text("""
        SELECT id FROM servicetitan_credentials
        WHERE id = ANY(:ids) AND coalesce(token_expires_at, '-infinity') < now() + make_interval(secs => :threshold)
    """)
    bound = {"ids": credential_ids, "threshold": settings.token_refresh_threshold_seconds}
    return set(connection.execute(query, bound).scalars())


def _start(spec: EntitySpec, cursor: Cursor, mode: Mode, configuration: SyncConfiguration) -> str:
    if mode is Mode.WINDOW:
        ends = (configuration.modified_from, configuration.modified_to)
        return " to ".join("…" if end is None else f"{end.astimezone(UTC):%Y-%m-%d %H:%M}" for end in ends)
    if mode is Mode.FULL:
        resumes = cursor.full_started_at is not None and cursor.full_continue_from is not None
        return "where the last full sync stopped" if resumes else "the beginning"
    if spec.feed_path is not None and cursor.continue_from is not None:
        return "a feed token" + (f" of {cursor.last_polled_at:%Y-%m-%d %H:%M}" if cursor.last_polled_at else "")
    return "the beginning" if cursor.newest_modified_on is None else f"{cursor.newest_modified_on[:16]}, less an hour"
