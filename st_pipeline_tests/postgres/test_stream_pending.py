"""Which keys of a stream wait after a write of rows: all that it changes, and no others."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres import chunks, cursors, stream_pending
from st_pipeline.protocol import KeyLookup, Source
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline_tests.postgres.conftest import OURS, THEIRS

JOBS, CUSTOMERS = ENTITIES["jobs"], ENTITIES["customers"]
BY_ID = Source("jobs", keys=("st_id",))
BY_CUSTOMER = Source("jobs", facts=("job_number",), keys=("customer_id", "location_id"))
# The customers that a customer was merged into, at any distance.
SURVIVORS = KeyLookup(
    related=("SELECT merged_to_id FROM st_customers WHERE credential_id = :credential_id AND st_id = ANY(:ids)",),
    keys="SELECT st_id * 10 FROM st_customers WHERE credential_id = :credential_id AND st_id = ANY(:ids)",
)
BY_LOOKUP = Source("customers", facts=("name",), lookup=SURVIVORS)


def put(connection: Connection, credential_id: int, spec: EntitySpec, *records: dict[str, object]) -> None:
    valid = validate_chunk(spec, [json.dumps(record).encode() for record in records])
    assert not valid.rejects
    chunks.upsert(connection, spec, credential_id, chunks.with_bookkeeping(valid.columns, valid.hashes, valid.records))


def waiting(connection: Connection, credential_id: int, stream: str = "s") -> list[int]:
    return stream_pending.waiting(connection, credential_id, stream, 100)


def job(st_id: int, number: str, customer: int | None, location: int | None = None) -> dict[str, object]:
    return {"id": st_id, "jobNumber": number, "customerId": customer, "locationId": location}


def renews(connection: Connection, credential_id: int, source: Source, *records: dict[str, object]) -> list[int]:
    """The keys that wait after these records of jobs were written."""
    ids: Sequence[int] = [int(str(record["id"])) for record in records]
    with stream_pending.renewed(connection, credential_id, JOBS, [("s", source)], ids):
        put(connection, credential_id, JOBS, *records)
    found = waiting(connection, credential_id)
    stream_pending.forget(connection, credential_id, "s")
    return found


def test_keys_wait_once_lowest_first_until_they_are_taken_out(connection: Connection):
    for credential_id, stream in ((OURS, "s"), (OURS, "other"), (THEIRS, "s")):
        stream_pending.put(connection, credential_id, stream, {3, 1})
        stream_pending.put(connection, credential_id, stream, [2, 3])
        stream_pending.put(connection, credential_id, stream, [])
    assert stream_pending.waiting(connection, OURS, "s", 2) == [1, 2]
    assert stream_pending.take_out(connection, OURS, "s", [1, 3, 9]) == 2
    assert (waiting(connection, OURS), waiting(connection, OURS, "other")) == ([2], [1, 2, 3])
    stream_pending.forget(connection, OURS, "s")
    assert (waiting(connection, OURS), waiting(connection, OURS, "other")) == ([], [1, 2, 3])
    assert waiting(connection, THEIRS) == [1, 2, 3]


def test_where_a_row_is_the_record_every_write_of_it_renews_it(connection: Connection):
    assert renews(connection, OURS, BY_ID, job(1, "a", 7), job(2, "b", 7)) == [1, 2]
    assert renews(connection, OURS, BY_ID, job(2, "b", 7)) == [2]


def test_where_a_row_is_the_record_it_need_not_be_there_to_renew_it(connection: Connection):
    stream_pending.put_keys_of(connection, OURS, JOBS, [("s", BY_ID)], [99])
    assert waiting(connection, OURS) == [99]


def test_with_columns_that_matter_only_their_change_renews_the_row_s_record(connection: Connection):
    source = Source("jobs", facts=("job_number",), keys=("st_id",))
    assert renews(connection, OURS, source, job(1, "a", 7)) == [1]
    assert renews(connection, OURS, source, job(1, "a", 8)) == []
    assert renews(connection, OURS, source, job(1, "A", 8)) == [1]


def test_without_columns_that_matter_any_write_renews_the_keys_in_the_row(connection: Connection):
    source = Source("jobs", keys=("customer_id",))
    assert renews(connection, OURS, source, job(1, "a", 7)) == [7]
    assert renews(connection, OURS, source, job(1, "a", 7)) == [7]


def test_a_row_that_changed_or_moved_renews_the_keys_it_had_and_has(connection: Connection):
    put(connection, THEIRS, JOBS, job(1, "a", 99))
    assert renews(connection, OURS, BY_CUSTOMER, job(1, "a", 7), job(2, "b", None)) == [7]
    assert renews(connection, OURS, BY_CUSTOMER, {**job(1, "a", 7), "summary": "no fact"}, job(2, "b", None)) == []
    assert renews(connection, OURS, BY_CUSTOMER, job(1, "A", 7), job(2, "b", None, 20)) == [7, 20]
    assert renews(connection, OURS, BY_CUSTOMER, job(1, "A", 8, 21)) == [7, 8, 21]


def test_rows_that_were_marked_renew_the_records_they_are_part_of(connection: Connection):
    put(connection, OURS, JOBS, job(1, "a", 7), job(2, "b", 8))
    stream_pending.put_keys_of(connection, OURS, JOBS, [("s", BY_CUSTOMER), ("other", BY_ID)], [1])
    assert (waiting(connection, OURS), waiting(connection, OURS, "other")) == ([7], [1])
    stream_pending.put_keys_of(connection, OURS, JOBS, [("none", BY_CUSTOMER)], [])
    assert waiting(connection, OURS, "none") == []


def test_a_lookup_follows_related_rows_to_their_end_also_in_a_circle(connection: Connection):
    merged = [{"id": one, "name": "x", "mergedToId": other} for one, other in ((1, 2), (2, 3), (3, 1), (4, None))]
    put(connection, OURS, CUSTOMERS, *merged)
    put(connection, THEIRS, CUSTOMERS, {"id": 4, "name": "x", "mergedToId": 5}, {"id": 5, "name": "x"})
    stream_pending.put_keys_of(connection, OURS, CUSTOMERS, [("s", BY_LOOKUP)], [1])
    assert waiting(connection, OURS) == [10, 20, 30]
    assert stream_pending.looked_up(connection, OURS, SURVIVORS, [4]) == {40}


def test_only_streams_that_were_built_before_have_keys_that_wait(connection: Connection):
    cursors.save(connection, OURS, "s", last_full_at=cursors.NOW)
    cursors.save(connection, OURS, "unfinished", last_failed_at=cursors.NOW)
    cursors.save(connection, THEIRS, "other", last_full_at=cursors.NOW)
    streams = [("s", BY_ID), ("unfinished", BY_ID), ("other", BY_ID)]
    assert stream_pending.begun(connection, OURS, streams) == (("s", BY_ID),)
    assert stream_pending.begun(connection, OURS, ()) == ()
