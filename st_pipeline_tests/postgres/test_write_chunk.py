"""One chunk, one transaction: all of it is there afterwards, or nothing."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import LeaseLost, SyncStopped
from st_pipeline.postgres import chunks, leases, stops
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.postgres.write_chunk import write_chunk
from st_pipeline.protocol import Counts, DeletionGuard, Drift, DriftKind, Mode, PreparedChunk, Reject, WrittenChunk
from st_pipeline.settings import Settings
from st_pipeline.streams import streams_of
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline_tests.tenants.planted import put_tenant

CUSTOMERS, CONTACTS, INVOICES = ENTITIES["customers"], ENTITIES["customer_contacts"], ENTITIES["invoices"]
TABLES = ("st_customers", "sync_rejects", "sync_cursors", "stream_pending", "field_drift", "seen_ids")
SYNC_ID = uuid.UUID(int=1)


@dataclass
class Tenant:
    """Its lease, and a sync log without a row yet."""

    connection: Connection
    lease: Lease
    log: SyncLog

    def write(self, chunk: PreparedChunk) -> WrittenChunk:
        """Write it."""
        return write_chunk(self.connection, self.lease, chunk, self.log)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What Postgres answers."""
        with self.connection.begin():
            return [tuple(row) for row in self.connection.execute(text(query))]


@pytest.fixture
def tenant(engine: Engine, settings: Settings) -> Iterator[Tenant]:
    stored = put_tenant(engine, settings)
    of = stored.credential_id, stored.partition_key
    with engine.connect() as connection:
        with connection.begin():
            lease = leases.take(connection, *of, "a test", 600, sync_id=SYNC_ID)
        assert lease is not None
        yield Tenant(connection, lease, SyncLog(*of, SYNC_ID, "manual", Mode.INCREMENTAL, "all"))


def prepared(spec: EntitySpec, *records: dict[str, Any] | bytes, **more: Any) -> PreparedChunk:
    received = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    valid = validate_chunk(spec, received)
    rows = chunks.with_bookkeeping(valid.columns, valid.hashes, valid.records) if records else {}
    values: dict[str, Any] = {
        "received": len(records), "pages": 1, "rows": rows, "records": valid.records, "entity": spec.name,
        "mode": Mode.INCREMENTAL,
    }  # fmt: skip
    return PreparedChunk(spec=spec, **{**values, **more})


def everything(**more: Any) -> PreparedChunk:
    """A chunk with something of each kind."""
    return prepared(
        CUSTOMERS,
        {"id": 1, "name": "Ann", "active": True},
        {"id": 2, "name": "Bob", "active": False},
        received=3,
        rejects=[Reject(3, b"{}", ("no reason",))],
        seen=[1, 2],
        gone=[2],
        guard=DeletionGuard(0.2, 10),
        streams=streams_of("customers"),
        drift={Drift(DriftKind.NULL, "name"): 1},
        cursor={"continue_from": "token"},
        **more,
    )


def test_rows_rejects_marks_stream_keys_drift_cursor_and_log_come_together(tenant: Tenant):
    written = tenant.write(everything())
    assert written.counts == Counts(processed=3, created=2, failed=1, deleted=1, pages=1)
    assert written.new_drift == [Drift(DriftKind.NULL, "name")]
    assert tenant.rows("SELECT st_id, name, deleted_at IS NULL FROM st_customers ORDER BY 1") == [
        (1, "Ann", True),
        (2, "Bob", False),
    ]
    assert tenant.rows("SELECT st_id FROM sync_rejects") == [(3,)]
    assert tenant.rows("SELECT st_id FROM seen_ids ORDER BY 1") == [(1,), (2,)]
    assert tenant.rows("SELECT key FROM stream_pending WHERE stream = 'members_stream' ORDER BY 1") == [(1,), (2,)]
    assert tenant.rows("SELECT continue_from FROM sync_cursors") == [("token",)]
    assert tenant.rows("SELECT entity, records_processed, records_failed FROM sync_log_entities") == [
        ("customers", 3, 1)
    ]


@pytest.mark.parametrize("how", ["another run took it", "a person stopped the sync"])
def test_a_lost_lease_or_a_stop_writes_nothing(tenant: Tenant, engine: Engine, how: str):
    with engine.begin() as other:
        if how == "another run took it":
            other.execute(text("UPDATE tenant_leases SET holder = gen_random_uuid()"))
        else:
            stops.request(other, SYNC_ID, how)
    with pytest.raises(LeaseLost if "took" in how else SyncStopped):
        tenant.write(everything())
    for table in TABLES:
        assert tenant.rows(f"SELECT * FROM {table}") == [], table  # noqa: S608 - our own names
    assert tenant.log.id is None


def test_a_last_statement_that_fails_leaves_nothing_not_even_the_number_of_a_log_row(tenant: Tenant, engine: Engine):
    def broken(_connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "pg_notify" in statement:
            raise OSError("the connection is gone")

    event.listen(engine, "before_cursor_execute", broken)
    with pytest.raises(OSError, match="the connection is gone"):
        tenant.write(everything())
    event.remove(engine, "before_cursor_execute", broken)
    assert tenant.log.id is None
    for table in TABLES:
        assert tenant.rows(f"SELECT * FROM {table}") == [], table  # noqa: S608 - our own names
    assert tenant.write(everything()).counts.created == 2


def test_a_row_that_postgres_refuses_becomes_a_reject_and_does_not_count_as_passed(tenant: Tenant):
    bad = b'{"id":2,"items":[1e999999]}'
    chunk = prepared(INVOICES, {"id": 1}, bad, passed=[1, 2])
    with tenant.connection.begin():
        tenant.connection.execute(
            text(
                "INSERT INTO sync_rejects (credential_id, entity, record_key, st_id, record, reasons) "
                "SELECT :id, 'invoices', key::text, key, ''::bytea, '{}' FROM generate_series(1, 2) AS key"
            ),
            {"id": tenant.lease.credential_id},
        )
    written = tenant.write(chunk)
    assert (written.refused, written.counts.created, written.counts.failed) == (frozenset({2}), 1, 1)
    assert tenant.rows("SELECT st_id, record FROM sync_rejects") == [(2, bad)]


def test_what_passed_leaves_the_rejects_also_when_nothing_failed(tenant: Tenant):
    tenant.write(prepared(INVOICES, rejects=[Reject(1, b"{}", ("why",)), Reject(2, b"{}", ("why",))], received=2))
    tenant.write(prepared(INVOICES, {"id": 1}, passed=[1]))
    assert tenant.rows("SELECT st_id FROM sync_rejects") == [(2,)]


def test_every_record_counts_once(tenant: Tenant):
    """Of five records one is new, one differs, one failed, and two were left out as the table holds them."""
    tenant.write(prepared(CUSTOMERS, {"id": 1, "name": "Ann"}))
    chunk = prepared(
        CUSTOMERS, {"id": 1, "name": "Anna"}, {"id": 2, "name": "Bob"}, received=5, older=1,
        rejects=[Reject(3, b"{}", ("why",))],
    )  # fmt: skip
    counts = Counts(processed=5, created=1, updated=1, unchanged=2, failed=1, pages=1, older=1)
    assert tenant.write(chunk).counts == counts


@pytest.mark.parametrize(
    ("chunk", "is_logged"),
    [
        ({"received": 1, "pages": 0, "always_logged": True}, True),
        ({"received": 0, "pages": 1, "always_logged": True}, True),
        ({"received": 0, "pages": 0, "always_logged": True}, False),
        ({"received": 1, "pages": 1}, False),
        ({"received": 1, "pages": 1, "rejects": [Reject(3, b"{}", ("why",))]}, True),
    ],
)
def test_a_chunk_is_logged_when_it_found_something_or_its_sync_is_logged_whatever_it_finds(
    tenant: Tenant, chunk: dict[str, Any], is_logged: bool
):
    tenant.write(prepared(CUSTOMERS, **{"always_logged": False, **chunk}))
    assert (tenant.log.id is not None) == is_logged


def test_a_quiet_poll_s_chunk_that_changes_a_row_is_logged(tenant: Tenant):
    tenant.write(prepared(CUSTOMERS, {"id": 1, "name": "Ann"}, always_logged=False))
    assert tenant.rows("SELECT records_created FROM sync_log_entities") == [(1,)]


def test_contacts_go_by_the_flag_that_the_table_then_has_and_not_by_an_older_copy(tenant: Tenant):
    newer = {"id": 1, "active": True, "modifiedOn": "2026-02-01T00:00:00Z"}
    older = {"id": 1, "active": False, "modifiedOn": "2026-01-01T00:00:00Z"}
    tenant.write(prepared(CONTACTS, newer))
    written = tenant.write(prepared(CONTACTS, older, {"id": 2, "active": False}, guard=DeletionGuard(0.2, 10)))
    assert (written.counts.older, written.counts.deleted) == (1, 1)
    assert tenant.rows("SELECT st_id FROM st_customer_contacts WHERE deleted_at IS NOT NULL") == [(2,)]


@pytest.mark.parametrize(("marked", "deleted", "withheld"), [(0, 2, 0), (8, 2, 0), (9, 0, 2)])
def test_the_guard_counts_what_earlier_chunks_marked_and_withholds_all_or_nothing(
    tenant: Tenant, marked: int, deleted: int, withheld: int
):
    gone = [{"id": st_id, "active": False} for st_id in (1, 2)]
    written = tenant.write(prepared(CUSTOMERS, *gone, gone=[1, 2], guard=DeletionGuard(0.0, 10, marked)))
    assert (written.counts.deleted, written.withheld) == (deleted, withheld)


def test_a_customer_that_moved_no_column_of_a_stream_renews_nobody(tenant: Tenant):
    streams = streams_of("customers")
    tenant.write(prepared(CUSTOMERS, {"id": 1, "name": "Ann", "balance": 1}))
    tenant.write(prepared(CUSTOMERS, {"id": 1, "name": "Ann", "balance": 2}, streams=streams))
    assert tenant.rows("SELECT * FROM stream_pending") == []
    tenant.write(prepared(CUSTOMERS, {"id": 1, "name": "Anna", "balance": 2}, streams=streams))
    assert tenant.rows("SELECT stream, key FROM stream_pending") == [("members_stream", 1)]


def test_the_invoices_of_a_customer_wait_with_those_of_all_it_was_merged_with(tenant: Tenant):
    """2 and 3 were merged into 1: whatever of the three changes its name renews the invoices of all."""
    merged = [{"id": 1, "name": "A"}, {"id": 2, "name": "B", "mergedToId": 1}, {"id": 3, "name": "C", "mergedToId": 1}]
    tenant.write(prepared(CUSTOMERS, *merged, {"id": 4, "name": "D"}))
    invoices = [{"id": 10 + of, "customer": {"id": of}} for of in (1, 2, 3, 4)]
    tenant.write(prepared(INVOICES, *invoices))
    tenant.write(prepared(CUSTOMERS, {**merged[1], "name": "Bee"}, streams=streams_of("customers")))
    waiting = tenant.rows("SELECT key FROM stream_pending WHERE stream = 'invoices_stream' ORDER BY 1")
    assert waiting == [(11,), (12,), (13,)]


def test_a_chunk_without_anything_only_extends_the_lease(tenant: Tenant):
    before = tenant.rows("SELECT expires_at FROM tenant_leases")
    written = tenant.write(PreparedChunk(spec=CUSTOMERS, received=0, pages=0, entity="customers", mode=Mode.FULL))
    assert written == WrittenChunk(Counts(), new_drift=[], refused=frozenset(), withheld=0)
    assert tenant.rows("SELECT expires_at FROM tenant_leases") > before
    assert tenant.log.id is None


def test_a_quiet_poll_that_changed_nothing_writes_its_cursor_and_no_row_of_the_log(tenant: Tenant):
    quiet = PreparedChunk(
        spec=CUSTOMERS, received=0, pages=1, entity="customers", mode=Mode.INCREMENTAL, always_logged=False,
        cursor={"continue_from": "token"},
    )  # fmt: skip
    tenant.write(quiet)
    assert (tenant.log.id, tenant.rows("SELECT continue_from FROM sync_cursors")) == (None, [("token",)])
