"""The simulator as ServiceTitan, a tenant registered with it, and what a test of its credentials must leave behind."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.entities import LISTS
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.tenants import store
from st_pipeline.tenants.diagnosis import Diagnosis, test_credentials
from st_pipeline.tenants.refusal import Verdict
from st_pipeline.tenants.registration import NewCredential
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import put_tenant

Simulated = Callable[..., SimulatedTenant]
Test = Callable[..., Diagnosis]


@pytest.fixture
def simulated_settings(settings: Settings, servicetitan_simulator: SimulatorControl) -> Settings:
    """The test's settings, with the simulator as ServiceTitan."""
    simulator = servicetitan_simulator
    return settings.model_copy(
        update={
            "production_api_url": simulator.production_url,
            "production_auth_url": f"{simulator.production_url}/connect/token",
            "integration_api_url": simulator.integration_url,
            "integration_auth_url": f"{simulator.integration_url}/connect/token",
        }
    )


@pytest.fixture
def diagnose(engine: Engine, simulated_settings: Settings) -> Test:
    """Register the simulated tenant, as it is or with something changed, and test it; no secret may appear anywhere."""

    def diagnose(simulated: SimulatedTenant, changed: dict[str, Any] | None = None, **wrong: Any) -> Diagnosis:
        values = {
            "environment": simulated.environment,
            "tenant_id": simulated.tenant_id,
            "client_id": simulated.client_id,
            "client_secret": simulated.client_secret,
            "app_key": simulated.app_key,
            **wrong,
        }
        new = NewCredential(
            "acme",
            values["environment"],
            values["tenant_id"],
            SecretStr(values["client_id"]),
            SecretStr(values["client_secret"]),
            SecretStr(values["app_key"]),
        )
        put_tenant(engine, simulated_settings, new)
        diagnosis = test_credentials(
            new.partition_key, settings=simulated_settings.model_copy(update=changed or {}), engine=engine
        )
        secrets = (values["client_id"], values["client_secret"], values["app_key"])
        shown = json.dumps(diagnosis.as_dict(), default=str)
        planted.assert_nothing_planted(engine, shown, repr(diagnosis), secrets=secrets)
        return diagnosis

    return diagnose


def noted(engine: Engine, tenant: str = "acme") -> tuple[str, str | None, str | None]:
    """Connection status and message, and the result in the audit trail."""
    with engine.connect() as connection:
        found = store.find_tenant(connection, tenant)
        sql = "SELECT result FROM audit_log WHERE action = 'credentials.test' AND tenant = :tenant ORDER BY id DESC"
        result = connection.execute(text(sql), {"tenant": tenant}).scalars().first()
    assert found.last_tested_at is not None
    return found.connection_status, found.connection_message, result


def assert_refused(engine: Engine, diagnosis: Diagnosis, verdict: Verdict, *words: str) -> None:
    """Not connected, for this reason, and stored as such."""
    assert (diagnosis.verdict, diagnosis.connected, diagnosis.complete) == (verdict, False, False)
    for word in words:
        assert word in diagnosis.message
    assert "\n" not in diagnosis.message
    assert noted(engine) == ("error", diagnosis.message, "refused")
    assert not [entity for entity in diagnosis.entities if entity.granted]
    assert [entity.entity for entity in diagnosis.entities] == list(LISTS)
