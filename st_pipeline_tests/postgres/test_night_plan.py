"""The night's plan in Postgres: who is planned, who is claimed next, what a claim that ended leaves."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.postgres import night_plan
from st_pipeline.postgres.night_plan import Claim
from st_pipeline.settings import Settings
from st_pipeline.tenants.night_plan import plan_night
from st_pipeline_tests.postgres.test_poll_claims import FILL

NIGHT = date(2026, 3, 14)
TWO = datetime(2026, 3, 14, 7, tzinfo=UTC)
RUN, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
TENANTS = 12


@pytest.fixture
def runs(engine: Engine) -> Iterator[Connection]:
    """The session of the runs, all of which have the same sign of life."""
    with engine.connect() as session:
        session.execute(text("SELECT pg_advisory_lock_shared(session_key(:run))"), {"run": RUN})
        yield session
        session.invalidate()


@pytest.fixture
def planned(engine: Engine, settings: Settings, runs: Connection) -> Engine:  # noqa: ARG001 - they live
    """Tenants that were synced once, with a plan."""
    with engine.begin() as connection:
        connection.execute(text(FILL), {"number": TENANTS})
        assert plan_night(connection, settings, TWO) == TENANTS
    return engine


@pytest.fixture
def connection(planned: Engine) -> Iterator[Connection]:
    """A transaction in which they are claimed."""
    with planned.begin() as connection:
        yield connection


def claimed(connection: Connection, run: uuid.UUID = RUN) -> Claim:
    claim = night_plan.claim(connection, run, 600)
    assert claim is not None
    return claim


def given_back(connection: Connection, claim: Claim, *, has_ended: bool, pause_seconds: float | None = None) -> None:
    failed = ["invoices"] if pause_seconds is not None else []
    assert night_plan.release(
        connection,
        claim.credential_id,
        RUN,
        took_seconds=30,
        has_ended=has_ended,
        failed=failed,
        pause_seconds=pause_seconds,
    )


def test_the_plan_is_made_once_a_night(connection: Connection, settings: Settings):
    """A daemon that dies in the middle of a tick evaluates it once more."""
    claim = claimed(connection)
    assert plan_night(connection, settings, TWO) == 0
    assert claimed(connection).credential_id != claim.credential_id


def test_workers_at_the_same_time_claim_every_tenant_once(planned: Engine):
    def work(run: int) -> list[int]:
        found = []
        while True:
            with planned.begin() as connection:
                claim = night_plan.claim(connection, uuid.UUID(int=run), 600)
            if claim is None:
                return found
            found.append(claim.credential_id)

    with ThreadPoolExecutor(4) as pool:
        claimed = [st_id for found in pool.map(work, range(1, 5)) for st_id in found]
    assert len(claimed) == len(set(claimed)) == TENANTS


def test_a_claim_that_ran_out_goes_to_the_next_worker_with_what_it_had_done(connection: Connection):
    claim = claimed(connection)
    night_plan.entity_done(connection, claim.credential_id, RUN, "customers")
    connection.execute(text("UPDATE night_plan SET claimed_until = now() - interval '1 s' WHERE claimed_by = :run"),
                       {"run": RUN})  # fmt: skip
    again = claimed(connection, OTHER)
    assert (again.credential_id, again.done) == (claim.credential_id, {"customers"})
    night_plan.entity_done(connection, claim.credential_id, RUN, "jobs")  # the first worker is alive after all
    assert not night_plan.release(connection, claim.credential_id, RUN, took_seconds=1, has_ended=True)
    assert night_plan.load(connection)[0].done == ["customers"]


def test_the_claim_of_a_run_that_died_is_free_at_once(connection: Connection, runs: Connection):
    """It held its tenant for 16 minutes."""
    claim = claimed(connection)
    assert claimed(connection, OTHER).credential_id != claim.credential_id
    runs.invalidate()  # its session is gone
    give_up_at = time.monotonic() + 10
    while night_plan.number_waiting(connection) < TENANTS:
        assert time.monotonic() < give_up_at
    assert claimed(connection, OTHER).credential_id == claim.credential_id


def test_what_has_ended_is_not_claimed_again_and_what_failed_only_after_its_pause(connection: Connection):
    first, second = claimed(connection), claimed(connection)
    given_back(connection, first, has_ended=True)
    given_back(connection, second, has_ended=False, pause_seconds=600)
    assert night_plan.number_waiting(connection) == TENANTS - 2
    connection.execute(text("UPDATE night_plan SET not_before = now()"))
    assert (claimed(connection).credential_id, night_plan.number_waiting(connection)) == (
        second.credential_id,
        TENANTS - 2,
    )


def test_the_next_night_expects_what_this_one_took_and_begins_with_what_it_left(
    connection: Connection, settings: Settings
):
    first, second, third = (claimed(connection) for _ in range(3))
    given_back(connection, first, has_ended=True)
    night_plan.entity_done(connection, second.credential_id, RUN, "customers")
    given_back(connection, second, has_ended=False)
    given_back(connection, third, has_ended=True)
    connection.execute(text("UPDATE night_plan SET ended_at = now() WHERE took_seconds = 0"))
    assert plan_night(connection, settings, TWO.replace(day=15)) == TENANTS
    left_over = claimed(connection)
    assert (left_over.credential_id, left_over.night, left_over.done) == (second.credential_id, NIGHT, {"customers"})
    planned = night_plan.load(connection)
    assert [planned[place].expected_seconds for place in (0, -2, -1)] == [30.0] * 3
    assert {one.night for one in planned[1:]} == {NIGHT.replace(day=15)}
    assert all(not one.done and one.tries == 0 and one.ended_at is None for one in planned[1:])


OUT_OF_THE_NIGHT = {
    "disabled": "UPDATE servicetitan_credentials SET enabled = false",
    "never loaded": "UPDATE servicetitan_credentials SET last_sync_at = NULL",
    "paused": "INSERT INTO tenant_schedules (credential_id, paused_at) SELECT id, now() FROM servicetitan_credentials",
    "no nightly full": "INSERT INTO tenant_schedules (credential_id, nightly_full) "
    "SELECT id, false FROM servicetitan_credentials",
}
NOT_NOW = {
    "everything is off": "INSERT INTO switches (scope, name) VALUES ('everything', '')",
    "companies are off": "INSERT INTO switches (scope, name) SELECT 'company', slug FROM companies",
    "the API is down": "INSERT INTO api_pauses VALUES ('production', now() + interval '1 h', 1, 'no usable answer')",
}


@pytest.mark.parametrize("why", [*OUT_OF_THE_NIGHT, *NOT_NOW])
def test_who_may_not_be_synced_is_not_claimed_and_may_be_planned_for_later(
    connection: Connection, settings: Settings, why: str
):
    """Each claim asks anew. What is off at two may be on again at three."""
    connection.execute(text((OUT_OF_THE_NIGHT | NOT_NOW)[why]))
    assert (night_plan.claim(connection, RUN, 600), night_plan.number_waiting(connection)) == (None, 0)
    assert plan_night(connection, settings, TWO.replace(day=15)) == (TENANTS if why in NOT_NOW else 0)
