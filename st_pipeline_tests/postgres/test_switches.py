"""Switches and pauses: who is left out of claims, and what people read of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from st_pipeline.postgres import api_pauses, poll_claims, switches
from st_pipeline.postgres.switches import Scope, Switches
from st_pipeline_tests.postgres.test_poll_claims import FILL, claim

ONE_IN_INTEGRATION = "UPDATE servicetitan_credentials SET environment = 'integration' WHERE id = 2"


@pytest.fixture
def three(engine: Engine) -> Engine:
    """Three tenants that are due, the second in the integration environment."""
    with engine.begin() as connection:
        connection.execute(text(FILL), {"number": 3})
        connection.execute(text(ONE_IN_INTEGRATION))
        poll_claims.include_loaded(connection)
    return engine


def claimed(engine: Engine) -> list[str]:
    """Whom a worker would poll; nobody is claimed afterwards."""
    now = datetime.now(UTC) + timedelta(seconds=1)
    found = [one.partition_key for one in claim(engine, now)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenant_polls SET claimed_by = NULL, claimed_until = NULL"))
    return found


@pytest.mark.parametrize(
    ("scope", "name", "left"),
    [
        ("everything", "", []),
        ("environment", "integration", ["company-1", "company-3"]),
        ("company", "company-3", ["company-1", "company-2@integration"]),
        ("entity", "invoices", ["company-1", "company-2@integration", "company-3"]),
    ],
)
def test_what_is_switched_off_is_not_claimed_until_it_is_on_again(
    three: Engine, scope: Scope, name: str, left: list[str]
):
    with three.begin() as connection:
        assert switches.turn_off(connection, scope, name, "a test")
        assert not switches.turn_off(connection, scope, name, "a test")
        assert switches.turn_off(connection, scope, name, "another reason")
    assert claimed(three) == left
    with three.begin() as connection:
        (one,) = switches.load(connection).off
        assert str(one) == f"{f'{scope} {name}'.strip()} is switched off: another reason"
        assert switches.turn_on(connection, scope, name)
        assert not switches.turn_on(connection, scope, name)
    assert len(claimed(three)) == 3


def test_a_claim_says_which_entities_are_off_for_the_tenant_and_for_all(three: Engine):
    with three.begin() as connection:
        switches.turn_off(connection, "entity", "jobs", None)
        connection.execute(text("INSERT INTO tenant_schedules (credential_id, entities_off) VALUES (1, '{estimates}')"))
        assert switches.entities_off(connection, 1) == {"estimates", "jobs"}
        assert switches.entities_off(connection, 3) == {"jobs"}
    claims = claim(three, datetime.now(UTC) + timedelta(seconds=1))
    assert {one.credential_id: one.entities_off for one in claims} == {
        1: {"estimates", "jobs"}, 2: {"jobs"}, 3: {"jobs"},
    }  # fmt: skip


def test_the_widest_switch_is_the_reason_that_is_told(engine: Engine):
    with engine.begin() as connection:
        for scope, name in (("entity", "jobs"), ("company", "acme"), ("environment", "production"), ("everything", "")):
            switches.turn_off(connection, scope, name, None)  # type: ignore[arg-type]
        off = switches.load(connection)
    assert [one.scope for one in off.off] == ["everything", "environment", "company", "entity"]
    assert off.why_off("birch", "integration") == "everything is switched off"
    assert Switches(off.off[1:]).why_off("birch", "production") == "environment production is switched off"
    assert Switches(off.off[2:]).why_off("acme", "integration") == "company acme is switched off"
    assert Switches(off.off[2:]).why_off("birch", "integration") is None
    assert Switches(off.off[3:]).why_off("acme", "production") is None


def test_a_paused_api_s_tenants_are_not_claimed_until_the_pause_ends(three: Engine):
    with three.begin() as connection:
        begun = api_pauses.begin(connection, "production", "a test")
        assert api_pauses.current(connection) == [begun]
    assert claimed(three) == ["company-2@integration"]
    over = begun.paused_until + timedelta(seconds=1)
    assert len(claim(three, over)) == 3


@pytest.fixture
def paused_for(engine: Engine) -> Callable[[], float]:
    """Pause an API whose last pause has just ended; for how many seconds?"""

    def begin() -> float:
        with engine.begin() as connection:
            connection.execute(text("UPDATE api_pauses SET paused_until = now()"))
            now = connection.execute(text("SELECT now()")).scalar_one()
            return float((api_pauses.begin(connection, "production", "a test").paused_until - now).total_seconds())

    return begin


def test_each_pause_in_a_row_is_twice_as_long_up_to_ten_minutes(engine: Engine, paused_for: Callable[[], float]):
    assert [paused_for() for _ in range(6)] == [60, 120, 240, 480, 600, 600]
    with engine.begin() as connection:
        connection.execute(text("UPDATE api_pauses SET paused_until = now() - interval '2 hours'"))
        again = api_pauses.begin(connection, "production", "long after")
        assert (again.pauses, again.reason) == (1, "long after")


def test_an_api_that_is_paused_already_is_not_paused_for_longer(engine: Engine):
    """Several workers see the same trouble at once."""
    with engine.begin() as connection:
        first = api_pauses.begin(connection, "production", "the first")
        assert api_pauses.begin(connection, "production", "the second") == first
        api_pauses.end(connection, "production")
        assert api_pauses.load_all(connection) == {}
