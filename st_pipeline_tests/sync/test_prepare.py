"""A batch to a prepared chunk, without a server: the database and ServiceTitan are scripted at their edges."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import LeaseLost, ServiceUnavailable
from st_pipeline.postgres import cursors, rejects
from st_pipeline.protocol import Counts, DeletionGuard, Mode, Reject, WrittenChunk, record_hash
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.prepare import Reading, check, prepare_chunk
from st_pipeline_tests.entities.made_records import full_record
from st_pipeline_tests.sync.scripted_reading import CUSTOMERS, Source, Tables, held, reading, record


def test_what_the_table_holds_is_not_decoded_and_what_fails_is_a_reject():
    same, changed, bad = record(1), record(2, name="new"), record(3, name=5)
    tables = Tables(held=(held(same), held(record(2))))
    with reading(tables, cursor_field="continue_from") as read:
        chunk = prepare_chunk(read, Batch([same, changed, bad], token="page 2", pages=1))
    assert (list(chunk.ids), chunk.received, chunk.pages) == ([2], 3, 1)
    assert list(chunk.rows["name"]) == ["new"]
    assert (chunk.rows["full_data"], chunk.rows["record_hash"]) == ([changed], [record_hash(changed)])
    assert [(reject.st_id, reject.record) for reject in chunk.rejects] == [(3, bad)]
    assert (chunk.cursor, chunk.newest_modified_on) == ({"continue_from": "page 2"}, "2026-01-01T00:00:00Z")
    assert (chunk.older, list(chunk.seen), chunk.always_logged) == (0, [], True)
    assert chunk.guard == DeletionGuard(read.context.settings.deletion_guard_share, 10)
    assert [statement.split()[0] for statement in tables.statements] == ["SELECT"]


def test_a_first_load_is_checked_without_a_word_to_the_database():
    tables = Tables()
    with reading(tables, mode=Mode.FULL, table_was_empty=True) as read:
        checked = check(read, [record(1), record(2)])
        chunk = prepare_chunk(read, Batch([record(1), record(2)], pages=1), checked)
    assert checked.records
    assert chunk.records is checked.records  # not checked a second time
    assert (tables.statements, list(chunk.ids), chunk.table_was_empty, chunk.older) == ([], [1, 2], True, 0)


def test_inactive_records_are_looked_up_by_id_fifty_at_a_time_and_the_lease_is_extended_in_between():
    source, tables = Source(), Tables()
    with reading(tables, source) as read:
        chunk = prepare_chunk(read, Batch([record(st_id, active=False) for st_id in range(1, 121)], pages=1))
    assert [len(asked) for asked in source.asked] == [50, 50, 20]
    assert (list(chunk.gone), len(chunk.found)) == ([7, 70], 118)
    assert sum("UPDATE tenant_leases" in statement for statement in tables.statements) == 2


def test_no_request_is_sent_while_a_transaction_is_open():
    tables = Tables()
    source = Source(lambda: tables.is_open and pytest.fail("a request within a transaction"))
    with reading(tables, source) as read:
        prepare_chunk(read, Batch([record(st_id, active=False) for st_id in range(1, 121)], pages=1))
    assert len(source.asked) == 3


def test_a_lease_that_is_lost_between_two_look_ups_ends_the_chunk():
    source, tables = Source(), Tables(extensions=1)
    with reading(tables, source) as read, pytest.raises(LeaseLost):
        prepare_chunk(read, Batch([record(st_id, active=False) for st_id in range(1, 201)], pages=1))
    assert len(source.asked) == 2
    assert not [
        statement for statement in tables.statements if "tenant_leases" not in statement and "SELECT" not in statement
    ]


def test_look_ups_that_take_longer_than_a_request_with_all_its_tries_end_though_the_lease_is_extended():
    """10 s a request and two tries: 20 s. Each look-up takes 8."""
    seconds = [0.0]

    def slow() -> None:
        seconds[0] += 8

    source = Source(slow)
    with reading(Tables(), source, clock=lambda: seconds[0]) as read, pytest.raises(ServiceUnavailable) as caught:
        prepare_chunk(read, Batch([record(st_id, active=False) for st_id in range(1, 2001)], pages=1))
    assert len(source.asked) == 3
    for words in ("incremental sync of customers for tenant acme", "150 of 2000", "20 s", "not written"):
        assert words in str(caught.value)


@pytest.mark.parametrize("entity", ["customers", "tag_types", "job_types", "call_reasons", "customer_contacts"])
def test_inactive_records_are_looked_up_where_a_feed_shows_them_and_ids_may_be_asked_for(entity: str):
    """A contact's flag means removed; job types have no feed, tag types no look-up by id, call reasons neither."""
    source, spec = Source(), ENTITIES[entity]
    of = json.loads(full_record(spec, 1)) | {"id": 7}
    with reading(Tables(), source, spec=spec) as read:
        active = prepare_chunk(read, Batch([json.dumps(of | {"active": True}).encode()], pages=1))
        chunk = prepare_chunk(read, Batch([json.dumps(of | {"active": False}).encode()], pages=1))
    assert (list(active.ids), list(active.gone), list(chunk.ids)) == ([7], [], [7])
    assert (source.asked, list(chunk.gone)) == (([[7]], [7]) if entity == "customers" else ([], []))


def test_records_without_a_flag_are_not_looked_up():
    flagless = replace(CUSTOMERS, columns=tuple(column for column in CUSTOMERS.columns if column.name != "active"))
    with reading(Tables(), source := Source(), spec=flagless) as read:
        assert list(prepare_chunk(read, Batch([record(7, active=False)], pages=1)).ids) == [7]
    assert source.asked == []


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.WINDOW])
def test_only_an_incremental_sync_looks_inactive_records_up(mode: Mode):
    source = Source()
    with reading(Tables(), source, mode=mode) as read:
        chunk = prepare_chunk(read, Batch([record(1, active=False)], pages=1))
    assert (source.asked, list(chunk.gone), list(chunk.found)) == ([], [], [])


def test_a_record_with_an_open_reject_is_written_though_the_table_holds_it_and_its_reject_goes():
    same = record(1)
    tables = Tables(held=(held(same), held(record(2))))
    with reading(tables, open_rejects={1}) as read:
        chunk = prepare_chunk(read, Batch([same], pages=1))
        other = prepare_chunk(read, Batch([record(2)], pages=1))
    assert (list(chunk.ids), list(chunk.passed)) == ([1], [1])
    assert (list(other.ids), list(other.passed)) == ([], [])


def test_a_rewrite_writes_what_the_table_holds_as_well():
    with reading(Tables(held=(held(record(1)),)), mode=Mode.FULL, rewrite=True) as read:
        chunk = prepare_chunk(read, Batch([record(1)], pages=1))
    assert (list(chunk.ids), chunk.rewrite) == ([1], True)


def test_what_a_chunk_was_refused_is_known_to_the_next_one():
    with reading(Tables(), table_was_empty=True) as read:
        batch = Batch([record(1), record(2)], token="t", pages=1)
        chunk = prepare_chunk(read, batch)
        read.note(batch, chunk, WrittenChunk(Counts(processed=2, created=1, failed=1), (), frozenset({2}), 0))
        again = prepare_chunk(read, batch)
    assert (list(chunk.passed), list(again.passed), read.token) == ([], [2], "t")
    assert again.counts_before == Counts(processed=2, created=1, failed=1)


def test_a_full_sync_s_older_copy_wins_over_what_was_held_and_not_over_what_the_same_sync_has_shown():
    """Of 1 and 2 the table holds the same version; this sync has shown that of 1 before the older copies come."""
    older = [record(st_id, modifiedOn="2025-12-01T00:00:00Z") for st_id in (1, 2)]
    now = datetime(2026, 2, 1, tzinfo=UTC)
    with reading(Tables(held=(held(record(1)), held(record(2)))), mode=Mode.FULL, pass_began=now) as read:
        first = prepare_chunk(read, Batch([record(1)], pages=1))
        newer = prepare_chunk(read, Batch([record(1, modifiedOn="2026-03-01T00:00:00Z")], pages=1))
        second = prepare_chunk(read, Batch([*older, record(3, name="unreadable id: none"), b"{}"], pages=1))
    assert (list(first.ids), first.older) == ([], 0)
    assert (list(newer.ids), newer.older) == ([1], 0)
    assert (sorted(second.ids), second.older, len(second.rejects)) == ([2, 3], 1, 1)


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("is_first_load", [False, True])
def test_a_walk_of_the_whole_list_notes_every_id_that_can_be_read(remembers: bool, is_first_load: bool):
    tables = Tables(held=(held(record(1)),))
    with reading(tables, mode=Mode.FULL, remember_seen=remembers, table_was_empty=is_first_load) as read:
        chunk = prepare_chunk(read, Batch([record(1), record(2), record(3, name=5), b"{}"], pages=1))
    assert list(chunk.seen) == ([1, 2, 3] if remembers else [])
    assert list(chunk.ids) == ([1, 2] if is_first_load else [2])


@pytest.mark.parametrize(("field", "token"), [("continue_from", None), (None, "t"), (None, None)])
def test_no_cursor_is_saved_without_a_field_for_it_or_without_a_token(field: str | None, token: str | None):
    with reading(Tables(), cursor_field=field) as read:
        assert prepare_chunk(read, Batch([record(1)], token=token, pages=1)).cursor == {}


def test_a_quiet_poll_s_chunk_is_logged_only_if_it_finds_something():
    with reading(Tables(), quiet=True) as read:
        assert not prepare_chunk(read, Batch([record(1)], pages=1)).always_logged


def test_what_a_chunk_showed_is_told_by_the_sync_once_it_is_committed():
    odd = [record(1, name="a\u0000b", unheard=1), record(2, name=5), record(3, modifiedOn="2026-02-01T00:00:00Z")]
    with reading(Tables()) as read:
        one, other = Batch(odd, token="t", pages=1), Batch([record(4)], pages=1)
        first, second = prepare_chunk(read, one), prepare_chunk(read, other)
        (unheard,) = [drift for drift in first.drift if drift.field == "unheard"]
        read.note(one, first, WrittenChunk(Counts(processed=3, created=2, failed=1), (unheard,), withheld=4))
        read.note(other, second, WrittenChunk(Counts(processed=1, created=1), withheld=3))
    result = read.context.result
    assert result.counts == Counts(processed=4, created=3, failed=1)
    assert (result.drift, result.nul_records, result.withheld) == (first.drift + second.drift, 1, 7)
    assert result.notes == [f"seen for the first time: {unheard}"]
    assert (read.token, read.newest_modified_on, read.open_rejects) == ("t", "2026-02-01T00:00:00Z", {2})


def test_warnings_of_a_committed_chunk_are_told_by_the_sync():
    job = json.loads(full_record(ENTITIES["jobs"], 1)) | {"customerId": None}
    with reading(Tables(), spec=ENTITIES["jobs"]) as read:
        batch = Batch([json.dumps(job).encode()], pages=1)
        chunk = prepare_chunk(read, batch)
        read.note(batch, chunk, WrittenChunk(Counts(processed=1, created=1)))
    assert read.context.result.warnings == chunk.warnings
    assert sum(chunk.warnings.values()) == 1


def test_what_the_tables_hold_is_asked_once_with_the_first_records(make_work: Callable[..., EntityContext]):
    """Real tables, first empty, then with an open reject and a stream that was built before."""
    work = make_work(CUSTOMERS, Mode.INCREMENTAL)
    fresh = Reading(work)
    fresh.open()
    assert (fresh.is_open, fresh.table_was_empty, fresh.compares) == (True, True, False)
    assert (fresh.open_rejects, list(fresh.streams)) == (set(), [])
    with work.connection.begin():
        rejects.keep(work.connection, work.credential_id, "customers", [Reject(5, b"{}", ("why",))], None)
        cursors.save(work.connection, work.credential_id, "members_stream", last_full_at=cursors.NOW)
    fresh.open()
    assert fresh.open_rejects == set()
    again = Reading(work)
    prepare_chunk(again, Batch([record(1)], pages=1))
    assert (again.is_open, again.open_rejects, {stream for stream, _ in again.streams}) == (
        True,
        {5},
        {"members_stream"},
    )


def test_a_batch_without_records_asks_nothing_at_all():
    tables = Tables()
    with reading(tables, cursor_field="continue_from") as read:
        read.is_open = False
        chunk = prepare_chunk(read, Batch([], token="t", pages=1))
    assert (tables.statements, chunk.received, chunk.older, chunk.cursor) == ([], 0, 0, {"continue_from": "t"})
