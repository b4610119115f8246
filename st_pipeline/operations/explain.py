"""Why one record is present, rejected, deleted or absent, and where it was last seen.

Here: gathering what is known of it. Not here: the queries (record_facts.py), what the facts mean (verdict.py), printing
(cli/).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import ConfigurationError
from st_pipeline.operations import record_facts
from st_pipeline.operations.record_facts import Built, StreamOwner, Sync
from st_pipeline.operations.verdict import Asked, Explanation, Facts, judge
from st_pipeline.postgres import cursors, stream_pending
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import SOFTWARE, StreamSpec
from st_pipeline.suggestions import unknown_name
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.tenants.store import Tenant, find_tenant


def explain(connection: Connection, tenant: str, name: str, st_id: int, asked: Asked | None = None) -> Explanation:
    """Find out what became of a record of an entity or a stream. `asked`: ServiceTitan's answer, if it was asked.

    Raises ConfigurationError: an unknown tenant or entity. Use a transaction of one snapshot: a running sync must not
    change the facts between two queries.
    """
    found = find_tenant(connection, tenant)
    spec = spec_of(name)
    if isinstance(spec, StreamSpec):
        return judge(_facts_of_record(connection, found, spec, st_id, asked), spec)
    return judge(_facts_of_row(connection, found, spec, st_id, asked), spec)


def spec_of(name: str) -> EntitySpec | StreamSpec:
    """The entity or stream of that name. Raises ConfigurationError that lists all."""
    if name not in SYNCED:
        raise ConfigurationError(unknown_name("entity", name, SYNCED))
    return SYNCED[name]


def _facts(connection: Connection, tenant: Tenant, name: str, st_id: int, asked: Asked | None) -> dict[str, Any]:
    """What is known of any record, of an entity or a stream."""
    cursor = cursors.load_known(connection, [tenant.credential_id])[tenant.credential_id, name]
    return {
        "tenant": tenant,
        "name": name,
        "st_id": st_id,
        "asked": asked,
        "cursor": cursor,
        "failure": record_facts.last_failure(connection, tenant.credential_id, name) if cursor.last_failed_at else None,
        "reject": record_facts.reject_of(connection, tenant.credential_id, name, st_id),
    }


def _facts_of_row(connection: Connection, tenant: Tenant, spec: EntitySpec, st_id: int, asked: Asked | None) -> Facts:
    def sync_at(moment: datetime | None) -> Sync | None:
        if moment is None:
            return None
        return record_facts.sync_at(connection, tenant.credential_id, spec.name, moment)

    row = record_facts.row_of(connection, spec, tenant.credential_id, st_id)
    return Facts(
        **_facts(connection, tenant, spec.name, st_id, asked),
        row=row,
        written_by=sync_at(row.local_synced_at if row else None),
        deleted_by=sync_at(row.deleted_at if row else None),
        highest_id=record_facts.highest_id(connection, spec, tenant.credential_id),
        rejects_without_id=record_facts.rejects_without_id(connection, tenant.credential_id, spec.name),
        feeds=tuple(_feeds(connection, tenant, spec, st_id)) if row else (),
    )


def _feeds(connection: Connection, tenant: Tenant, spec: EntitySpec, st_id: int) -> Iterator[Built]:
    """The stream records that are built from a row."""
    pairs = [(stream, source) for stream in STREAMS.values() for source in stream.sources if source.entity == spec.name]
    for stream, source in pairs:
        if source.lookup is not None:
            keys = stream_pending.looked_up(connection, tenant.credential_id, source.lookup, [st_id])
        else:
            ids = record_facts.ids_in_row(connection, spec, tenant.credential_id, st_id, source.keys)
            keys = {key for key in ids if key is not None}
        if keys:
            yield record_facts.built(
                connection, stream.table, stream.key, owner=_owner(tenant), stream=stream.name, keys=keys
            )


def _facts_of_record(
    connection: Connection, tenant: Tenant, stream: StreamSpec, st_id: int, asked: Asked | None
) -> Facts:
    owner = _owner(tenant)
    record = record_facts.stream_record_of(connection, stream.table, stream.key, owner=owner, key=st_id)
    state = record_facts.built(connection, stream.table, stream.key, owner=owner, stream=stream.name, keys=[st_id])
    written_by = record_facts.sync_of_import(connection, tenant.credential_id, stream.name, record) if record else None
    common = _facts(connection, tenant, stream.name, st_id, asked)
    is_begun = common["cursor"].last_full_at is not None
    return Facts(
        **common,
        record=record,
        waiting=bool(state.waiting),
        written_by=written_by,
        note=None if is_begun else record_facts.last_note(connection, tenant.credential_id, stream.name),
        source=explain(connection, tenant.partition_key, stream.anchor, st_id, asked),
    )


def _owner(tenant: Tenant) -> StreamOwner:
    return StreamOwner(tenant.credential_id, tenant.intacct_id, SOFTWARE)
