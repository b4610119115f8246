"""While a transaction is open no request is sent and no record is decoded: a slow source would hold its locks."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event, text

import st_pipeline
from st_pipeline.postgres.database import open_engine
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.network import open_http_client
from st_pipeline.servicetitan.transport import no_tls
from st_pipeline_tests.acme import Acme

ROOM = Path(st_pipeline.__file__).parent
CLOSED_ROOMS = (str(ROOM / "servicetitan"), str(ROOM / "validation"))
ONLY = ("customers", "customer_contacts", "membership_types", "members_stream")
OPEN_TRANSACTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND xact_start IS NOT NULL AND backend_type = 'client backend'"
)


class Asking(httpx.BaseTransport):
    """The way to the simulator, on which each request first asks Postgres whether any session is in a transaction."""

    def __init__(self, engine: Engine) -> None:
        self.way = httpx.HTTPTransport()
        self.engine = open_engine(engine.url)
        self.observer = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.thread = threading.get_ident()  # another one may fetch and check ahead while this one writes
        self.requests: list[tuple[str, int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, note, send."""
        is_look_up = "ids" in request.url.params
        open_transactions = self.observer.execute(OPEN_TRANSACTIONS).scalar_one()
        if threading.get_ident() == self.thread:
            self.requests.append(("look-up" if is_look_up else "page", open_transactions))
        return self.way.handle_request(request)

    def close(self) -> None:
        """Both ends."""
        self.way.close()
        self.observer.close()
        self.engine.dispose()


@contextmanager
def rooms_entered_in_a_transaction(engine: Engine) -> Iterator[set[str]]:
    """The functions of the closed rooms that this thread calls while a transaction of its own is open."""
    found: set[str] = set()
    open_ones = [0]

    def begun(_connection: Any) -> None:
        open_ones[0] += 1

    def ended(_connection: Any) -> None:
        open_ones[0] -= 1

    def called(frame: FrameType, what: str, _argument: Any) -> None:
        if what == "call" and open_ones[0] and frame.f_code.co_filename.startswith(CLOSED_ROOMS):
            found.add(f"{Path(frame.f_code.co_filename).relative_to(ROOM)}: {frame.f_code.co_qualname}")

    listeners = (("begin", begun), ("commit", ended), ("rollback", ended))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    sys.setprofile(called)
    try:
        yield found
    finally:
        sys.setprofile(None)
        for name, listener in listeners:
            event.remove(engine, name, listener)


@pytest.fixture
def unhurried(acme: Acme) -> Acme:
    """Without pages fetched ahead: that thread may ask while Postgres writes the chunk before."""
    acme.settings = acme.settings.model_copy(update={"prefetch_pages": 0})
    return acme


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.INCREMENTAL])
def test_no_request_is_sent_and_no_record_decoded_while_a_transaction_is_open(unhurried: Acme, mode: Mode):
    """The first load, and a poll with changes, look-ups by id, soft deletes and the streams that come of them."""
    acme, source = unhurried, unhurried.source
    if mode is Mode.INCREMENTAL:
        acme.sync(only=ONLY)
        active = [one for one in source.ids("customers") if source.record("customers", one)["active"]]
        source.delete("customers", active[0])
        source.patch("customers", active[1], {"active": False})
        source.patch("customers", active[2], {"name": "changed"})
    transport = Asking(acme.engine)
    with acme.syncing(transport, only=ONLY) as sync, rooms_entered_in_a_transaction(acme.engine) as entered:
        outcomes = list(sync.entities())
    transport.close()
    assert [outcome.error for outcome in outcomes] == [None] * len(ONLY)
    assert [request for request in transport.requests if request[1]] == []
    assert entered == set()
    assert transport.requests
    if mode is Mode.INCREMENTAL:
        assert ("look-up", 0) in transport.requests
        counts = {outcome.entity: outcome.result.counts for outcome in outcomes}
        assert (counts["customers"].updated, counts["customers"].deleted) == (3, 1)
        assert counts["members_stream"].updated == 2


def test_a_transaction_that_is_left_open_is_seen(unhurried: Acme):
    """Without this the test above would pass when it saw nothing."""
    transport, engine = Asking(unhurried.engine), unhurried.engine
    with rooms_entered_in_a_transaction(engine) as entered, engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        open_http_client(no_tls(), transport).get(f"{unhurried.source.url}/connect/token")
    transport.close()
    assert transport.requests == [("page", 1)]
    assert "servicetitan/network.py: open_http_client" in entered
