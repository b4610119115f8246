"""A sync that runs past its time fails its tenant's check until it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from st_pipeline.checks.spec import CheckedTenant
from st_pipeline.settings import Settings
from st_pipeline_tests.checks.planted import execute, failed, put_sync, tenants_in_order, verdicts

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)


@pytest.fixture
def three(engine: Engine) -> list[CheckedTenant]:
    """Three tenants in order."""
    return tenants_in_order(engine, 3, NOW)


def test_a_poll_past_its_time_fails_until_it_ends(engine: Engine, settings: Settings, three: list[CheckedTenant]):
    put_sync(engine, three[1], NOW - timedelta(minutes=11), status="running")
    assert failed(verdicts(engine, settings, three, NOW - timedelta(minutes=2), "overruns")) == {}
    found = failed(verdicts(engine, settings, three, NOW, "overruns"))
    assert found == {
        "company-2": "A scheduled incremental sync has been running for 11 minutes; 10 are allowed.",
    }
    execute(engine, "UPDATE servicetitan_sync_logs SET status = 'completed', completed_at = now()")
    assert failed(verdicts(engine, settings, three, NOW, "overruns")) == {}


def test_a_full_sync_may_take_three_times_as_long_as_the_last_and_a_first_load_a_day(
    engine: Engine, settings: Settings, three: list[CheckedTenant]
):
    put_sync(engine, three[1], NOW - timedelta(minutes=300), status="running", mode="full")
    assert failed(verdicts(engine, settings, three, NOW, "overruns")) == {}
    assert list(failed(verdicts(engine, settings, three, NOW + timedelta(hours=20), "overruns"))) == ["company-2"]
    execute(engine, "DELETE FROM servicetitan_sync_logs")
    put_sync(engine, three[1], NOW - timedelta(minutes=2000), seconds=110 * 60, mode="full")
    put_sync(engine, three[1], NOW - timedelta(minutes=300), status="running", mode="full")
    assert failed(verdicts(engine, settings, three, NOW, "overruns")) == {}
    late = failed(verdicts(engine, settings, three, NOW + timedelta(minutes=31), "overruns"))
    assert late == {"company-2": "A scheduled full sync has been running for 331 minutes; 330 are allowed."}
