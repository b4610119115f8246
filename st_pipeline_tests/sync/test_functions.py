"""What a program calls: with the settings of its environment, or with an engine of its own."""

import time
from collections.abc import Iterator

import pytest
import structlog

from st_pipeline import get_last_sync_status, synchronize_customers, synchronize_data, synchronize_invoices
from st_pipeline.errors import ConfigurationError
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.tenants.planted import put_tenant

CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


@pytest.fixture
def environment(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """The company's settings, where a program finds them."""
    settings = acme.settings
    assert settings.database_url is not None
    assert settings.encryption_keys is not None
    assert settings.app_key is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("ST_PIPELINE_ENCRYPTION_KEYS", settings.encryption_keys.get_secret_value())
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", settings.app_key.get_secret_value())
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_API_URL", settings.production_api_url)
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_AUTH_URL", settings.production_auth_url)


def connections(acme: Acme) -> int:
    """How many there are to its database besides the one that asks; Postgres needs a moment to see that one is gone."""
    acme.engine.dispose()
    give_up_at = time.monotonic() + 10
    while (found := int(acme.value(CONNECTIONS))) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return found


@pytest.mark.usefixtures("environment")
def test_a_program_syncs_one_kind_of_data_after_the_other_and_asks_how_it_went(acme: Acme):
    assert get_last_sync_status("acme") is None
    for synchronize, data_type in ((synchronize_customers, "customers"), (synchronize_invoices, "invoices")):
        result = synchronize("acme", batch_size=25)
        assert result.success, result.errors
        assert [one.entity for one in result.outcomes] == list(SyncConfiguration(data_type=data_type).entities)
        status = get_last_sync_status("acme")
        assert status is not None
        assert (status["id"], status["status"], status["data_type"]) == (result.sync_log_id, "completed", data_type)
        assert status == get_last_sync_status("acme", settings=acme.settings, engine=acme.engine)
    assert connections(acme) == 0


def test_without_a_configuration_everything_is_synced_and_the_tenant_s_own_last_sync_is_told(acme: Acme):
    result = synchronize_data("acme", settings=acme.settings, engine=acme.engine)
    assert result.success, result.errors
    assert {one.entity for one in result.outcomes} == set(SYNCED)
    put_tenant(acme.engine, acme.settings)
    acme.execute(
        "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type) "
        "SELECT max(id), gen_random_uuid(), 'manual', 'full', 'invoices' FROM servicetitan_credentials"
    )
    status = get_last_sync_status("acme", settings=acme.settings)
    assert status is not None
    assert (status["id"], status["mode"]) == (result.sync_log_id, "incremental")


@pytest.mark.parametrize("function", [synchronize_data, get_last_sync_status])
@pytest.mark.usefixtures("environment")
def test_an_unknown_tenant_is_refused_with_similar_names(acme: Acme, function: object):
    with pytest.raises(ConfigurationError, match="unknown tenant 'acm'"):
        function("acm")  # type: ignore[operator]
    assert connections(acme) == 0


@pytest.fixture
def structlog_untouched() -> Iterator[None]:
    """As a program finds it that has never heard of structlog."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("environment", "structlog_untouched")
def test_a_program_hears_only_what_its_log_level_lets_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("ST_PIPELINE_LOG_LEVEL", "ERROR")
    assert synchronize_data("acme", SyncConfiguration(only=("tag_types",))).success
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("environment", "structlog_untouched")
def test_a_program_that_has_configured_structlog_keeps_its_configuration():
    heard: list[str] = []
    structlog.configure(processors=[lambda _logger, _name, event: heard.append(event["event"]) or ""])
    assert synchronize_data("acme", SyncConfiguration(only=("tag_types",))).success
    assert "chunk written" in heard
