"""Which rows are marked as deleted, and which lose the mark; another tenant's rows never."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres import chunks, soft_deletes
from st_pipeline.protocol import DeletionGuard, Mode, PreparedChunk
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline_tests.postgres.conftest import OURS, THEIRS

CUSTOMERS, CONTACTS = ENTITIES["customers"], ENTITIES["customer_contacts"]
ROW_IDS = (1, 2, 3, 4)


@dataclass
class Tables:
    """Customers and contacts 1 to 4 of two tenants. Contact 4 says of itself that it was removed."""

    connection: Connection

    def put(self, spec: EntitySpec, credential_id: int) -> None:
        """Write the rows."""
        records = [json.dumps({"id": st_id, "active": st_id != max(ROW_IDS)}).encode() for st_id in ROW_IDS]
        valid = validate_chunk(spec, records)
        rows = chunks.with_bookkeeping(valid.columns, valid.hashes, valid.records)
        chunks.copy_first_rows(self.connection, spec, credential_id, rows)

    def marked(self, spec: EntitySpec, credential_id: int = OURS) -> list[int]:
        """The ids that are marked as deleted."""
        query = f"SELECT st_id FROM {spec.table} WHERE credential_id = :id AND deleted_at IS NOT NULL ORDER BY 1"  # noqa: S608
        return list(self.connection.execute(text(query), {"id": credential_id}).scalars())

    def mark(self, spec: EntitySpec, *ids: int, of: int = OURS) -> None:
        """Mark rows as deleted."""
        assert soft_deletes.mark_deleted(self.connection, spec, of, ids) == len(ids)


@pytest.fixture
def tables(connection: Connection) -> Tables:
    made = Tables(connection)
    for spec in (CUSTOMERS, CONTACTS):
        for credential_id in (OURS, THEIRS):
            made.put(spec, credential_id)
    return made


def chunk(spec: EntitySpec, **more: Any) -> PreparedChunk:
    rows = {"st_id": list(ROW_IDS)}
    return PreparedChunk(
        spec=spec, received=4, pages=1, rows=rows, records=[], entity=spec.name, mode=Mode.INCREMENTAL, **more
    )


def test_absent_is_what_the_list_did_not_show_and_is_not_marked_yet(tables: Tables):
    tables.mark(CUSTOMERS, 3)
    soft_deletes.remember_seen(tables.connection, OURS, "customers", [1, 1])
    soft_deletes.remember_seen(tables.connection, OURS, "customers", [1, 9])
    soft_deletes.remember_seen(tables.connection, THEIRS, "customers", [2])
    soft_deletes.remember_seen(tables.connection, OURS, "locations", [4])
    assert soft_deletes.absent_ids(tables.connection, CUSTOMERS, OURS) == [2, 4]
    soft_deletes.forget_seen(tables.connection, OURS, "customers")
    assert soft_deletes.absent_ids(tables.connection, CUSTOMERS, OURS) == [1, 2, 4]
    assert tables.connection.execute(text("SELECT entity, st_id FROM seen_ids WHERE credential_id = 1")).all() == [
        ("locations", 4)
    ]
    assert soft_deletes.absent_ids(tables.connection, CUSTOMERS, THEIRS) == [1, 3, 4]


def test_where_its_flag_means_removed_a_row_is_absent_though_the_list_showed_it(tables: Tables):
    soft_deletes.remember_seen(tables.connection, OURS, "customer_contacts", ROW_IDS)
    assert soft_deletes.absent_ids(tables.connection, CONTACTS, OURS) == [4]


def test_live_rows_are_those_of_the_tenant_that_are_not_marked(tables: Tables):
    tables.mark(CUSTOMERS, 1)
    tables.mark(CUSTOMERS, 1, 2, 3, of=THEIRS)
    assert soft_deletes.live_rows(tables.connection, CUSTOMERS, OURS) == 3


def created(tables: Tables, spec: EntitySpec, *days: str | None) -> None:
    """Let our rows have been created on these days, the first row on the first."""
    for st_id, day in zip(ROW_IDS, days, strict=True):
        query = f"UPDATE {spec.table} SET created_on = :day WHERE credential_id = :id AND st_id = :st_id"  # noqa: S608
        created_on = None if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)
        tables.connection.execute(text(query), {"day": created_on, "id": OURS, "st_id": st_id})


def test_a_tenant_s_rows_are_counted_with_the_newest_creation_of_those_that_are_live(tables: Tables):
    created(tables, CUSTOMERS, "2026-01-01", "2026-01-03", "2026-01-02", "2026-01-09")
    tables.mark(CUSTOMERS, 4)
    tables.mark(CUSTOMERS, 1, 2, 3, of=THEIRS)
    held = soft_deletes.held(tables.connection, CUSTOMERS, OURS)
    assert held == soft_deletes.Held(3, 1, 0, datetime(2026, 1, 3, tzinfo=UTC))


def test_the_newest_creation_is_unknown_when_a_live_row_does_not_tell_its_own(tables: Tables):
    created(tables, CUSTOMERS, None, "2026-01-03", None, "2026-01-09")
    tables.mark(CUSTOMERS, 1)
    assert soft_deletes.held(tables.connection, CUSTOMERS, OURS).newest is None
    tables.mark(CUSTOMERS, 3)
    assert soft_deletes.held(tables.connection, CUSTOMERS, OURS).newest == datetime(2026, 1, 9, tzinfo=UTC)


def test_contacts_that_say_they_were_removed_and_are_not_marked_are_counted_apart(tables: Tables):
    assert soft_deletes.held(tables.connection, CONTACTS, OURS) == soft_deletes.Held(4, 0, 1, None)
    tables.mark(CONTACTS, 4)
    assert soft_deletes.held(tables.connection, CONTACTS, OURS) == soft_deletes.Held(3, 1, 0, None)


def test_rows_that_are_not_active_are_found_by_when_they_were_written_with_those_that_are_marked(tables: Tables):
    written = text("UPDATE st_customers SET local_synced_at = :at, active = :active WHERE st_id = :st_id")
    for st_id, (day, active) in enumerate(((1, False), (2, False), (3, None), (3, True)), 1):
        tables.connection.execute(written, {"at": datetime(2026, 1, day, tzinfo=UTC), "active": active, "st_id": st_id})
    tables.mark(CUSTOMERS, 2)
    find = partial(soft_deletes.inactive_rows, tables.connection, CUSTOMERS, OURS)
    assert find(None) == ([1, 2, 3], {2})
    assert find(datetime(2026, 1, 2, tzinfo=UTC)) == ([2, 3], {2})
    assert find(datetime(2026, 1, 3, tzinfo=UTC)) == ([3], set())


def test_a_row_is_marked_and_unmarked_once(tables: Tables):
    mark, unmark = soft_deletes.mark_deleted, soft_deletes.unmark
    assert (mark(tables.connection, CUSTOMERS, OURS, []), unmark(tables.connection, CUSTOMERS, OURS, [])) == (0, 0)
    assert [mark(tables.connection, CUSTOMERS, OURS, [1, 2, 9]) for _ in range(2)] == [2, 0]
    assert (tables.marked(CUSTOMERS), tables.marked(CUSTOMERS, THEIRS)) == ([1, 2], [])
    tables.mark(CUSTOMERS, 1, of=THEIRS)
    assert [unmark(tables.connection, CUSTOMERS, OURS, [1, 3]) for _ in range(2)] == [1, 0]
    assert (tables.marked(CUSTOMERS), tables.marked(CUSTOMERS, THEIRS)) == ([2], [1])


def test_what_the_list_shows_again_loses_its_mark_unless_its_flag_says_removed(tables: Tables):
    for spec in (CUSTOMERS, CONTACTS):
        tables.mark(spec, 1, 2, 4)
        tables.mark(spec, 1, of=THEIRS)
        soft_deletes.remember_seen(tables.connection, OURS, spec.name, [1, 3, 4])
    soft_deletes.remember_seen(tables.connection, THEIRS, "customers", [1])
    assert sorted(soft_deletes.unmark_returned(tables.connection, CUSTOMERS, OURS)) == [1, 4]
    assert soft_deletes.unmark_returned(tables.connection, CONTACTS, OURS) == [1]
    assert (tables.marked(CUSTOMERS), tables.marked(CONTACTS)) == ([2], [2, 4])
    assert (tables.marked(CUSTOMERS, THEIRS), tables.marked(CONTACTS, THEIRS)) == ([1], [1])
    assert soft_deletes.unmark_returned(tables.connection, CONTACTS, THEIRS) == []


def test_of_some_rows_those_that_are_not_marked_are_told_or_those_that_say_they_were_removed(tables: Tables):
    tables.mark(CONTACTS, 1)
    assert sorted(soft_deletes.unmarked(tables.connection, CONTACTS, OURS, [1, 2, 4, 9])) == [2, 4]
    assert soft_deletes.unmarked(tables.connection, CONTACTS, OURS, ROW_IDS, inactive=True) == [4]
    tables.mark(CONTACTS, 4)
    assert soft_deletes.unmarked(tables.connection, CONTACTS, OURS, ROW_IDS, inactive=True) == []
    assert soft_deletes.unmarked(tables.connection, CONTACTS, THEIRS, [1]) == [1]


def test_a_chunk_marks_what_the_source_does_not_know_and_unmarks_what_it_knows(tables: Tables):
    tables.mark(CUSTOMERS, 3)
    made = chunk(CUSTOMERS, gone=[1, 9], found=[2, 3])
    assert soft_deletes.mark_chunk(tables.connection, OURS, made) == (1, 0)
    assert tables.marked(CUSTOMERS) == [1]
    assert soft_deletes.mark_chunk(tables.connection, OURS, chunk(CUSTOMERS)) == (0, 0)


def test_a_chunk_of_contacts_marks_what_the_table_says_was_removed(tables: Tables):
    assert soft_deletes.mark_chunk(tables.connection, OURS, chunk(CONTACTS)) == (1, 0)
    assert (tables.marked(CONTACTS), tables.marked(CONTACTS, THEIRS)) == ([4], [])


@pytest.mark.parametrize(
    ("guard", "done"),
    [
        (DeletionGuard(0.0, 2), (2, 0)),  # few enough, whatever their share
        (DeletionGuard(0.0, 1), (0, 2)),
        (DeletionGuard(0.5, 1), (2, 0)),  # 2 of 4 live rows
        (DeletionGuard(0.5, 1, marked=1), (0, 2)),
        (DeletionGuard(0.0, 2, marked=1), (0, 2)),
        (DeletionGuard(0.0, 2, withheld=1), (0, 2)),
        (DeletionGuard(0.0, 3, marked=1), (2, 0)),
    ],
)
def test_more_than_the_guard_allows_are_withheld_all_of_them(
    tables: Tables, guard: DeletionGuard, done: tuple[int, int]
):
    assert soft_deletes.mark_chunk(tables.connection, OURS, chunk(CUSTOMERS, gone=[1, 2], guard=guard)) == done
    assert tables.marked(CUSTOMERS) == ([1, 2] if done[0] else [])
