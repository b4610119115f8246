"""What the launchpad may override, and what a run says when it cannot begin."""

import uuid

import pytest
from sqlalchemy import Engine

from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.errors import ConfigurationError
from st_pipeline.rates import Rate
from st_pipeline.settings import load_settings
from st_pipeline_tests.defs.platform import ALL, Platform, pairs


def test_a_resource_left_empty_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_RATE_LIMIT", "30/second")
    assert ServiceTitan().settings() == load_settings()
    assert ServiceTitan().settings().rate_limit == Rate(30, 1)


def test_what_the_launchpad_overrides_wins_over_the_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_RATE_LIMIT", "30/second")
    settings = ServiceTitan(rate_limit="100/minute", request_timeout_seconds=5, prefetch_pages=0).settings()
    assert (settings.rate_limit, settings.request_timeout_seconds, settings.prefetch_pages) == (Rate(100, 60), 5, 0)
    assert settings.model_copy(update={"rate_limit": Rate(30, 1)}).rate_limit == load_settings().rate_limit


def test_a_wrong_override_is_one_line_that_names_the_setting():
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_PREFETCH_PAGES") as caught:
        ServiceTitan(prefetch_pages=99).settings()
    assert "\n" not in str(caught.value)


def test_an_engine_is_given_back_when_the_run_is_over(platform: Platform):
    with Postgres().engine(str(uuid.uuid4())) as engine, engine.connect():
        assert engine.pool.checkedout() == 1
    assert engine.pool.checkedin() == 0
    assert platform.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == 1


def test_a_run_on_a_database_that_lags_behind_fails_at_once_and_names_the_command(
    platform: Platform, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    platform.add("acme", customers=0, invoices=0)
    monkeypatch.setenv("DATABASE_URL", empty_engine.url.render_as_string(hide_password=False))
    run = platform.run("incremental_sync", "acme")
    (failed,) = [event.step_failure_data for event in run.all_events if event.is_step_failure]
    assert "st-pipeline" in failed.user_failure_data.description
    assert "\n" not in failed.user_failure_data.description
    assert not [event for event in run.all_events if event.is_step_up_for_retry]
    assert platform.failed() == pairs("acme", entities=ALL)
