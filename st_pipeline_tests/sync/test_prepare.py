"""A batch to a prepared chunk, without a server: the database and ServiceTitan are scripted at their edges."""

import gc
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import LeaseLost, ServiceUnavailable
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Counts, DeletionGuard, Mode, WrittenChunk, record_hash
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication
from st_pipeline.settings import Settings
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.prepare import Reading, check, checked_ahead, collector_paused, prepare_chunk

CUSTOMERS = ENTITIES["customers"]
JANUARY_US = 1767225600 * 1_000_000
GONE = {7, 70}  # what the source does not know by id


class Tables:
    """In the connection's place: what the table holds, and the lease until `extensions` of it are used up."""

    def __init__(self, held: tuple[tuple[Any, ...], ...] = (), extensions: int = 1000) -> None:
        self.held = held
        self.extensions = extensions
        self.is_open = False
        self.statements: list[str] = []

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A transaction, never within another."""
        assert not self.is_open
        self.is_open = True
        yield
        self.is_open = False

    def execute(self, statement: object, _bound: object = None) -> Any:
        """What it holds, to whatever query."""
        assert self.is_open
        self.statements.append(str(statement))
        if "tenant_leases" not in str(statement):
            return iter(self.held)
        self.extensions -= 1
        return _Extended(None if self.extensions < 0 else _Extended.Row())


class _Extended:
    class Row:
        reason = None

    def __init__(self, row: Row | None) -> None:
        self.one_or_none = lambda: row


class Source:
    """ServiceTitan: it knows every id but those that are gone. `on_request` is told of each look-up."""

    def __init__(self, on_request: Callable[[], None] = lambda: None) -> None:
        self.on_request = on_request
        self.asked: list[list[int]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        if request.url.path.endswith("/token"):
            return _json({"access_token": "t", "expires_in": 900, "token_type": "Bearer"})
        self.on_request()
        ids = [int(one) for one in request.url.params["ids"].split(",")]
        self.asked.append(ids)
        return _json({"hasMore": False, "page": 1, "data": [{"id": one} for one in ids if one not in GONE]})


def _json(body: object) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(body).encode()))


@contextmanager
def reading(
    tables: Tables,
    source: Source | None = None,
    *,
    mode: Mode = Mode.INCREMENTAL,
    clock: Callable[[], float] = lambda: 0.0,
    **options: Any,
) -> Iterator[Reading]:
    settings = Settings(rate_limit=Rate(1_000_000, 1), request_timeout_seconds=10, max_attempts=2)
    keys = {name: SecretStr(name) for name in ("client_id", "client_secret", "app_key")}
    authentication = TenantAuthentication(
        tenant="acme", environment="production", servicetitan_tenant_id=1, api_url="https://api.test",
        auth_url="https://auth.test/token", **keys,
    )  # fmt: skip
    with ServiceTitanClient(authentication, settings, transport=httpx.MockTransport(source or Source())) as client:
        context = EntityContext(
            tenant="acme",
            credential_id=1,
            connection=cast("Any", tables),
            lease=Lease(1, "acme", uuid.UUID(int=1), 600),
            log=SyncLog(1, "acme", uuid.UUID(int=1), "manual", mode, "customers"),
            settings=settings,
            mode=mode,
            spec=CUSTOMERS,
            client=client,
            clock=clock,
        )
        yield Reading(context, is_open=True, **options)


def record(st_id: int, **values: Any) -> bytes:
    return json.dumps({"id": st_id, "active": True, "modifiedOn": "2026-01-01T00:00:00Z", **values}).encode()


def held(body: bytes) -> tuple[int, int, int, int]:
    return json.loads(body)["id"], JANUARY_US, record_hash(body), CUSTOMERS.version


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
    assert chunk.guard == DeletionGuard(read.context.settings.deletion_guard_share, 10)
    assert [statement.split()[0] for statement in tables.statements] == ["SELECT"]


def test_a_first_load_is_checked_without_a_word_to_the_database():
    tables = Tables()
    with reading(tables, mode=Mode.FULL, table_was_empty=True) as read:
        checked = check(read, [record(1), record(2)])
        chunk = prepare_chunk(read, Batch([record(1), record(2)], pages=1), checked)
    assert (tables.statements, list(chunk.ids), chunk.table_was_empty) == ([], [1, 2], True)


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


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.WINDOW])
def test_only_an_incremental_sync_looks_inactive_records_up(mode: Mode):
    source = Source()
    with reading(Tables(), source, mode=mode) as read:
        chunk = prepare_chunk(read, Batch([record(1, active=False)], pages=1))
    assert (source.asked, list(chunk.gone), list(chunk.found)) == ([], [], [])


def test_a_record_with_an_open_reject_is_written_though_the_table_holds_it_and_its_reject_goes():
    same = record(1)
    tables = Tables()
    with reading(tables, open_rejects={1}) as read:
        chunk = prepare_chunk(read, Batch([same], pages=1))
    assert (list(chunk.ids), list(chunk.passed)) == ([1], [1])


def test_what_a_chunk_was_refused_is_known_to_the_next_one():
    with reading(Tables(), table_was_empty=True) as read:
        batch = Batch([record(1), record(2)], token="t", pages=1)
        chunk = prepare_chunk(read, batch)
        read.note(batch, chunk, WrittenChunk(Counts(processed=2, created=1, failed=1), (), frozenset({2}), 0))
        again = prepare_chunk(read, batch)
    assert (list(chunk.passed), list(again.passed), read.token) == ([], [2], "t")
    assert again.counts_before == Counts(processed=2, created=1, failed=1)


def test_a_batch_without_records_asks_nothing_at_all():
    tables = Tables()
    with reading(tables, cursor_field="continue_from") as read:
        read.is_open = False
        chunk = prepare_chunk(read, Batch([], token="t", pages=1))
    assert (tables.statements, chunk.received, chunk.cursor) == ([], 0, {"continue_from": "t"})


@pytest.mark.parametrize("is_first_load", [True, False])
def test_only_a_first_load_checks_the_next_batch_while_this_one_is_written(is_first_load: bool):
    third_came = threading.Event()

    def batches() -> Iterator[Batch]:
        yield Batch([record(1)], pages=1)
        yield Batch([record(2)], pages=1)
        third_came.set()
        yield Batch([record(3)], pages=1)

    with reading(Tables(), table_was_empty=is_first_load) as read:
        ahead = checked_ahead(read, batches())
        assert next(ahead) == (Batch([record(1)], pages=1), None)
        batch, checked = next(ahead)
        assert (batch.records, checked is not None) == ([record(2)], is_first_load)
        assert third_came.wait(10 if is_first_load else 0) is is_first_load  # while batch 2 would be written
        assert [list(prepare_chunk(read, *one).ids) for one in ahead] == [[3]]


def test_an_error_of_the_source_comes_after_the_batches_before_it():
    def batches() -> Iterator[Batch]:
        yield Batch([record(1)])
        yield Batch([record(2)])
        raise ServiceUnavailable("page 3 does not come")

    with reading(Tables(), table_was_empty=True) as read:
        ahead = checked_ahead(read, batches())
        assert [next(ahead)[0].records, next(ahead)[0].records] == [[record(1)], [record(2)]]
        with pytest.raises(ServiceUnavailable):
            next(ahead)


def test_pages_that_fill_no_batch_do_not_keep_the_next_batch_waiting():
    """They only say that the source is at work, which nobody needs to hear while a chunk is written."""
    filled = threading.Event()

    def batches() -> Iterator[Batch]:
        yield Batch([record(1)])
        yield Batch([record(2)])
        yield from [Batch([])] * 3
        filled.set()
        yield Batch([record(3)])

    with reading(Tables(), table_was_empty=True) as read, closing(checked_ahead(read, batches())) as ahead:
        assert [next(ahead)[0].records, next(ahead)[0].records] == [[record(1)], [record(2)]]
        assert filled.wait(10)  # while batch 2 would be written
        assert [batch.records for batch, _ in ahead if batch.records] == [[record(3)]]


def test_whoever_stops_early_stops_the_thread():
    given: list[int] = []

    def batches() -> Iterator[Batch]:
        for number in range(1, 100):
            given.append(number)
            yield Batch([record(number)])

    with reading(Tables(), table_was_empty=True) as read:
        with closing(checked_ahead(read, batches())) as ahead:
            next(ahead), next(ahead)
        ended = len(given)
        assert ended <= 4
        assert not [thread for thread in threading.enumerate() if thread.name == "fetch-ahead"]
    assert len(given) == ended


def test_the_collector_is_on_again_when_the_last_of_two_pauses_ends():
    assert gc.isenabled()
    first, second = collector_paused(), collector_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()  # the second thread's chunk is still being checked
    second.__exit__(None, None, None)
    assert gc.isenabled()
