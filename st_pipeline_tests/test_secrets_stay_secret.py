"""No secret, and nothing of a customer, in logs, errors, events, commands' output and tables that hold no records.

What is looked for, and how: leaks.py; that it would be found: test_leak_search.py; what goes wrong:
failure_scenarios.py.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from st_pipeline.cli import run
from st_pipeline.defs.partitions import register_tenants
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable
from st_pipeline.logs import configure_logs
from st_pipeline.vault.encryption import generate_key
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.defs.platform import Platform
from st_pipeline_tests.failure_scenarios import FAILURE_SCENARIOS, another_client_secret
from st_pipeline_tests.leaks import NAME, Ear, Leaks, plant


@pytest.fixture
def leaks(acme: Acme) -> Leaks:
    """What to look for, planted."""
    return plant(acme)


# One of each kind: of ServiceTitan, of a secret, of records, of a row that Postgres quotes.
FEW = ("nothing", "invalid records", "every answer is 500", "another client secret", "Postgres refuses a chunk")


@pytest.mark.parametrize(
    ("log_format", "scenarios"),
    [
        pytest.param("json", tuple(FAILURE_SCENARIOS), id="json"),
        pytest.param("console", FEW, id="console"),
        pytest.param("console", tuple(FAILURE_SCENARIOS), id="console-all", marks=pytest.mark.lab),
    ],
)
def test_nothing_leaks_whatever_goes_wrong_in_a_sync(
    acme: Acme, leaks: Leaks, log_format: str, scenarios: tuple[str, ...], capfd: pytest.CaptureFixture[str]
):
    acme.settings = acme.settings.model_copy(
        update={"log_format": log_format, "log_level": "DEBUG", "max_attempts": 2, "retry_max_seconds": 0.01}
    )
    configure_logs(acme.settings)
    with Ear(leaks):
        for name in scenarios:
            scenario, succeeds = FAILURE_SCENARIOS[name]
            with scenario(acme):
                result = acme.sync(incremental_only=False, rewrite=True, batch_size=500)
            assert result.success is succeeds, (name, result.errors)
            hear_result(leaks, name, result)
        kill_database_midway(acme, leaks)
        wrong_key(acme, leaks)
    said = capfd.readouterr()
    assert "chunk written" in said.err
    assert "ServiceUnavailable" in said.err
    leaks.hear("standard error", said.err)
    leaks.hear("standard output", said.out)
    leaks.hear_database(acme.engine)
    assert {
        "logger httpx",
        "logger httpcore.http11",
        "table servicetitan_sync_logs",
        "table sync_rejects",
    } <= leaks.places
    assert acme.value("SELECT count(*) FROM st_customers WHERE name = :name", name=NAME) == 1
    assert acme.value("SELECT access_token IS NOT NULL FROM servicetitan_credentials")
    assert leaks.found() == []
    assert leaks.at_rest(acme.engine) == []


def hear_result(leaks: Leaks, name: str, result: Any) -> None:
    """All that a program gets back."""
    leaks.hear(f"the result of: {name}", repr(result))
    for outcome in result.outcomes:
        leaks.hear(f"the message of: {name}", outcome.message)
        if outcome.error is not None:
            leaks.hear(f"the error of: {name}", outcome.error)


def kill_database_midway(acme: Acme, leaks: Leaks) -> None:
    """The connection ends between two chunks."""
    with acme.syncing(incremental_only=False, rewrite=True) as sync:
        leaks.hear("repr of the client's authentication", repr(sync.client.authentication))
        sync.after_chunk = lambda *_: end_connection(acme)
        assert {type(outcome.error) for outcome in sync.entities()} == {DatabaseUnavailable}
    hear_result(leaks, "killed after a chunk", sync.result)


def end_connection(acme: Acme) -> None:
    acme.end_the_session_that_syncs()


def wrong_key(acme: Acme, leaks: Leaks) -> None:
    right = acme.settings
    acme.settings = right.model_copy(update={"encryption_keys": SecretStr(generate_key())})
    with pytest.raises(ConfigurationError) as refused:
        acme.sync()
    leaks.hear("the error of a wrong key", refused.value)
    leaks.hear("the settings", repr(acme.settings))
    acme.settings = right


def test_nothing_leaks_into_dagster(
    acme: Acme, leaks: Leaks, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Every event of runs that succeed and fail, their tags, and what their process writes."""
    for name, value in variables(acme).items():
        monkeypatch.setenv(name, value)
    with Ear(leaks), dg.DagsterInstance.ephemeral() as instance:
        platform = Platform(acme.engine, acme.settings, instance, make=no_more_tenants)
        register_tenants(instance, acme.engine)
        for name in FEW:
            scenario, succeeds = FAILURE_SCENARIOS[name]
            with scenario(acme):
                finished = platform.run("full_sync", "acme", mode="full", rewrite=True)
            assert finished.success is succeeds, name
            for entry in instance.all_logs(finished.run_id):
                leaks.hear(f"Dagster's event of: {name}", dg.serialize_value(entry))
            leaks.hear(f"Dagster's run: {name}", dg.serialize_value(instance.get_run_by_id(finished.run_id)))
    said = capfd.readouterr()
    assert "STEP_FAILURE" in said.err
    leaks.hear("standard error of a run", said.err)
    leaks.hear("standard output of a run", said.out)
    leaks.hear_database(acme.engine)
    assert leaks.found() == []
    assert leaks.at_rest(acme.engine) == []


def no_more_tenants(*_: object, **__: object) -> Any:
    raise AssertionError("the tenant is there already")


def variables(acme: Acme) -> dict[str, str]:
    """The settings as an operator would set them."""
    assert acme.settings.database_url is not None
    assert acme.settings.encryption_keys is not None
    return {
        "DATABASE_URL": acme.settings.database_url.get_secret_value(),
        "ST_PIPELINE_HOME": str(acme.settings.home),
        "ST_PIPELINE_ENCRYPTION_KEYS": acme.settings.encryption_keys.get_secret_value(),
        "ST_PIPELINE_APP_KEY": acme.source.app_key,
        "ST_PIPELINE_PRODUCTION_API_URL": acme.source.url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{acme.source.url}/connect/token",
        "ST_PIPELINE_INTEGRATION_API_URL": acme.source.control.integration_url,
        "ST_PIPELINE_INTEGRATION_AUTH_URL": f"{acme.source.control.integration_url}/connect/token",
        "ST_PIPELINE_RETRY_INITIAL_SECONDS": "0.001",
        "ST_PIPELINE_RETRY_MAX_SECONDS": "0.05",
        "ST_PIPELINE_MAX_ATTEMPTS": "2",
        "ST_PIPELINE_LOG_LEVEL": "DEBUG",
    }


def test_nothing_leaks_from_commands(
    acme: Acme, leaks: Leaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """With the right secret and a wrong one, from a file and from a variable, for people and for machines."""
    for name, value in variables(acme).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACME_SECRET", acme.source.client_secret)
    secret = tmp_path / "secret"
    secret.write_text(acme.source.client_secret)
    whose = ("--tenant-id", str(acme.source.tenant_id), "--client-id", acme.source.client_id)
    add = ("credentials", "add", "acme", *whose)
    with Ear(leaks):
        acme.sync()  # a token is stored
        for arguments, codes in {
            (*add, "--client-secret-file", str(secret), "--replace"): {0},
            (*add, "--client-secret-env", "ACME_SECRET"): {0},
            (*add, "--client-secret-env", "NO_SUCH"): {2},
            (*add, "-e", "integration", "--client-secret-file", str(secret), "--app-key-file", str(secret)): {1},
            ("credentials", "test", "acme"): {0},
            ("credentials", "test", "acme", "--json"): {0},
            ("credentials", "test", "acme@integration"): {1},
            ("credentials", "list"): {0},
            ("credentials", "list", "--json"): {0},
            ("companies", "list"): {0},
            ("doctor",): {0, 1},
            ("doctor", "--json"): {0, 1},
        }.items():
            code = run(list(arguments))
            said = capfd.readouterr()
            assert code in codes, said.err
            assert said.out + said.err
            leaks.hear(f"`{' '.join(arguments[:3])}`", said.out + said.err)
        with another_client_secret(acme):
            assert run(["credentials", "test", "acme"]) == 1
            leaks.hear("`credentials test` of a wrong secret", "".join(capfd.readouterr()))
    leaks.hear_database(acme.engine)
    assert acme.value("SELECT count(*) FROM audit_log") > 3
    assert leaks.found() == []
    assert leaks.at_rest(acme.engine) == []
