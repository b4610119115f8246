"""A run of the night: what it syncs, and what the next run does of what it could not end."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import night_plan
from st_pipeline.postgres.night_plan import Planned
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.night_worker import NightWorker
from st_pipeline.tenants.night_plan import plan_night
from st_pipeline_tests.acme import Acme, take_on

SYNC_LOG = "SELECT status, mode, sync_type, details ->> 'paused' FROM servicetitan_sync_logs ORDER BY id"
PART = "SELECT entity, status, records_processed FROM sync_log_entities WHERE entity = 'invoices'"


@pytest.fixture
def loaded(synced_company: Callable[..., Any]) -> Any:
    """A company that was loaded, and is in the night's plan."""
    with synced_company(customers=20, invoices=30).copied() as (source, settings, engine):
        acme = take_on(source, settings, engine)
        acme.execute("DELETE FROM sync_log_entities")
        acme.execute("DELETE FROM servicetitan_sync_logs")
        with engine.begin() as connection:
            assert plan_night(connection, settings, datetime.now(UTC)) == 1
        source.requests(reset=True)
        yield acme
        source.clear_faults()


def work(acme: Acme, deadline: Deadline = NO_DEADLINE, after: Callable[[str], None] = lambda _: None) -> list[str]:
    """A run: the entities that succeeded."""
    worker = NightWorker(acme.engine, acme.settings, uuid.uuid4(), deadline)
    succeeded = []
    for _, outcome in worker.outcomes():
        if outcome is None:
            continue
        if outcome.error is None:
            succeeded.append(outcome.entity)
        after(outcome.entity)
    return succeeded


def planned(acme: Acme) -> Planned:
    with acme.engine.connect() as connection:
        (one,) = night_plan.load(connection)
    return one


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.jumped = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return time.monotonic() + self.jumped


def test_a_run_reads_every_tenant_of_the_plan_in_full_and_notes_how_long_it_took(loaded: Acme):
    loaded.source.advance(changed=3, deleted=2)
    assert work(loaded) == list(SYNCED)
    assert loaded.differences() == []
    one = planned(loaded)
    assert (one.ended_at is not None, sorted(one.done), one.failed) == (True, sorted(SYNCED), [])
    assert one.took_seconds > 0
    assert loaded.rows(SYNC_LOG) == [("completed", "full", "scheduled", None)]
    assert work(loaded) == []


def test_what_a_run_had_no_time_for_is_done_by_the_next_and_nothing_twice(loaded: Acme):
    """Ending by itself is no failure, neither of the sync nor of the entity that was cut off."""
    clock = Clock()
    run = Deadline(clock=clock).within(900, "a run may take 900 s")

    def jump(entity: str) -> None:
        clock.jumped += 900 if entity == "jobs" else 0

    first = work(loaded, run, jump)
    assert first[-1] == "jobs"
    assert planned(loaded).ended_at is None
    ((status, _, _, paused),) = loaded.rows(SYNC_LOG)
    assert status == "completed"
    assert paused.endswith("the night's next run does the rest")
    assert loaded.rows("SELECT entity FROM sync_cursors WHERE last_failed_at IS NOT NULL") == []
    loaded.source.requests(reset=True)
    second = work(loaded)
    assert sorted([*first, *second]) == sorted(SYNCED)
    asked = loaded.source.requests()["by_operation"]
    assert not any(asked.get(f"{entity}.export") for entity in first)
    assert planned(loaded).ended_at is not None
    assert loaded.differences() == []


def test_an_entity_that_is_cut_off_continues_from_its_last_page(loaded: Acme):
    clock = Clock()
    run = Deadline(clock=clock).within(900, "a run may take 900 s")
    loaded.source.settings(export_page_size=5)
    loaded.source.fault("slow", seconds=30, entity="invoices", path="/export/", after_requests=3)

    before = list(SYNCED)[list(SYNCED).index("invoices") - 1]

    def jump(entity: str) -> None:
        clock.jumped += run.seconds_left - 1.5 if entity == before else 0

    first = work(loaded, run, jump)
    assert "invoices" not in first
    stood = loaded.value("SELECT full_continue_from FROM sync_cursors WHERE entity = 'invoices'")
    assert stood is not None
    assert loaded.rows(PART) == [("invoices", "completed", 15)]
    loaded.source.clear_faults()
    assert "invoices" in work(loaded)
    assert loaded.differences() == []


def test_what_failed_is_tried_again_after_a_pause_and_nothing_else_is(loaded: Acme):
    loaded.source.fault("status", status=502, entity="estimates")
    first = work(loaded)
    assert set(SYNCED) - set(first) == {"estimates"}
    one = planned(loaded)
    assert (one.ended_at, one.failed, one.tries) == (None, ["estimates"], 1)
    assert one.not_before is not None
    assert work(loaded) == []
    loaded.source.clear_faults()
    loaded.execute("UPDATE night_plan SET not_before = now()")
    assert work(loaded) == ["estimates"]
    assert planned(loaded).ended_at is not None


def test_what_no_trying_again_helps_ends_the_tenant_s_night(loaded: Acme):
    loaded.source.change(
        scopes=[scope for spec in ENTITIES.values() for scope in spec.scopes if "estimates" not in scope]
    )
    loaded.source.revoke_tokens()
    loaded.execute("UPDATE servicetitan_credentials SET access_token = NULL, token_expires_at = NULL")
    assert "estimates" not in work(loaded)
    one = planned(loaded)
    assert (one.ended_at is not None, one.failed) == (True, ["estimates"])


def test_a_tenant_that_another_run_works_on_waits(loaded: Acme):
    with loaded.syncing():
        assert work(loaded) == []
    one = planned(loaded)
    assert (one.ended_at, one.tries, one.failed) == (None, 0, [])
    loaded.execute("UPDATE night_plan SET not_before = now()")
    assert work(loaded) == list(SYNCED)


def test_a_run_that_is_interrupted_gives_its_tenant_back(loaded: Acme):
    worker = NightWorker(loaded.engine, loaded.settings, uuid.uuid4())
    outcomes = worker.outcomes()
    _, outcome = next(outcomes)
    outcomes.close()
    one = planned(loaded)
    assert (one.claimed_until, one.ended_at, one.done) == (None, None, [outcome.entity])
    assert outcome.entity not in work(loaded)
