"""Settings in the environment, where a run reads them, and an empty platform to put tenants on."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

import st_pipeline
from st_pipeline.defs.partitions import TENANTS_NAME, register_tenants
from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.postgres.dagster_database import dagster_url
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.defs.platform import SIZES, Platform
from st_pipeline_tests.defs.sensor_ticks import Ticks
from st_pipeline_tests.onboarding import SyncedCompanies, copy_database, database_copied, sync_once


@pytest.fixture
def environment(settings: Settings, servicetitan_simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's settings where a run reads them, with the simulator in ServiceTitan's place."""
    set_environment(settings, servicetitan_simulator, monkeypatch)


def set_environment(settings: Settings, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for settings that a test has from elsewhere."""
    assert settings.database_url is not None
    assert settings.encryption_keys is not None
    variables = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ST_PIPELINE_HOME": str(settings.home),
        "ST_PIPELINE_ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "ST_PIPELINE_PRODUCTION_API_URL": simulator.production_url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{simulator.production_url}/connect/token",
        "ST_PIPELINE_INTEGRATION_API_URL": simulator.integration_url,
        "ST_PIPELINE_INTEGRATION_AUTH_URL": f"{simulator.integration_url}/connect/token",
        "ST_PIPELINE_RATE_LIMIT": "1000/second",
        "ST_PIPELINE_RETRY_INITIAL_SECONDS": "0.001",
        "ST_PIPELINE_RETRY_MAX_SECONDS": "0.05",
        "ST_PIPELINE_MAX_ATTEMPTS": "2",
        "ST_PIPELINE_LEASE_WAIT_SECONDS": "0",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def stored_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance with storage in a folder, which ticks want; for a whole module, as it takes half a second."""
    folder = str(tmp_path_factory.mktemp("dagster"))
    with dg.DagsterInstance.local_temp(folder, overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def emptied_instance(stored_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The stored instance without runs and partitions."""
    stored_instance.wipe()
    for key in stored_instance.get_dynamic_partitions(TENANTS_NAME):
        stored_instance.delete_dynamic_partition(TENANTS_NAME, key)
    return stored_instance


@pytest.fixture
def platform(
    engine: Engine,
    settings: Settings,
    environment: None,  # noqa: ARG001 - asked for so that runs find the settings
    instance: dg.DagsterInstance,
    servicetitan_tenant: Callable[..., SimulatedTenant],
) -> Platform:
    """An empty platform."""
    return Platform(engine, settings, instance, servicetitan_tenant)


@pytest.fixture(scope="session")
def pair(
    postgres_server: EmbeddedServer, servicetitan_simulator: SimulatorControl, tmp_path_factory: pytest.TempPathFactory
) -> SyncedCompanies:
    """Two tenants after their first syncs, to copy."""
    copy_database(postgres_server, TEMPLATE, "template_pair")
    sources = {name: servicetitan_simulator.create_tenant(**SIZES) for name in ("acme", "birch")}
    return sync_once(postgres_server, "template_pair", sources, tmp_path_factory.mktemp("home"))


@pytest.fixture
def synced(
    pair: SyncedCompanies,
    instance: dg.DagsterInstance,
    servicetitan_simulator: SimulatorControl,
    servicetitan_tenant: Callable[..., SimulatedTenant],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Platform]:
    """A platform with them. Ticks come once a year: after one, a worker would poll its tenants again."""
    monkeypatch.setenv("ST_PIPELINE_INCREMENTAL_CRON", "0 0 1 1 *")
    with pair.copied() as (settings, engine):
        set_environment(settings, servicetitan_simulator, monkeypatch)
        register_tenants(instance, engine)
        yield Platform(engine, settings, instance, servicetitan_tenant, dict(pair.sources))


@pytest.fixture
def ticks(platform: Platform) -> Ticks:
    """The sensor of an empty platform."""
    return Ticks(platform)


@pytest.fixture(scope="module")
def storage(postgres_server: EmbeddedServer) -> Iterator[Engine]:
    """A database for Dagster's own storage, whose tables take a second to make."""
    with database_copied(postgres_server, "template0") as engine:
        yield engine


@pytest.fixture
def home(tmp_path: Path, storage: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME with the real dagster.yaml."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(Path(st_pipeline.__file__).parents[1] / "dagster.yaml", folder)
    address = storage.url.render_as_string(hide_password=False)
    ours = dagster_url(settings.model_copy(update={"dagster_database_url": SecretStr(address)}), storage)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("ST_PIPELINE_DAGSTER_STORAGE", ours.render_as_string(hide_password=False))
    return folder
