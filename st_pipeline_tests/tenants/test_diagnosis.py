"""Every way in which credentials can be wrong, against the simulator: what is reported and stored, and never shown."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

import st_pipeline
from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.errors import ConfigurationError
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings, variable_name
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.tenants import store
from st_pipeline.tenants.diagnosis import test_credentials
from st_pipeline.tenants.refusal import Verdict, tenant_of
from st_pipeline_tests.entities.made_records import simulated_name
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.conftest import Simulated, Test, assert_refused, noted


def test_good_credentials_show_every_entity_with_its_rows(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    simulated = servicetitan_tenant(customers=30, invoices=40)
    diagnosis = diagnose(simulated)
    assert (diagnosis.verdict, diagnosis.connected, diagnosis.complete) == (Verdict.COMPLETE, True, True)
    live = {name: len(simulated.ids(simulated_name(name))) for name in LISTS}
    assert {e.entity: e.rows for e in diagnosis.entities} == live
    assert {e.entity: e.scope for e in diagnosis.entities} == {name: spec.scope for name, spec in LISTS.items()}
    assert all(e.granted and e.status == "ok" for e in diagnosis.entities)
    assert noted(engine) == ("connected", None, "done")


def test_the_integration_environment_is_tested_at_its_own_addresses(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    diagnosis = diagnose(servicetitan_tenant(environment="integration"))
    assert diagnosis.complete
    assert noted(engine, "acme@integration")[0] == "connected"


def test_a_wrong_secret_names_the_administrator_to_ask(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    diagnosis = diagnose(servicetitan_tenant(), client_secret="cs1.wrong")
    assert_refused(
        engine, diagnosis, Verdict.WRONG_KEYS, "does not know this client id and secret",
        "Ask the company's ServiceTitan administrator", "line break",
    )  # fmt: skip
    assert {entity.status for entity in diagnosis.entities} == {"no access", "not asked"}


def test_a_swapped_id_and_secret_are_noticed(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    simulated = servicetitan_tenant()
    diagnosis = diagnose(simulated, client_id=simulated.client_secret, client_secret=simulated.client_id)
    assert_refused(engine, diagnosis, Verdict.WRONG_KEYS, "The two are swapped")


def test_something_else_in_place_of_the_client_id_is_noticed(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    diagnosis = diagnose(servicetitan_tenant(), client_id="my-app-name")
    assert_refused(engine, diagnosis, Verdict.WRONG_KEYS, "does not begin with `cid.`")


def test_keys_of_the_other_environment_are_recognised(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    """The most common mistake: the token address cannot tell, but the other environment's gives a token."""
    simulated = servicetitan_tenant(environment="integration")
    diagnosis = diagnose(simulated, environment="production")
    assert_refused(engine, diagnosis, Verdict.WRONG_ENVIRONMENT, "belong to the integration environment")
    assert simulated.requests()["by_operation"] == {"token": 1}


def test_a_secret_is_not_sent_elsewhere_when_both_environments_have_one_address(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, simulated_settings: Settings
):
    changed = {"integration_auth_url": simulated_settings.production_auth_url}
    diagnosis = diagnose(servicetitan_tenant(), changed, client_secret="cs1.wrong")
    assert_refused(engine, diagnosis, Verdict.WRONG_KEYS)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_app_key_is_told_from_an_app_that_is_not_connected(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, status: int
):
    """Reports differ on the status; the title is undocumented. The response to a certainly wrong key is compared."""
    simulated = servicetitan_tenant(settings={"app_key_error_status": status})
    diagnosis = diagnose(simulated, app_key="ak1.of-another-app")
    assert_refused(engine, diagnosis, Verdict.WRONG_APP_KEY, "whoever owns the app", "ST_PIPELINE_APP_KEY")


def test_a_tenant_that_has_not_connected_the_app_is_told_apart(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    diagnosis = diagnose(servicetitan_tenant(connected=False))
    assert_refused(engine, diagnosis, Verdict.NOT_CONNECTED, "administrator to check that the app is connected")
    assert {entity.status for entity in diagnosis.entities} == {"refused"}


@pytest.mark.parametrize("answer", ["403", "gateway_404"])
def test_a_wrong_tenant_id_names_the_right_one(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, answer: str
):
    simulated = servicetitan_tenant(settings={"other_tenant_answer": answer})
    diagnosis = diagnose(simulated, tenant_id=simulated.tenant_id + 1)
    assert_refused(
        engine, diagnosis, Verdict.WRONG_TENANT_ID, f"belong to ServiceTitan tenant {simulated.tenant_id}, not to",
        f"--tenant-id {simulated.tenant_id} --replace",
    )  # fmt: skip


def test_a_missing_scope_is_named_and_does_not_suspend_the_tenant(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    missing = ENTITIES["invoices"].scope
    scopes = sorted({spec.scope for spec in LISTS.values()} - {missing})
    diagnosis = diagnose(servicetitan_tenant(customers=3, invoices=3, scopes=scopes))
    assert (diagnosis.verdict, diagnosis.connected, diagnosis.complete) == (Verdict.INCOMPLETE, True, False)
    refused = [entity.entity for entity in diagnosis.entities if entity.status == "scope missing"]
    assert (
        refused
        == [spec.name for spec in LISTS.values() if spec.scope == missing]
        == ["custom_fields_invoices", "invoices"]
    )
    for words in (missing, "new version of the app", "administrator must then accept", "invoices"):
        assert words in diagnosis.message
    assert noted(engine) == ("connected", diagnosis.message, "done")


def test_an_app_without_any_scope_is_told_apart(engine: Engine, diagnose: Test, servicetitan_tenant: Simulated):
    diagnosis = diagnose(servicetitan_tenant(scopes=[]))
    assert_refused(engine, diagnosis, Verdict.NO_SCOPE, "tn.crm.customers:r", "new version of the app")


def test_one_entity_without_an_answer_does_not_hide_the_others(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated
):
    simulated = servicetitan_tenant(customers=3)
    simulated.fault("status", status=503, entity="customers")
    simulated.fault("html_200", entity="locations")
    diagnosis = diagnose(simulated)
    statuses = {entity.entity: entity.status for entity in diagnosis.entities if entity.status != "ok"}
    assert statuses == {"customers": "no answer", "locations": "unexpected answer"}
    assert diagnosis.connected
    assert "No usable answer: customers, locations. Test again" in diagnosis.message
    assert noted(engine)[0] == "connected"


def test_the_stored_token_does_not_hide_a_revoked_secret(
    engine: Engine,
    diagnose: Test,
    servicetitan_tenant: Simulated,
    servicetitan_simulator: SimulatorControl,
    simulated_settings: Settings,
):
    """The test asks for a new token, and shares it: the next sync need not ask again."""
    simulated = servicetitan_tenant()
    diagnose(simulated)
    with engine.connect() as connection:
        tokens = store.PostgresTokenStore(engine, simulated_settings, store.find_tenant(connection, "acme"))
    token = tokens.load()
    assert token is not None
    assert token.expires_at > datetime.now(UTC) + timedelta(seconds=800)
    planted.assert_nothing_planted(engine, secrets=(token.value.get_secret_value(),))
    servicetitan_simulator.create_tenant(
        simulated.tenant_id, client_id=simulated.client_id, app_key=simulated.app_key, client_secret="cs1.rotated"
    )
    assert_refused(engine, test_credentials("acme", settings=simulated_settings, engine=engine), Verdict.WRONG_KEYS)


def test_a_fixed_credential_is_connected_again(
    engine: Engine, diagnose: Test, servicetitan_tenant: Simulated, simulated_settings: Settings
):
    simulated = servicetitan_tenant(connected=False)
    diagnose(simulated)
    simulated.change(connected=True)
    assert test_credentials("acme", settings=simulated_settings, engine=engine).complete
    assert noted(engine) == ("connected", None, "done")


def test_few_tokens_are_asked_for(diagnose: Test, servicetitan_tenant: Simulated):
    """ServiceTitan throttles token requests."""
    good, refused = servicetitan_tenant(), servicetitan_tenant(connected=False, environment="integration")
    diagnose(good)
    diagnose(refused)
    assert good.requests()["token_requests"] == 1
    assert refused.requests()["token_requests"] == 1


def test_an_unknown_tenant_is_an_error_and_not_a_diagnosis(engine: Engine, simulated_settings: Settings):
    with pytest.raises(ConfigurationError, match="unknown tenant 'acme'"):
        test_credentials("acme", settings=simulated_settings, engine=engine)


def test_it_works_from_the_settings_alone(
    diagnose: Test, servicetitan_tenant: Simulated, simulated_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """As a program calls it that has neither an engine nor Dagster."""
    diagnose(servicetitan_tenant())
    for field in ("database_url", "encryption_keys"):
        monkeypatch.setenv(variable_name(field), getattr(simulated_settings, field).get_secret_value())
    for field in ("production_api_url", "production_auth_url"):
        monkeypatch.setenv(variable_name(field), getattr(simulated_settings, field))
    assert st_pipeline.test_credentials("acme").complete


def _token(claims: object) -> Token:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return Token(SecretStr(f"e30.{part}.sig"), datetime.now(UTC))


def test_the_tenant_is_read_from_a_token_that_names_one():
    assert tenant_of(_token({"tenant": "1001"})) == 1001
    assert tenant_of(_token({"tenant": 1001})) == 1001
    for claims in ({}, {"tenant": None}, {"tenant": "acme"}, {"tenant": [1]}, [], "x", None):
        assert tenant_of(_token(claims)) is None
    for opaque in ("", "opaque", "a.b.c", "e30.!!!.x", "e30." + "A" * 9, "é.é.é"):
        assert tenant_of(Token(SecretStr(opaque), datetime.now(UTC))) is None
