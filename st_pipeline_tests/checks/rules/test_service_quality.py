"""A bad share of a day fails its tenant's check alone, until the day has passed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.checks.evaluate import time_driven
from st_pipeline.checks.spec import CheckedTenant
from st_pipeline.settings import Settings
from st_pipeline_tests.checks.planted import failed, put_sync, tenants_in_order, verdicts
from st_pipeline_tests.checks.two_companies import TwoCompanies

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)


@pytest.fixture
def three(engine: Engine) -> list[CheckedTenant]:
    """Three tenants in order."""
    return tenants_in_order(engine, 3, NOW)


def buckets(fast: int, slow: int) -> str:
    """Requests of up to 4.9 s, and longer ones, as a sync counts them."""
    return json.dumps({"api": {"buckets": {"49": fast, "50": slow}}})


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ({"status": "failed", "number": 3}, "3 of 103 syncs failed (2.9%; at most 1.0%)"),
        ({"processed": 1000, "failed": 11}, "11 of 1,000 records failed (1.1%; at most 1.0%)"),
        ({"details": buckets(90, 6)}, "6 of 96 requests took longer than 5 s (6.2%; at most 5.0%)"),
    ],
)
def test_a_bad_share_of_a_day_fails_its_tenant_until_a_day_later(
    engine: Engine, settings: Settings, three: list[CheckedTenant], planted: dict[str, Any], message: str
):
    put_sync(engine, three[1], NOW - timedelta(minutes=30), number=100)
    put_sync(engine, three[1], NOW - timedelta(minutes=20), **planted)
    assert failed(verdicts(engine, settings, three, NOW, "service_quality")) == {
        "company-2": f"In the last 24 hours {message}."
    }
    assert failed(verdicts(engine, settings, three, NOW + timedelta(hours=24), "service_quality")) == {}


@pytest.mark.parametrize("planted", [{"status": "failed", "number": 2}, {"processed": 1000, "failed": 10}])
def test_a_share_within_its_bounds_and_few_failures_of_a_quiet_day_are_not_too_many(
    engine: Engine, settings: Settings, three: list[CheckedTenant], planted: dict[str, Any]
):
    put_sync(engine, three[1], NOW - timedelta(minutes=30), number=1)
    put_sync(engine, three[1], NOW - timedelta(minutes=20), **planted)
    assert failed(verdicts(engine, settings, three, NOW, "service_quality")) == {}


def test_a_tick_looks_at_the_quality_of_those_that_fail_and_once_an_hour(
    engine: Engine, settings: Settings, three: list[CheckedTenant]
):
    put_sync(engine, three[1], NOW - timedelta(minutes=30), status="failed", number=5)
    verdicts(engine, settings, three, NOW, "service_quality")

    def looked_at(after: timedelta) -> list[tuple[str, str]]:
        found = time_driven(engine, settings, NOW + after)
        return [(one.tenant, one.status.value) for one in found if one.check == "service_quality"]

    assert looked_at(timedelta(minutes=59)) == []
    assert looked_at(timedelta(minutes=60)) == [("company-2", "failed")]
    assert looked_at(timedelta(minutes=119)) == []
    assert looked_at(timedelta(hours=24)) == [("company-2", "not checkable")]


def test_slow_pages_fail_their_tenant_alone(two: TwoCompanies):
    two.execute("UPDATE servicetitan_credentials SET created_at = now() - interval '9 days'")
    thresholds = {"slow_seconds": 1.0, "least_number": 1.0, "slow_requests_share": 0.001}
    changed = {f"service_quality.{name}": value for name, value in thresholds.items()}
    two.settings = two.settings.model_copy(update={"check_thresholds": changed})
    assert two.failing() == set()
    source = two.sources["acme"]
    source.fault("slow", seconds=1.1, entity="invoices", times=1)
    two.sync("acme", only=("invoices",))
    source.clear_faults()
    assert two.failing() == {("acme", "tenant", "service_quality")}
