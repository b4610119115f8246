"""Rejects are kept with their bytes, counted again, and gone when their record passes."""

from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import rejects
from st_pipeline.protocol import Reject
from st_pipeline_tests.postgres.conftest import OURS, THEIRS

FIRST = Reject(1, b'{"id":1}', ("too odd",))


def kept(connection: Connection, credential_id: int, columns: str = "st_id, record, reasons, times") -> list[Any]:
    query = text(f"SELECT {columns} FROM sync_rejects WHERE credential_id = :id ORDER BY entity, id")  # noqa: S608
    return [tuple(row) for row in connection.execute(query, {"id": credential_id})]


def test_a_reject_is_kept_once_and_counted_again(connection: Connection):
    rejects.keep(connection, OURS, "customers", [], None)
    rejects.keep(connection, OURS, "customers", [FIRST, Reject(1, b"newer", ("worse",))], None)
    assert kept(connection, OURS) == [(1, b"newer", ["worse"], 1)]
    connection.execute(text("UPDATE sync_rejects SET last_seen_at = '2026-01-01', first_seen_at = '2026-01-01'"))
    rejects.keep(connection, OURS, "customers", [FIRST, Reject(None, b"{}", ("no id",))], None)
    assert kept(connection, OURS, "last_seen_at > first_seen_at") == [(True,), (False,)]
    assert kept(connection, OURS) == [(1, b'{"id":1}', ["too odd"], 2), (None, b"{}", ["no id"], 1)]
    rejects.keep(connection, OURS, "customers", [Reject(None, b"{}", ("no id",))], 8)
    assert kept(connection, OURS, "times, sync_log_id") == [(2, None), (2, 8)]


def test_a_dismissed_reject_stays_so_until_its_bytes_are_others(connection: Connection):
    rejects.keep(connection, OURS, "customers", [FIRST], None)
    connection.execute(text("UPDATE sync_rejects SET dismissed_at = now()"))
    rejects.keep(connection, OURS, "customers", [Reject(1, FIRST.record, ("another reason",))], None)
    assert kept(connection, OURS, "dismissed_at IS NOT NULL, reasons") == [(True, ["another reason"])]
    rejects.keep(connection, OURS, "customers", [Reject(1, b"others", ("too odd",))], None)
    assert kept(connection, OURS, "dismissed_at") == [(None,)]


def test_what_failed_is_kept_and_what_passed_is_dropped_of_this_tenant_and_entity_alone(connection: Connection):
    for credential_id in (OURS, THEIRS):
        for entity in ("customers", "invoices"):
            rejects.keep(connection, credential_id, entity, [FIRST, Reject(2, b"2", ("odd",))], None)
    rejects.settle(connection, OURS, "customers", [Reject(3, b"3", ("odd",)), Reject(None, b"?", ("odd",))], [1], None)
    assert rejects.open_keys(connection, OURS, "customers") == {2, 3}
    assert rejects.open_keys(connection, OURS, "invoices") == {1, 2}
    assert rejects.open_keys(connection, THEIRS, "customers") == {1, 2}
    rejects.settle(connection, OURS, "customers", [], [], None)
    assert rejects.open_keys(connection, OURS, "customers") == {2, 3}


def test_records_that_the_table_does_not_hold_are_told_from_newer_versions_of_those_it_holds(connection: Connection):
    customers, columns = (
        ENTITIES["customers"],
        "credential_id, st_id, full_data, record_hash, spec_version, local_synced_at",
    )
    for credential_id, st_id in ((OURS, 1), (OURS, 4), (THEIRS, 2)):
        row = text(f"INSERT INTO st_customers ({columns}) VALUES (:of, :st_id, '{{}}', 0, 1, now())")  # noqa: S608 - constants
        connection.execute(row, {"of": credential_id, "st_id": st_id})
    for credential_id, entity, st_id in ((OURS, "customers", 1), (OURS, "customers", 2), (OURS, "invoices", 3),
                                         (THEIRS, "customers", 5)):  # fmt: skip
        rejects.keep(connection, credential_id, entity, [Reject(st_id, b"{}", ("odd",))], None)
    rejects.keep(connection, OURS, "customers", [Reject(None, b"?", ("no id",))], None)
    assert sorted(rejects.without_row(connection, customers, OURS), key=str) == [2, None]
