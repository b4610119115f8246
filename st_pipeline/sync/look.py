"""The cheap question before a tenant is entered: does any of its feeds show something that we do not hold?

Here: asking, and comparing what came with the tables. Not here: which entities are asked for (poll_policy.py), entering
a tenant (tenant.py), many tenants at once (polling.py).

A look takes no lease and writes nothing. What it fetched is not fetched again: the sync that follows continues from the
first page. But it counts only while the cursor is still the one it was asked with, so a look that is lost, or that came
too late, costs one request.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import CursorRejected, PipelineError
from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.database import transaction
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import Deadline
from st_pipeline.servicetitan.pages import BegunRead, begin_feed, begin_list
from st_pipeline.streams import STREAMS
from st_pipeline.sync.context import Looked
from st_pipeline.sync.entity_order import OUTAGES_IN_A_ROW, is_outage
from st_pipeline.sync.looking_back import looking_back
from st_pipeline.sync.poll_policy import Plan
from st_pipeline.sync.prepare import differs
from st_pipeline.sync.stream_owner import StreamOwner

# Pages that wait for their tenant to be entered stay in memory; beyond this, the sync fetches the rest itself.
HELD_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Look:
    """A tenant before it is entered, and what was seen of it.

    `client`: for the look and the sync that may follow, both with this `deadline`. `cursors`, `owners`: by entity or
    list, and by stream. `began_at`: by Postgres's clock, before anything was asked.
    `must_enter`: for a reason besides its entities. `looked`: by entity or list. `unchanged`: entities and streams.
    """

    tenant: str
    credential_id: int
    client: ServiceTitanClient
    deadline: Deadline
    plan: Plan
    cursors: Mapping[str, Cursor]
    owners: Mapping[str, StreamOwner]
    began_at: datetime
    must_enter: bool = False
    looked: dict[str, Looked] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    held_bytes: int = 0

    @property
    def has_news(self) -> bool:
        """Is there a reason to enter the tenant?"""
        return self.must_enter or not self.unchanged.issuperset(self.plan.entities)

    def take_over(self, connection: Connection, held: Mapping[str, Cursor]) -> set[str]:
        """Under the tenant's lease, note and return the entities of which nothing differed.

        Only those whose cursor is still the one they were asked with. Streams are left to the sync, whose writes may
        change them. `held`: the cursors as they are now.
        """
        unchanged = {
            name
            for name in self.unchanged - STREAMS.keys()
            if all(held.get(part) == self.cursors.get(part) for part in parts_of([name]))
        }
        cursors.note_unchanged(connection, self.credential_id, parts_of(unchanged), self.began_at)
        return unchanged

    def has_settled(self, name: str) -> bool:
        """Does an entity need no further request? It failed, or its only page is here."""
        seen = [self.looked.get(part.name) for part in ENTITIES[name].read_as] if name in ENTITIES else [None]
        return all(one is not None and (one.error or (one.begun and one.begun.is_whole)) for one in seen)

    def new_tokens(self) -> dict[str, tuple[str, str]]:
        """By entity, the feed token that was asked with and the one that came."""
        return {
            name: (looked.cursor.continue_from, token)
            for name, looked in self.looked.items()
            if looked.begun is not None
            and looked.cursor.continue_from is not None
            and (token := looked.begun.first.continue_from) is not None
            and token != looked.cursor.continue_from
        }


def parts_of(names: Iterable[str]) -> list[str]:
    """Of these, the entities and, where one is several lists, those: the names of their cursors. Not the streams."""
    entities = [ENTITIES[name] for name in names if name in ENTITIES]
    return [one.name for entity in entities for one in (entity, *entity.lists)]


def look_at(look: Look, engine: Engine) -> None:
    """Ask for the first page of each entity of the plan, one after the other, and compare it with the tables.

    What goes wrong is part of what was seen: the sync of the tenant reports it, and does not ask again.
    """
    outages = 0
    for name in look.plan.entities:
        if name in STREAMS:
            if not look.owners[name].has_news(look.cursors.get(name, Cursor()), look.client.settings):
                look.unchanged.add(name)
            continue
        if look.deadline.has_passed:
            return
        seen = list(_look_at_parts(look, ENTITIES[name], engine))
        errors = [one.error for one in seen if one.error is not None]
        failed_before = look.cursors.get(name, Cursor()).last_failed_at is not None
        if len(seen) == len(ENTITIES[name].read_as) and not failed_before and not any(one.has_news for one in seen):
            look.unchanged.add(name)
        if any(isinstance(error, PipelineError) and error.ends_tenant for error in errors):
            return
        outages = outages + 1 if any(is_outage(error) for error in errors) else 0
        if outages == OUTAGES_IN_A_ROW or look.held_bytes > HELD_BYTES:
            return


def _look_at_parts(look: Look, spec: EntitySpec, engine: Engine) -> Iterator[Looked]:
    """What each of an entity's lists shows. One that was never read to its end is left to the sync."""
    for part in spec.read_as:
        cursor = look.cursors.get(part.name)
        if cursor is None or cursor.last_full_at is None:
            continue
        looked = look.looked[part.name] = _look_at(look, part, cursor, engine)
        yield looked
        if isinstance(looked.error, PipelineError) and looked.error.ends_tenant:
            return


def _look_at(look: Look, spec: EntitySpec, cursor: Cursor, engine: Engine) -> Looked:
    try:
        begun = _begun(look.client, spec, cursor)
        records = [bytes(record) for record in begun.first.records]
        look.held_bytes += sum(map(len, records))
        has_no_token = spec.feed_path is not None and cursor.continue_from is None  # which a sync saves
        has_news = has_no_token or not begun.is_whole
        if records and not has_news:
            with transaction(engine, f"compare {spec.name} of tenant {look.tenant} with its table") as connection:
                has_news = differs(connection, spec, look.credential_id, records)
    except CursorRejected:
        return Looked(cursor, look.began_at)  # the sync starts again from a time
    except Exception as error:  # noqa: BLE001 - whatever it is, the sync of the tenant reports it
        return Looked(cursor, look.began_at, error=error)
    return Looked(cursor, look.began_at, begun, has_news=has_news)


def _begun(client: ServiceTitanClient, spec: EntitySpec, cursor: Cursor) -> BegunRead:
    since = looking_back(cursor, client.settings.lookback_minutes)
    if spec.feed_path is None:
        return begin_list(client, spec, modified_from=since)
    return begin_feed(client, spec, start=cursor.continue_from or since)
