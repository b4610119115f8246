"""What a command claims of the tenants that are due, and what becomes of it."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from st_pipeline.operations.due_polls import DuePolls
from st_pipeline.runs.follow import TenantRun
from st_pipeline.runs.run_request import RunRequest
from st_pipeline.settings import Settings
from st_pipeline_tests.postgres.test_poll_claims import FILL, claim

REQUEST = uuid.UUID(int=7)
FREE_AND_DUE = "SELECT count(*) FROM tenant_polls WHERE claimed_by IS NULL AND due_at <= now()"
POLLED = "SELECT count(*) FROM tenant_polls WHERE claimed_by IS NULL AND due_at > now() AND polled_at IS NOT NULL"


@pytest.fixture
def four(engine: Engine) -> Engine:
    """Four tenants that were loaded."""
    with engine.begin() as connection:
        connection.execute(text(FILL), {"number": 4})
    return engine


def due_polls(engine: Engine, settings: Settings, **options: Any) -> DuePolls:
    def run_of(credential_id: int, tenant: str) -> TenantRun:
        return TenantRun(credential_id, RunRequest(tenant, str(REQUEST), is_due=True))

    return DuePolls(engine, settings, REQUEST, run_of, **options)


def value(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def test_each_tenant_that_was_due_is_claimed_once_and_is_due_again_at_its_next_time(four: Engine, settings: Settings):
    due = due_polls(four, settings)
    first = due.claim(3)
    assert len(first) == 3
    assert claim(four, datetime.now(UTC), run=1)[0].partition_key not in {run.tenant for run in first}
    for run in first:
        run.ends("completed")
    due.ended(first)
    due.ended(first)  # told again, as the command tells each more than once
    assert value(four, POLLED) == 3
    with four.begin() as connection:  # the next tick comes before the command has ended
        connection.execute(text("UPDATE tenant_polls SET due_at = now()"))
    assert due.claim(3) == []


def test_a_poll_of_some_entities_leaves_its_tenant_due(four: Engine, settings: Settings):
    due = due_polls(four, settings, is_whole=False)
    runs = due.claim(4)
    for run in runs:
        run.ends("completed")
    due.ended(runs)
    assert due.claim(4) == []
    due.close()
    assert value(four, FREE_AND_DUE) == 4


def test_a_command_that_ends_early_gives_back_what_it_claimed(four: Engine, settings: Settings):
    due = due_polls(four, settings)
    failed, _ = due.claim(2)
    failed.ends("failed", "a test")
    due.ended([failed])
    due.close()
    assert value(four, FREE_AND_DUE) == 3
    assert value(four, POLLED) == 0  # a failed poll moves the time at which it is due, not that of the last answer


@pytest.fixture
def minutes() -> Iterator[float]:
    """A clock that moves half a minute each time it is asked."""
    return iter(30.0 * number for number in range(1000))


def test_a_long_command_keeps_its_claims_and_a_killed_one_leaves_them_to_run_out(
    four: Engine, settings: Settings, minutes: Iterator[float]
):
    due = due_polls(four, settings, clock=lambda: next(minutes))
    due.claim(4)
    with four.begin() as connection:
        connection.execute(text("UPDATE tenant_polls SET claimed_until = now() + interval '1 second'"))
    for _ in range(3):
        due.keep()
    in_a_minute, in_five = (datetime.now(UTC) + timedelta(minutes=number) for number in (1, 5))
    assert claim(four, in_a_minute) == []
    assert len(claim(four, in_five)) == 4


def test_only_the_named_environment_is_claimed(four: Engine, settings: Settings):
    assert due_polls(four, settings, environment="integration").claim(4) == []
    assert len(due_polls(four, settings, environment="production").claim(4)) == 4
