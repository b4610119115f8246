"""What must be true after the run that follows a kill.

Here: each statement, as differences in words. Not here: the streams' meaning (stream_oracle.py).
"""

from sqlalchemy import Connection, text

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import KEY
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.stream_oracle import (
    Source,
    expected_streams,
    forget_unseen_types,
    read_source,
    stream_differences,
)

OF_THE_TENANT = "credential_id = (SELECT credential_id FROM tenants WHERE partition_key = :tenant)"
LEFT_OVER = {
    "syncs still running": f"servicetitan_sync_logs WHERE status = 'running' AND {OF_THE_TENANT}",
    "entities still running": "sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id "
    f"WHERE e.status = 'running' AND {OF_THE_TENANT}",
    "leases not given back": f"tenant_leases WHERE {OF_THE_TENANT}",
    "stream keys still waiting": f"stream_pending WHERE {OF_THE_TENANT}",
    "records rejected": f"sync_rejects WHERE {OF_THE_TENANT}",
}
LEFT_OVER_AFTER_FULL = {
    "full syncs still in progress": f"sync_cursors WHERE full_started_at IS NOT NULL AND {OF_THE_TENANT}",
    "ids of a full sync not forgotten": f"seen_ids WHERE {OF_THE_TENANT}",
}


def differences(connection: Connection, tenant: str, simulated: SimulatedTenant, *, after_full: bool) -> list[str]:
    """Everything that is not as it must be after a sync that followed a kill; empty when all is well.

    After a full sync tables and streams equal the source. After an incremental one they do too, but for one thing:
    rows that are gone at the source may lack their mark where only a full sync can learn of it (`_learnt_by_full`).
    """
    with connection.begin():
        found = _left_over(connection, tenant, after_full=after_full) + _doubles(connection)
        unmarked = _mark_for_now(connection, tenant, simulated)
        may_lack = set() if after_full else _learnt_by_full(connection, tenant)
        found += [
            f"{entity}: {len(ids)} rows gone at the source are not marked, such as {min(ids)}"
            for entity, ids in unmarked.items()
            if entity not in may_lack
        ]
        # What may lack its mark has it for now: all else must be equal.
        found += prove_tenant(connection, tenant, simulated.truth()).differences
        connection.get_transaction().rollback()  # type: ignore[union-attr]
    with connection.begin():
        source = _seen_without_the_marks(read_source(simulated), unmarked)
        forget_unseen_types(connection, tenant, source)
        return found + stream_differences(connection, tenant, expected_streams(source))


def _left_over(connection: Connection, tenant: str, *, after_full: bool) -> list[str]:
    found = []
    for what, rows in (LEFT_OVER | (LEFT_OVER_AFTER_FULL if after_full else {})).items():
        count = connection.execute(text(f"SELECT count(*) FROM {rows}"), {"tenant": tenant}).scalar_one()  # noqa: S608
        found += [f"{what}: {count}"] if count else []
    return found


def _doubles(connection: Connection) -> list[str]:
    """Rows with the same key, read without the index that forbids them: a crash might have spoilt it."""
    connection.execute(text("SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off"))
    keys = {spec.table: f"credential_id, {KEY}" for spec in ENTITIES.values()}
    keys |= {"members_stream": "tenant, customer_id", "invoices_stream": "tenant, invoice_number"}
    query = "SELECT count(*) - count(DISTINCT ({key})) FROM {table}"
    counts = {
        table: connection.execute(text(query.format(table=table, key=key))).scalar_one() for table, key in keys.items()
    }
    return [f"{table}: {count} rows twice" for table, count in counts.items() if count]


def _mark_for_now(connection: Connection, tenant: str, simulated: SimulatedTenant) -> dict[str, set[int]]:
    """Mark what the source no longer has and our tables show; which rows that were, by entity."""
    marked = {}
    for spec in ENTITIES.values():
        query = (
            f"UPDATE {spec.table} SET deleted_at = now() WHERE deleted_at IS NULL AND {KEY} <> ALL(:ids) "  # noqa: S608
            f"AND {OF_THE_TENANT} RETURNING {KEY}"
        )
        bound = {"ids": simulated.ids(spec.name), "tenant": tenant}
        ids = set(connection.execute(text(query), bound).scalars())
        if ids:
            marked[spec.name] = ids
    return marked


def _learnt_by_full(connection: Connection, tenant: str) -> set[str]:
    """Entities whose deletions wait for a full sync.

    Those without a feed: a list shows no deletions. And those whose full sync was cut off: it writes a deleted record
    as inactive and marks it at its end, from the list; an incremental sync then finds the row unchanged.
    """
    query = text(f"SELECT entity FROM sync_cursors WHERE full_started_at IS NOT NULL AND {OF_THE_TENANT}")  # noqa: S608
    listed = {spec.name for spec in ENTITIES.values() if spec.feed_path is None}
    return listed | set(connection.execute(query, {"tenant": tenant}).scalars())


def _seen_without_the_marks(source: Source, unmarked: dict[str, set[int]]) -> Source:
    """The source as the streams may take it to be: they are built from tables that lack these marks."""
    for entity, ids in unmarked.items():
        source.existing.setdefault(entity, set()).update(ids)
    return source
