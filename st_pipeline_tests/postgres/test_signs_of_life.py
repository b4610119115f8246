"""Leases, runs and scheduled work hold an advisory lock, and Postgres notices when the machine of one is lost."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from st_pipeline.postgres import leases, run_sessions
from st_pipeline.postgres.scheduled_work import only_one

TWO_MINUTES = 120
KEEPALIVES = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
SETTINGS = """
    SELECT array_agg(current_setting(name) ORDER BY number) FROM unnest(%s::text[]) WITH ORDINALITY t (name, number)
    WHERE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


@contextmanager
def of_a_lease(engine: Engine) -> Iterator[None]:
    """A tenant's lease."""
    with engine.connect() as connection:
        with connection.begin():
            connection.exec_driver_sql("INSERT INTO companies (slug, name, intacct_id) VALUES ('acme', 'Acme', 'INT')")
            connection.exec_driver_sql(
                "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
                "SELECT id, 'production', 1, 'x', 'x' FROM companies"
            )
            assert leases.take(connection, 1, "acme", "test", 600) is not None
        yield


@contextmanager
def of_a_run(engine: Engine) -> Iterator[None]:
    """A run whose sessions were cut, so that it has new ones."""
    run_sessions.hold_run_lock(engine, uuid.uuid4())
    engine.pool.dispose()
    with engine.connect():
        yield


@contextmanager
def of_a_run_that_begins(engine: Engine) -> Iterator[None]:
    """A run with the session it began with."""
    run_sessions.hold_run_lock(engine, uuid.uuid4())
    yield


@contextmanager
def of_a_command(engine: Engine) -> Iterator[None]:
    """Scheduled work."""
    with only_one(engine, "sync"):
        yield


@pytest.mark.parametrize("sign", [of_a_lease, of_a_run, of_a_run_that_begins, of_a_command])
def test_postgres_notices_within_two_minutes_that_its_machine_is_gone(
    engine: Engine, sign: Callable[[Engine], AbstractContextManager[None]]
):
    """Read back from the server's sockets of all connections that have an advisory lock."""
    opened: list[Any] = []
    event.listen(engine, "connect", lambda connection, _record: opened.append(connection))
    with sign(engine):
        alive = [connection for connection in opened if not connection.closed]
        found = [connection.execute(SETTINGS, [list(KEEPALIVES)]).fetchone()[0] for connection in alive]
        for connection in alive:
            connection.rollback()
    ((idle, interval, count, unanswered_milliseconds),) = [map(int, values) for values in found if values is not None]
    assert 0 < idle + interval * count < TWO_MINUTES
    assert 0 < unanswered_milliseconds / 1000 < TWO_MINUTES


def test_the_same_work_is_done_once_at_a_time_and_other_work_beside_it(engine: Engine):
    with only_one(engine, "poll") as first, only_one(engine, "poll") as second, only_one(engine, "full") as other:
        assert (first, second, other) == (True, False, True)
    with only_one(engine, "poll") as again:
        assert again
