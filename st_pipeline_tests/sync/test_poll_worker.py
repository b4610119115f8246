"""A worker's loop: whom it polls when, what a slow tenant holds up, what is left when it ends early."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from st_pipeline.errors import DatabaseUnavailable
from st_pipeline.postgres import poll_claims, poll_figures
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.servicetitan.deadline import Deadline
from st_pipeline.settings import Settings
from st_pipeline.sync.poll_worker import PollWorker
from st_pipeline.sync.polling import TenantPoll
from st_pipeline.tenants.schedule import half_of
from st_pipeline_tests.postgres.test_poll_claims import FILL

RUN = uuid.UUID(int=1)
FREE = "SELECT count(*) FROM tenant_polls WHERE claimed_until IS NULL"


@pytest.fixture
def thirty(engine: Engine) -> Engine:
    """Thirty tenants that are due."""
    with engine.begin() as connection:
        connection.execute(text(FILL), {"number": 30})
    return engine


def worker(engine: Engine, settings: Settings, poll: Any, **options: Any) -> PollWorker:
    """One that polls four tenants at a time, in this way. They are due again in two to three minutes, not at once."""
    every_five_minutes = f"{(datetime.now(UTC).minute + 3) % 5}-59/5 * * * *"
    few = settings.model_copy(update={"poll_threads": 4, "incremental_cron": every_five_minutes})
    return PollWorker(engine, few, RUN, poll=poll, sleep=lambda _seconds: None, **options)


def quickly(_engine: Engine, _settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
    """Polls that find nothing."""
    for claim in claims:
        yield TenantPoll(claim, all_feeds_answered=True)


def value(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def test_every_tenant_that_is_due_is_polled_once(thirty: Engine, settings: Settings):
    polled = [poll.claim.credential_id for poll in worker(thirty, settings, quickly).polls()]
    assert len(polled) == len(set(polled)) == 30
    assert value(thirty, f"{FREE} AND due_at > now() AND polled_at < now()") == 30
    assert list(worker(thirty, settings, quickly).polls()) == []


def test_a_slow_tenant_holds_up_no_other_batch(thirty: Engine, settings: Settings):
    """The first tenant of all ends when every other one has been polled; its batch polls in threads."""
    others_done, slow = threading.Event(), []

    def poll(_engine: Engine, _settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
        if not slow:
            slow.append(claims[0])
            claims = [*claims[1:], claims[0]]
        for claim in claims:
            assert claim not in slow or others_done.wait(20)
            yield TenantPoll(claim)

    polled = []
    for one in worker(thirty, settings, poll).polls():
        polled.append(one.claim)
        if len(polled) == 29:
            others_done.set()
    assert len({claim.credential_id for claim in polled}) == 30
    assert polled[-1:] == slow


def test_after_the_deadline_nobody_is_claimed_and_what_was_not_begun_is_due_as_before(
    thirty: Engine, settings: Settings
):
    clock = iter(range(1000))
    deadline = Deadline(20, "a run may take 900 s", lambda: float(next(clock)))

    def poll(engine: Engine, settings: Settings, claims: Sequence[Claim], **how: Any) -> Iterator[TenantPoll]:
        yield from (one for one in quickly(engine, settings, claims) if not how["deadline"].has_passed)

    polled = list(worker(thirty, settings, poll, deadline=deadline).polls())
    assert 0 < len(polled) < 30
    assert value(thirty, FREE) == 30
    assert value(thirty, f"{FREE} AND due_at <= now()") == 30 - len(polled)


def test_an_interrupted_worker_gives_its_tenants_back(thirty: Engine, settings: Settings):
    polls = worker(thirty, settings, quickly).polls()
    next(polls)
    polls.close()
    assert value(thirty, FREE) == 30


def test_an_error_in_one_batch_lets_the_others_end_and_is_raised(thirty: Engine, settings: Settings):
    calls = iter(range(100))

    def poll(engine: Engine, settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
        if next(calls) == 2:
            raise DatabaseUnavailable("Postgres is away")
        yield from quickly(engine, settings, claims)

    polled = []
    with pytest.raises(DatabaseUnavailable, match="away"):
        polled.extend(worker(thirty, settings, poll).polls())
    assert value(thirty, FREE) == 30


def test_a_tenant_that_keeps_using_up_its_time_is_due_later_each_time(thirty: Engine, settings: Settings):
    def poll(_engine: Engine, _settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
        yield from (TenantPoll(claim, spent_budget=True) for claim in claims)

    minutes = []
    for _ in range(4):
        with thirty.begin() as connection:
            connection.execute(text("UPDATE tenant_polls SET due_at = now()"))
        assert len(list(worker(thirty, settings, poll).polls())) == 30
        with thirty.connect() as connection:
            ((wait, overtimes),) = connection.execute(
                text("SELECT max(due_at) - now(), max(overtimes) FROM tenant_polls")
            ).all()
        minutes.append((overtimes, wait // timedelta(minutes=5)))
    assert minutes == [(1, 0), (2, 1), (3, 2), (4, 4)]


def test_a_worker_waits_for_tenants_that_are_due_in_a_moment(thirty: Engine, settings: Settings):
    """Else the tick takes it for running, and nobody polls them for an interval."""
    with thirty.begin() as connection:
        poll_claims.include_loaded(connection)
        connection.execute(text("UPDATE tenant_polls SET due_at = now() + interval '10 seconds'"))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        with thirty.begin() as connection:
            connection.execute(text("UPDATE tenant_polls SET due_at = now()"))

    few = settings.model_copy(update={"poll_threads": 64})
    assert len(list(PollWorker(thirty, few, RUN, poll=quickly, sleep=sleep).polls())) == 30
    assert len(slept) == 1
    assert 8 < slept[0] <= 10


def test_a_tenant_that_leaves_out_the_day_is_due_at_the_next_time_of_its_half(thirty: Engine, settings: Settings):
    """Half of the tenants have times of their own, also when they were claimed on a day that they leave out."""
    today = datetime.now(UTC).isoweekday()
    with thirty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO tenant_schedules (credential_id, skip_days) SELECT id, :days FROM servicetitan_credentials"
            ),
            {"days": [today, today % 7 + 1]},  # at midnight tomorrow begins
        )
    halves = settings.model_copy(update={"second_half_cron": "0 12 * * *", "time_zone": ZoneInfo("UTC")})
    assert list(worker(thirty, halves, quickly).polls()) == []
    with thirty.connect() as connection:
        rows = connection.execute(
            text("SELECT partition_key, due_at FROM tenant_polls JOIN tenants USING (credential_id)")
        )
        hours = {(half_of(tenant), due_at.astimezone(UTC).hour) for tenant, due_at in rows}
    assert hours == {(1, 0), (2, 12)}


def test_a_worker_waits_for_its_last_tenant_without_asking_over_and_over(thirty: Engine, settings: Settings):
    """Else it uses a core while one slow tenant holds it up."""
    asked, spins, spun = count(), threading.Event(), []

    def clock() -> float:
        if next(asked) == 50:
            spins.set()
        return 0.0

    def poll(_engine: Engine, _settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
        spun.append(spins.wait(0.2))
        yield from quickly(_engine, _settings, claims)

    with thirty.begin() as connection:
        poll_claims.include_loaded(connection)
        connection.execute(text("UPDATE tenant_polls SET due_at = now() + interval '1 h' WHERE credential_id > 1"))
    assert len(list(worker(thirty, settings, poll, deadline=Deadline(900, "a run may take 900 s", clock)).polls())) == 1
    assert spun == [False]


def test_the_figures_of_each_half_of_the_tenants_add_up_over_workers(thirty: Engine, settings: Settings):
    """By them two intervals are compared: requests, CPU seconds, and how old the tables became."""

    def poll(_engine: Engine, _settings: Settings, claims: Sequence[Claim], **_: Any) -> Iterator[TenantPoll]:
        for claim in claims:
            yield TenantPoll(claim, all_feeds_answered=True, is_quiet=False, requests=14, cpu_seconds=0.25)

    for _ in range(2):
        assert len(list(worker(thirty, settings, poll).polls())) == 30
        with thirty.begin() as connection:
            connection.execute(text("UPDATE tenant_polls SET due_at = now(), polled_at = now() - interval '300 s'"))
    with thirty.connect() as connection:
        halves = poll_figures.since(connection, datetime.now(UTC).date() - timedelta(days=1))
    first, second = halves[1], halves[2]
    assert first.tenants + second.tenants == 30
    assert first.polls + second.polls == first.with_news + second.with_news == 60
    assert first.requests == 14 * first.polls
    assert second.cpu_seconds == 0.25 * second.polls
    assert first.gaps + second.gaps == 30  # of a first poll nobody knows how long ago the one before was
    assert 300 <= first.gap_seconds / first.gaps <= first.longest_gap_seconds < 330
