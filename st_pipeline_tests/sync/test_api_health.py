"""When several tenants in a row get no usable answer: their API is paused once for all, and nothing else pauses it."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.errors import AccessRefused, ServiceUnavailable, TenantBusy
from st_pipeline.postgres import api_pauses
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.postgres.tenant_schedules import DEFAULT
from st_pipeline.protocol import Mode
from st_pipeline.sync.api_health import ApiHealth
from st_pipeline.sync.configuration import EntityOutcome, SyncResult
from st_pipeline.sync.context import EntityResult
from st_pipeline.sync.polling import TenantPoll

NOW = datetime(2026, 1, 31, tzinfo=UTC)
AWAY = ServiceUnavailable("503")


def poll(number: int, *errors: Exception | None, environment: str = "production", **how: Any) -> TenantPoll:
    """A tenant's poll, in which its entities ended like this."""
    claim = Claim(
        number, f"company-{number}", environment, NOW, NOW, None, 0, None, None, frozenset(), frozenset(), DEFAULT
    )
    result = SyncResult(claim.partition_key, uuid.UUID(int=1))
    result.outcomes += [EntityOutcome("jobs", EntityResult("jobs", Mode.INCREMENTAL), error) for error in errors]
    return TenantPoll(claim, result if errors else None, **how)


def paused(engine: Engine, *polls: TenantPoll) -> list[str]:
    """The environments that are paused after these polls, of a worker that knows of earlier pauses."""
    with engine.begin() as connection:
        health = ApiHealth(api_pauses.load_all(connection))
        for one in polls:
            health.note(connection, [one])
        return [one.environment for one in api_pauses.current(connection)]


def test_three_tenants_in_a_row_without_an_answer_pause_their_api(engine: Engine):
    assert paused(engine, poll(1, AWAY), poll(2, AWAY)) == []
    assert paused(engine, poll(1, AWAY), poll(2, AWAY), poll(3, error=AWAY)) == ["production"]
    with engine.connect() as connection:
        (one,) = api_pauses.current(connection)
    assert one.reason == "3 tenants in a row got no usable answer, the last: ServiceUnavailable"


@pytest.mark.parametrize(
    "between",
    [
        poll(9, None),
        poll(9, AWAY, None),
        poll(9, all_feeds_answered=True),
    ],
    ids=["an entity that was read", "one of two", "a quiet poll"],
)
def test_an_answer_in_between_shows_that_the_api_answers(engine: Engine, between: TenantPoll):
    assert paused(engine, poll(1, AWAY), poll(2, AWAY), between, poll(3, AWAY), poll(4, AWAY)) == []


@pytest.mark.parametrize(
    "third",
    [
        poll(2, AWAY),
        poll(3, AWAY, environment="integration"),
        poll(3, error=TenantBusy("busy")),
        poll(3, AccessRefused("403")),
    ],
    ids=["the same tenant again", "another environment", "a busy tenant", "a refusal"],
)
def test_what_says_nothing_of_the_api_pauses_nobody(engine: Engine, third: TenantPoll):
    assert paused(engine, poll(1, AWAY), poll(2, AWAY), third) == []


def test_the_first_answer_after_a_pause_ends_the_row_of_pauses(engine: Engine):
    assert paused(engine, *[poll(number, AWAY) for number in range(3)]) == ["production"]
    assert paused(engine, poll(4, None, environment="integration")) == ["production"]
    assert paused(engine, poll(4, None)) == []
    with engine.connect() as connection:
        assert api_pauses.load_all(connection) == {}
