"""Claims: who is polled, in which order, never twice at once, and what a worker that dies leaves."""

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from st_pipeline.postgres import poll_claims
from st_pipeline.postgres.poll_claims import Claim, PollEnd
from st_pipeline.postgres.tenant_schedules import DEFAULT
from st_pipeline.tenants.schedule import Grid, next_poll

FIRST_TICK = datetime(2026, 1, 31, 6, 0, 3, tzinfo=UTC)  # a run takes a few seconds to begin
TICK = timedelta(minutes=5)
BUDGET_SECONDS = 150.0
GRID = Grid("*/5 * * * *", ZoneInfo("UTC"))
FILL = """
    WITH made AS (INSERT INTO companies (slug, name) SELECT 'company-' || n, 'Company'
                  FROM generate_series(1, :number) n RETURNING id)
    INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret, last_sync_at)
    SELECT id, 'production', id, 'x', 'x', now() FROM made
"""


@pytest.fixture
def due(engine: Engine) -> Callable[[int], Engine]:
    """So many tenants that were loaded, due since just before the first tick."""

    def fill(number: int) -> Engine:
        with engine.begin() as connection:
            connection.execute(text(FILL), {"number": number})
            assert poll_claims.include_loaded(connection) == number
            connection.execute(
                text("UPDATE tenant_polls SET due_at = :due"), {"due": FIRST_TICK - timedelta(seconds=3)}
            )
        return engine

    return fill


def claim(engine: Engine, now: datetime, limit: int = 1000, run: int = 1) -> list[Claim]:
    """What a worker claims at that time."""
    with engine.begin() as connection:
        return poll_claims.claim(
            connection, run_id=uuid.UUID(int=run), limit=limit, budget_seconds=BUDGET_SECONDS, now=now
        )


def end(engine: Engine, claims: list[Claim], now: datetime, run: int = 1) -> int:
    """Their polls have ended."""
    ends = [
        PollEnd(one.credential_id, next_poll(one.partition_key, DEFAULT, GRID, now), one.claimed_at) for one in claims
    ]
    with engine.begin() as connection:
        return poll_claims.ended(connection, uuid.UUID(int=run), ends)


def test_twenty_ticks_give_twenty_polls(due: Callable[[int], Engine]):
    """However long each took, as long as it ended before the next tick."""
    engine, polls = due(1), 0
    for number in range(20):
        tick = FIRST_TICK + number * TICK
        claims = claim(engine, tick)
        polls += len(claims)
        assert claim(engine, tick + timedelta(seconds=1), run=2) == []
        end(engine, claims, tick + timedelta(seconds=number * 15))
        assert claim(engine, tick + timedelta(seconds=number * 15 + 1), run=2) == []
    assert polls == 20


def test_a_worker_killed_after_its_claim_delays_a_tenant_by_two_ticks_at_most(due: Callable[[int], Engine]):
    engine = due(1)
    for seconds in (0, 60, 120, 200, 296):  # from the tick to the claim: the worker had others to poll first
        tick = FIRST_TICK + timedelta(seconds=seconds)
        (killed,) = claim(engine, tick, run=1)
        ticks = [number for number in (1, 2) if claim(engine, FIRST_TICK + number * TICK, run=2)]
        assert ticks, f"claimed {seconds} s after the tick"
        assert end(engine, [killed], FIRST_TICK + 2 * TICK) == 0  # what a dead worker still says counts for nothing
        with engine.begin() as connection:
            poll_claims.release(connection, uuid.UUID(int=2))


def test_only_the_end_of_a_poll_moves_the_time_at_which_a_tenant_is_due(due: Callable[[int], Engine]):
    engine = due(1)
    (claimed,) = claim(engine, FIRST_TICK)
    row = "SELECT due_at, claimed_until, polled_at FROM tenant_polls"
    with engine.connect() as connection:
        (found,) = connection.execute(text(row)).all()
    assert tuple(found) == (claimed.due_at, FIRST_TICK + timedelta(seconds=BUDGET_SECONDS + 60), None)
    assert end(engine, [claimed], FIRST_TICK + timedelta(seconds=10)) == 1
    with engine.connect() as connection:
        (found,) = connection.execute(text(row)).all()
    assert tuple(found) == (FIRST_TICK.replace(second=0) + TICK, None, FIRST_TICK)


def test_two_workers_never_claim_one_tenant_and_do_not_wait_for_each_other(due: Callable[[int], Engine]):
    """The first has not committed yet; the second takes the others at once."""
    engine = due(10)
    with engine.begin() as connection:
        mine = poll_claims.claim(connection, run_id=uuid.UUID(int=1), limit=4, budget_seconds=1, now=FIRST_TICK)
        connection.execute(text("SET LOCAL lock_timeout = '1ms'"))
        theirs = claim(engine, FIRST_TICK, run=2)
    assert len(mine) == 4
    assert len(theirs) == 6
    assert not {one.credential_id for one in mine} & {one.credential_id for one in theirs}


def test_many_workers_at_once_share_all_tenants_without_overlap(due: Callable[[int], Engine]):
    engine, taken = due(60), []

    def work(number: int) -> None:
        while claims := claim(engine, FIRST_TICK, limit=3, run=number):
            taken.extend(one.credential_id for one in claims)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 60


def test_the_longest_waiting_come_first(due: Callable[[int], Engine]):
    engine = due(4)
    first, second, third, fourth = (one.credential_id for one in claim(engine, FIRST_TICK))
    changes = [(first, 2, 0), (second, 3, 0), (third, 3, 1), (fourth, 3, None)]
    with engine.begin() as connection:
        poll_claims.release(connection, uuid.UUID(int=1))
        for credential_id, due_minutes_ago, polled_minutes_ago in changes:
            connection.execute(
                text("UPDATE tenant_polls SET due_at = :now - make_interval(mins => :due), "
                     "polled_at = :now - make_interval(mins => :polled) WHERE credential_id = :id"),
                {"id": credential_id, "due": due_minutes_ago, "polled": polled_minutes_ago, "now": FIRST_TICK},
            )  # fmt: skip
    in_turn = [claim(engine, FIRST_TICK, limit=1)[0].credential_id for _ in range(4)]
    assert in_turn == [fourth, third, second, first]


def test_what_was_claimed_and_not_polled_is_due_as_before(due: Callable[[int], Engine]):
    engine = due(3)
    claims = claim(engine, FIRST_TICK)
    end(engine, claims[:1], FIRST_TICK)
    with engine.begin() as connection:
        assert poll_claims.release(connection, uuid.UUID(int=1)) == 2
    assert claim(engine, FIRST_TICK) == claims[1:]


def test_a_poll_changes_its_row_where_it_stands(due: Callable[[int], Engine]):
    """A table of ten thousand rows that each poll updates twice stays small, as no index has to follow."""
    engine = due(50)
    for number in range(4):
        end(engine, claim(engine, FIRST_TICK + number * TICK), FIRST_TICK + number * TICK)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        updates, hot = connection.execute(
            text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'tenant_polls'")
        ).one()
    assert updates >= 400
    assert hot >= updates * 0.9
