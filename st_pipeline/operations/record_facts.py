"""What the tables know of one record: its row, its reject, its stream record, and the syncs that wrote them.

Here: the queries. Not here: what follows from the answers. Ids, states and times only, never a value of the record.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec

# A first load's rows have the time of the machine that wrote them, not of Postgres: its clock may be this far off.
CLOCKS_APART = "1 minute"
_SYNC = """
    SELECT l.id, CAST(l.sync_id AS text), l.sync_type, e.mode, e.status, e.started_at, e.completed_at, l.dagster_run_id
    FROM sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id
    WHERE l.credential_id = :credential_id AND e.entity = :entity
"""
# The sync that ran at a moment; otherwise the one that began nearest to it.
_RAN_AT = """
    ORDER BY :moment BETWEEN e.started_at AND coalesce(e.completed_at, 'infinity') DESC,
             abs(extract(epoch FROM e.started_at - :moment))
    LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an entity. `active` and `merged_to_id` None: null, or no such column. `version`: its spec's."""

    modified_on: datetime | None
    active: bool | None
    merged_to_id: int | None
    local_synced_at: datetime
    deleted_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class RejectState:
    """A row of sync_rejects without its bytes."""

    reasons: tuple[str, ...]
    times: int
    first_seen_at: datetime
    last_seen_at: datetime
    dismissed_at: datetime | None
    sync_log_id: int | None


@dataclass(frozen=True, slots=True)
class Sync:
    """An entity's part of a sync, as the sync log has it."""

    sync_log_id: int
    sync_id: str
    sync_type: str
    mode: str
    status: str
    started_at: datetime
    completed_at: datetime | None
    dagster_run_id: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of an entity. The message holds no data."""

    sync_log_id: int
    at: datetime
    message: str | None


@dataclass(frozen=True, slots=True)
class StreamOwner:
    """Who owns stream records: the credential, the company by its id downstream (Intacct's), the software."""

    credential_id: int
    company: str | None
    software: str


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of a stream. `version`: how often it was written. `import_id`: the sync, or the upload if not `ours`."""

    updated_at: datetime
    version: int
    still_exists: bool
    import_id: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Built:
    """Of some keys of a stream: how many have a record, how many wait to be built, and the newest write."""

    stream: str
    keys: int
    records: int
    waiting: int
    updated_at: datetime | None


def row_of(connection: Connection, spec: EntitySpec, credential_id: int, st_id: int) -> Row | None:
    """The record's row."""
    wanted = (MODIFIED, "active", "merged_to_id")
    columns = ", ".join(name if spec.has(name) else "NULL" for name in wanted)
    query = (
        f"SELECT {columns}, local_synced_at, deleted_at, spec_version FROM {spec.table} "  # noqa: S608 - names of a spec
        f"WHERE credential_id = :credential_id AND {KEY} = :st_id"
    )
    row = connection.execute(text(query), {"credential_id": credential_id, "st_id": st_id}).one_or_none()
    return None if row is None else Row(*row)


def ids_in_row(
    connection: Connection, spec: EntitySpec, credential_id: int, st_id: int, columns: Collection[str]
) -> tuple[int | None, ...]:
    """The ids in these columns of the record's row; empty without a row."""
    query = f"SELECT {', '.join(columns)} FROM {spec.table} WHERE credential_id = :credential_id AND {KEY} = :st_id"  # noqa: S608
    row = connection.execute(text(query), {"credential_id": credential_id, "st_id": st_id}).one_or_none()
    return () if row is None else tuple(row)


def highest_id(connection: Connection, spec: EntitySpec, credential_id: int) -> int | None:
    """The tenant's highest id, None without rows."""
    query = f"SELECT max({KEY}) FROM {spec.table} WHERE credential_id = :credential_id"  # noqa: S608 - names of a spec
    highest: int | None = connection.execute(text(query), {"credential_id": credential_id}).scalar()
    return highest


def reject_of(connection: Connection, credential_id: int, entity: str, st_id: int) -> RejectState | None:
    """The record's reject."""
    query = text("""
        SELECT reasons, times, first_seen_at, last_seen_at, dismissed_at, sync_log_id FROM sync_rejects
        WHERE credential_id = :credential_id AND entity = :entity AND record_key = CAST(:st_id AS text)
    """)
    bound = {"credential_id": credential_id, "entity": entity, "st_id": str(st_id)}
    row = connection.execute(query, bound).one_or_none()
    return None if row is None else RejectState(tuple(row[0]), *row[1:])


def rejects_without_id(connection: Connection, credential_id: int, entity: str) -> int:
    """How many rejects show no id: each could be any record."""
    query = text(
        "SELECT count(*) FROM sync_rejects WHERE credential_id = :credential_id AND entity = :entity AND st_id IS NULL"
    )
    return int(connection.execute(query, {"credential_id": credential_id, "entity": entity}).scalar_one())


def sync_at(connection: Connection, credential_id: int, entity: str, moment: datetime) -> Sync | None:
    """The sync of the entity that ran at a moment; a tenant has only one at a time."""
    query = text(f"""
        {_SYNC} AND e.started_at - interval '{CLOCKS_APART}' <= :moment
            AND coalesce(e.completed_at, 'infinity') + interval '{CLOCKS_APART}' >= :moment
        {_RAN_AT}
    """)
    return _sync(connection, query, credential_id, entity, moment=moment)


def sync_of_import(connection: Connection, credential_id: int, stream: str, record: StreamRecord) -> Sync | None:
    """The sync that wrote a stream record. A run that was retried has several rows in the log under one sync id."""
    query = text(f"{_SYNC} AND CAST(l.sync_id AS text) = :import_id {_RAN_AT}")
    bound = {"import_id": record.import_id, "moment": record.updated_at}
    return _sync(connection, query, credential_id, stream, **bound)


def last_failure(connection: Connection, credential_id: int, entity: str) -> Failure | None:
    """The last failure of the entity, whether or not it has recovered."""
    query = text("""
        SELECT l.id, e.completed_at, e.message
        FROM sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id
        WHERE l.credential_id = :credential_id AND e.entity = :entity AND e.status = 'failed'
        ORDER BY e.completed_at DESC LIMIT 1
    """)
    row = connection.execute(query, {"credential_id": credential_id, "entity": entity}).one_or_none()
    return None if row is None else Failure(*row)


def last_note(connection: Connection, credential_id: int, entity: str) -> str | None:
    """The newest note that a sync left on the entity."""
    query = text("""
        SELECT details #>> ARRAY['notes', :entity, '0'] FROM servicetitan_sync_logs
        WHERE credential_id = :credential_id AND details #> ARRAY['notes', :entity] IS NOT NULL
        ORDER BY id DESC LIMIT 1
    """)
    note: str | None = connection.execute(query, {"credential_id": credential_id, "entity": entity}).scalar()
    return note


def stream_record_of(
    connection: Connection, table: str, key_column: str, *, owner: StreamOwner, key: int
) -> StreamRecord | None:
    """A record of a stream, whoever wrote it."""
    query = text(f"""
        SELECT updated_at, version, still_exists, hub_plus_import_id, credential_id IS NOT DISTINCT FROM :credential_id
        FROM {table} WHERE tenant = :company AND software = :software AND {key_column} = :key
    """)  # noqa: S608 - names of a spec
    row = connection.execute(query, {**asdict(owner), "key": str(key)}).one_or_none()
    return None if row is None else StreamRecord(*row)


def built(
    connection: Connection, table: str, key_column: str, *, owner: StreamOwner, stream: str, keys: Collection[int]
) -> Built:
    """How far these keys of a stream are."""
    query = text(f"""
        SELECT count(*), max(updated_at), (
            SELECT count(*) FROM stream_pending
            WHERE credential_id = :credential_id AND stream = :stream AND key = ANY(:keys))
        FROM {table} WHERE tenant = :company AND software = :software AND {key_column} = ANY(:texts)
    """)  # noqa: S608 - names of a spec
    bound = {**asdict(owner), "stream": stream, "keys": list(keys), "texts": [str(key) for key in keys]}
    records, updated_at, waiting = connection.execute(query, bound).one()
    return Built(stream, len(keys), records, waiting, updated_at)


def _sync(connection: Connection, query: Any, credential_id: int, entity: str, **bound: object) -> Sync | None:
    row = connection.execute(query, {"credential_id": credential_id, "entity": entity, **bound}).one_or_none()
    return None if row is None else Sync(*row)
