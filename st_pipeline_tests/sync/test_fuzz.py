"""Records and pages that nobody would think of, through decode, validation and a real Postgres.

Made by hypothesis for each entity of the registry; the same ones each time, unless FUZZ_EXAMPLES asks for so many new.
The lab makes twenty times as many.
"""

import json
import os
import re
import traceback
import uuid
import zlib
from collections.abc import Callable

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import InvalidApiResponseFormat, PipelineError
from st_pipeline.servicetitan.envelope import read_envelope
from st_pipeline.servicetitan.pages import Page
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.entity import write_pages
from st_pipeline.sync.prepare import Reading
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.entities.made_records import simulated_name
from st_pipeline_tests.entities.shapes import marks
from st_pipeline_tests.odd_records import GOOD_IDS, PRIVATE, good_record, odd_record

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
MANY = 200
ROWS_A_CHUNK = 5
SYNC_ID = uuid.UUID(int=1)
RECORDS_A_PAGE = 6
# What is read one by one. Of the lists of custom fields one: they differ in their address.
READ = {spec.read_as[0].name: spec.read_as[0] for spec in ENTITIES.values()}


def fuzzed(entity: str, examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of a fuzz test: other examples for each entity, the same in each run."""
    limits = settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=tuple(Phase) if EXAMPLES else (Phase.generate,),  # making a failure small takes minutes
    )
    if EXAMPLES:
        return limits
    return lambda function: seed(zlib.crc32(entity.encode()))(limits(function))


def pages_of(spec: EntitySpec) -> st.SearchStrategy[list[list[bytes]]]:
    """Two pages. Among odd records stand well-formed ones, each with an id of its own."""

    def placed(kinds: list[bool]) -> st.SearchStrategy[list[bytes]]:
        return st.tuples(
            *[good_record(spec, GOOD_IDS[place]) if good else odd_record(spec) for place, good in enumerate(kinds)]
        ).map(list)

    records = st.lists(st.booleans(), min_size=2, max_size=2 * RECORDS_A_PAGE).flatmap(placed)
    return records.map(lambda made: [made[: len(made) // 2], made[len(made) // 2 :]])


@pytest.mark.parametrize("examples", [10, pytest.param(MANY, marks=pytest.mark.lab)])
@pytest.mark.parametrize("entity", READ)
def test_every_record_ends_in_its_table_or_among_the_rejects_and_stops_nothing(
    make_work: Callable[..., EntityContext], entity: str, examples: int
):
    spec = READ[entity]

    @fuzzed(entity, examples)
    @given(pages_of(spec))
    def check(pages: list[list[bytes]]) -> None:
        work = make_work(spec, rows_per_chunk=ROWS_A_CHUNK)
        empty(work.connection, spec)
        received = [received_page(records) for records in pages]
        for number, records in enumerate(received, 1):
            page = Page(number, [msgspec.Raw(record) for record in records], has_more=False)
            write_pages(Reading(work), iter([page]))
        assert_nothing_lost(work, [record for records in received for record in records])

    check()


def received_page(records: list[bytes]) -> list[bytes]:
    """What the client makes of a page of these records; where that is no page, the records are written all the same."""
    body = b'{"hasMore":false,"continueFrom":"t","data":[' + b",".join(records) + b"]}"
    refused = ""
    try:
        records = [bytes(record) for record in read_envelope(body, "read page 1").data]
    except InvalidApiResponseFormat as error:
        refused = f"{error!r}{error}"
    assert not [private for private in PRIVATE if private in refused]
    return records


def assert_nothing_lost(work: EntityContext, records: list[bytes]) -> None:
    """Each record is a row or a reject, the well-formed ones are rows with every byte, and no reason tells data."""
    connection, spec, counts = work.connection, work.spec, work.result.counts
    with connection.begin():
        kept = connection.execute(text(f"SELECT st_id, full_data::text AS record FROM {spec.table}"))  # noqa: S608
        rows: dict[int | None, str] = {row.st_id: row.record for row in kept}
        rejects = connection.execute(
            text("SELECT st_id, record, array_to_string(reasons, ';') FROM sync_rejects")
        ).all()
    rejected_ids, rejected = {st_id for st_id, _, _ in rejects}, {bytes(record) for _, record, _ in rejects}
    for record in records:
        st_id = id_of(record)
        assert record in rejected or (st_id is not None and (st_id in rows or st_id in rejected_ids)), record
        if st_id in GOOD_IDS:
            assert (rows[st_id], st_id in rejected_ids) == (record.decode(), False)
    for _, _, reasons in rejects:
        assert reasons
        assert not [private for private in PRIVATE if private in reasons]
    assert counts.processed == len(records) == counts.successful + counts.failed
    assert min(counts.created, counts.updated, counts.unchanged, counts.failed) >= 0


def id_of(record: bytes) -> int | None:
    """The record's id as another JSON reader sees it; of an id given twice the last one counts."""
    try:
        value = json.loads(record.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError:
        return None
    st_id = value.get("id") if isinstance(value, dict) else None
    return st_id if type(st_id) is int and -(2**63) <= st_id < 2**63 else None


def empty(connection: Connection, spec: EntitySpec) -> None:
    """As if nothing had been synced."""
    with connection.begin():
        for table in (spec.table, "sync_rejects", "stream_pending", "sync_cursors"):
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - our own tables


class Spoiling(httpx.BaseTransport):
    """Passes answers of the simulator on, but for one page of an entity's records: that one is spoilt each time.

    Of what a full sync reads: where that is the list, its feed, whose address ends alike, only gives a token.
    """

    def __init__(self, spec: EntitySpec, number: int, spoil: Callable[[bytes], bytes]) -> None:
        self._real = httpx.HTTPTransport()
        read = spec.list_path if spec.is_read_from_list else str(spec.feed_path)
        self._path = re.compile(re.escape(read).replace(re.escape("{tenant}"), "[0-9]+"))
        self._number, self._spoil = number, spoil
        self._pages: list[bytes] = []
        self.delivered: set[int] = set()
        self.spoilt: set[int] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the simulator."""
        response = self._real.handle_request(request)
        if not self._path.fullmatch(request.url.path) or request.url.params.get("pageSize") == "1":
            return response
        if request.url.query not in self._pages:
            self._pages.append(request.url.query)
        body = response.read()
        ids = {record["id"] for record in json.loads(body)["data"]}
        if self._pages.index(request.url.query) + 1 != self._number:
            self.delivered |= ids
            return httpx.Response(200, stream=httpx.ByteStream(body))
        self.spoilt |= ids
        return httpx.Response(200, stream=httpx.ByteStream(self._spoil(body)))

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """One part of the envelope replaced; it must be there."""

    def replace(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return replace


SPOILT = {
    "data is null": replaced(b'"data":[', b'"data":null,"other":['),
    "data is an object": lambda body: replaced(b'"data":[', b'"data":{"Prv":[')(body).rpartition(b"]")[0] + b"]}}",
    "data is text": replaced(b'"data":[', b'"data":"Prv8675309","other":['),
    "data is missing": replaced(b'"data":[', b'"records":['),
    "hasMore is text": lambda body: body.replace(b'"hasMore":true', b'"hasMore":"Prv"').replace(
        b'"hasMore":false', b'"hasMore":"Prv"'
    ),
    "hasMore is null": lambda body: body.replace(b'"hasMore":true', b'"hasMore":null').replace(
        b'"hasMore":false', b'"hasMore":null'
    ),
    "hasMore is missing": replaced(b'"hasMore"', b'"hasmore"'),
    "the records without an envelope": lambda body: body[body.index(b"[") : body.rindex(b"]") + 1],
    "an error with status 200": lambda _: b'{"status":500,"title":"Prv 8675309","traceId":"00-Prv"}',
    "a page of HTML": lambda _: b"<html><body>Prv 8675309</body></html>",
    "nothing": lambda _: b"",
    "two pages": lambda body: body + body,
    "bytes that are no text": lambda body: b"\xff\xfe" + body,
    "a mark before it and cut": lambda body: b"\xef\xbb\xbf" + body[:-3],
    "brackets without end": lambda _: b'{"data":' + b"[" * 100_000,
}


# What a page is spoilt by, the client sees before it knows the entity.
SPOILT_READ = [pytest.param(spec.read_as[0].name, marks=marks(name)) for name, spec in ENTITIES.items()]


@pytest.mark.parametrize("entity", SPOILT_READ)
def test_a_spoilt_page_ends_in_an_error_that_names_it_writes_nothing_and_the_next_run_mends_it(acme: Acme, entity: str):
    """Cut bodies among them, at any byte."""
    spec = READ[entity]
    (whole,) = (one.name for one in ENTITIES.values() if spec in one.read_as)
    records_a_page = min(RECORDS_A_PAGE, len(acme.source.ids(simulated_name(entity))) // 2)
    acme.settings = acme.settings.model_copy(update={"max_attempts": 2, "list_page_size": records_a_page})
    acme.source.settings(export_page_size=records_a_page)
    kinds = st.sampled_from(sorted(SPOILT)).map(SPOILT.__getitem__)
    cuts = st.floats(0, 1, exclude_max=True).map(lambda share: lambda body: body[: int(len(body) * share)])

    @fuzzed(entity, 2)
    @given(kinds | kinds | cuts, st.integers(1, 2))
    def check(spoil: Callable[[bytes], bytes], number: int) -> None:
        with acme.engine.connect() as connection:
            empty(connection, spec)
        transport = Spoiling(spec, number, spoil)
        with acme.syncing(transport, only=(whole,), batch_size=2) as sync:
            (outcome,) = sync.entities()
        assert isinstance(outcome.error, PipelineError)
        for words in (entity, "tenant acme", f"page {number}: "):
            assert words in str(outcome.error)
        shown = "".join(traceback.format_exception(outcome.error)) + repr(outcome.error)
        assert not [private for private in PRIVATE if private in shown]
        written = {st_id for (st_id,) in acme.rows(f"SELECT st_id FROM {spec.table}")}  # noqa: S608
        assert transport.spoilt
        assert written <= transport.delivered
        assert acme.rows("SELECT * FROM sync_rejects") == []
        assert acme.sync(only=(whole,)).success
        assert [one for one in acme.differences() if one.startswith(f"{whole}: ")] == []

    check()
