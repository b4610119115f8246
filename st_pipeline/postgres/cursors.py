"""Where a tenant's entity stands: the cursor of its incremental syncs, and that of a full sync in progress.

Here: the table sync_cursors. Not here: what a cursor means to the API (servicetitan/), and when it may move (sync/).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, text

from st_pipeline.protocol import Mode


@dataclass(frozen=True, slots=True)
class Cursor:
    """One row of sync_cursors; every field is empty for an entity of a tenant that was never synced.

    `continue_from`: the feed token after the last page whose rows are all committed. `newest_modified_on`: as the
    source wrote it. `full_*`: the full sync in progress, if `full_started_at` is set: its feed token, the version of
    the columns it writes, and whether it rewrites unchanged rows. `last_full_at`: end of the last complete full sync
    (of a stream: since when every chunk notes which of its records change). `complete_through`: when the last sync that
    read to the end began; whatever the source had committed by then is in the table or among the rejects.
    `last_failed_at`, `failure`, `failure_kind`: the last failure; `failing_since`: the first of those in a row. All are
    empty once a sync has succeeded.
    """

    continue_from: str | None = None
    newest_modified_on: str | None = None
    full_continue_from: str | None = None
    full_started_at: datetime | None = None
    last_full_at: datetime | None = None
    last_polled_at: datetime | None = None
    last_failed_at: datetime | None = None
    complete_through: datetime | None = None
    full_spec_version: int | None = None
    full_rewrites: bool = False
    failing_since: datetime | None = None
    failure: str | None = None
    failure_kind: str | None = None

    @property
    def value(self) -> str | None:
        """The feed token, else the modification time: what the sync log shows as the cursor."""
        return self.continue_from or self.newest_modified_on

    def mode_for(self, asked: Mode) -> Mode:
        """The mode to sync in: an entity that no full sync has completed yet is read in full."""
        return Mode.FULL if asked is Mode.INCREMENTAL and self.last_full_at is None else asked


_FIELDS = ", ".join(Cursor.__slots__)


class Clock(Enum):
    """In place of a value to save: no text of the source can be taken for it."""

    NOW = "the time on Postgres's clock"


NOW = Clock.NOW
WORKS = {"last_failed_at": None, "failing_since": None, "failure": None, "failure_kind": None}


def now(connection: Connection) -> datetime:
    """The time on Postgres's clock."""
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def load(connection: Connection, credential_id: int, entity: str) -> Cursor:
    """The cursor, empty for an entity never synced."""
    row = connection.execute(
        text(f"SELECT {_FIELDS} FROM sync_cursors WHERE credential_id = :id AND entity = :entity"),  # noqa: S608
        {"id": credential_id, "entity": entity},
    ).one_or_none()
    return Cursor(*row) if row is not None else Cursor()


def load_known(connection: Connection, credential_ids: Collection[int]) -> defaultdict[tuple[int, str], Cursor]:
    """The cursors as people read them: `complete_through` and `last_polled_at` also by polls that moved no cursor."""
    moved = ("complete_through", "last_polled_at")
    fields = ", ".join(f"{'m' if name in moved else 'c'}.{name}" for name in Cursor.__slots__)
    query = text(
        f"SELECT c.credential_id, c.entity, {fields} FROM sync_cursors c "  # noqa: S608 - fields of Cursor
        "JOIN completeness m USING (credential_id, entity) WHERE c.credential_id = ANY(:ids)"
    )
    rows = connection.execute(query, {"ids": list(credential_ids)})
    return defaultdict(Cursor, {(credential_id, entity): Cursor(*rest) for credential_id, entity, *rest in rows})


def load_all(connection: Connection, credential_ids: Collection[int]) -> defaultdict[tuple[int, str], Cursor]:
    """The cursors of these tenants by credential and entity, empty for an entity never synced."""
    rows = connection.execute(
        text(f"SELECT credential_id, entity, {_FIELDS} FROM sync_cursors WHERE credential_id = ANY(:ids)"),  # noqa: S608 - fields of Cursor
        {"ids": list(credential_ids)},
    )
    return defaultdict(Cursor, {(credential_id, entity): Cursor(*rest) for credential_id, entity, *rest in rows})


def save(connection: Connection, credential_id: int, entity: str, **changes: object) -> None:
    """Set the named fields of Cursor. `NOW` stands for the time on Postgres's clock."""
    unknown = set(changes) - set(Cursor.__slots__)
    if unknown:
        raise TypeError(f"sync_cursors has no {', '.join(sorted(unknown))}")
    values = {name: "clock_timestamp()" if value is NOW else f":{name}" for name, value in changes.items()}
    bound = {name: value for name, value in changes.items() if value is not NOW}
    connection.execute(
        text(
            f"INSERT INTO sync_cursors (credential_id, entity, {', '.join(values)}) "  # noqa: S608 - fields of Cursor
            f"VALUES (:credential_id, :entity_name, {', '.join(values.values())}) ON CONFLICT (credential_id, entity) "
            f"DO UPDATE SET updated_at = clock_timestamp(), {', '.join(f'{n} = excluded.{n}' for n in values)}"
        ),
        {**bound, "credential_id": credential_id, "entity_name": entity},
    )


def note_unchanged(connection: Connection, credential_id: int, names: Collection[str], began_at: datetime) -> None:
    """Save that nothing of these entities and lists differed when they were asked, which was after `began_at`."""
    connection.execute(
        text("""
            UPDATE sync_cursors SET updated_at = clock_timestamp(),
                last_polled_at = greatest(last_polled_at, :began_at),
                complete_through = CASE WHEN complete_through IS NOT NULL THEN greatest(complete_through, :began_at) END
            WHERE credential_id = :id AND entity = ANY(:names)
        """),
        {"id": credential_id, "names": list(names), "began_at": began_at},
    )


def save_tokens(connection: Connection, credential_id: int, tokens: Mapping[str, tuple[str, str]]) -> None:
    """Save new feed tokens by entity, each after the one it was asked with: only where that still stands."""
    connection.execute(
        text("""
            UPDATE sync_cursors c SET continue_from = n.new, updated_at = clock_timestamp()
            FROM unnest(CAST(:entities AS text[]), CAST(:old AS text[]), CAST(:new AS text[])) AS n (entity, old, new)
            WHERE c.credential_id = :id AND c.entity = n.entity AND c.continue_from = n.old
        """),
        {
            "id": credential_id,
            "entities": list(tokens),
            "old": [old for old, _ in tokens.values()],
            "new": [new for _, new in tokens.values()],
        },
    )
