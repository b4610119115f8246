"""Secrets come from files, variables, standard input and prompts, never from arguments, and are never shown."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.tenants import store
from st_pipeline.vault.encryption import generate_key
from st_pipeline_tests.cli.conftest import Command, Said, assert_refused
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import CLIENT_ID, CLIENT_SECRET

ADD = ("credentials", "add", "acme", "--no-test")
SINGLY = (*ADD, "--tenant-id", "1001", "--client-id", CLIENT_ID)


@pytest.fixture(autouse=True)
def _company(command: Command) -> None:
    command("companies", "add", "acme", "--name", "Acme")


def stored(engine: Engine, settings: Settings, tenant: str = "acme"):
    with engine.connect() as connection:
        return store.load_authentication(connection, settings, tenant)


def assert_stored(engine: Engine, settings: Settings, said: Said) -> None:
    assert said.code == 0, said.err
    assert "tenant acme: credentials added (ServiceTitan tenant 1001)\n" in said.out
    assert "not tested yet: `st-pipeline credentials test acme`" in said.out
    assert stored(engine, settings).client_secret.get_secret_value() == CLIENT_SECRET
    planted.assert_nothing_planted(engine, said.all)


def test_the_secret_comes_from_a_file(command: Command, engine: Engine, settings: Settings, secret_file: Path):
    said = command(*SINGLY, "--client-secret-file", str(secret_file))
    assert_stored(engine, settings, said)
    assert said.err == ""


def test_the_secret_comes_from_a_variable(
    command: Command, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACME_SECRET", CLIENT_SECRET)
    assert_stored(engine, settings, command(*SINGLY, "--client-secret-env", "ACME_SECRET"))


@pytest.mark.parametrize("option", [(), ("--client-secret-stdin",)])
def test_the_secret_comes_through_a_pipe(process: Command, engine: Engine, settings: Settings, option: tuple[str, ...]):
    assert_stored(engine, settings, process(*SINGLY, *option, stdin=CLIENT_SECRET + "\r\n"))


def test_the_secret_is_asked_for_without_showing_it(engine: Engine, settings: Settings, variables: dict[str, str]):
    screen, terminal = pty.openpty()
    arguments = [sys.executable, "-c", "from st_pipeline.cli import main; main()", *SINGLY]
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, **variables},
        start_new_session=True,
    ) as asked:  # fmt: skip
        os.close(terminal)
        seen = b""
        while b"client secret (not shown)" not in seen:
            seen += os.read(screen, 1024)
        os.write(screen, CLIENT_SECRET.encode() + b"\n")
        assert asked.stdout is not None
        out = asked.stdout.read().decode()
    os.close(screen)
    assert_stored(engine, settings, Said(asked.returncode, out, seen.decode()))


def test_a_credential_file_holds_everything(command: Command, engine: Engine, settings: Settings, tmp_path: Path):
    file = tmp_path / "acme.json"
    values = {"tenant_id": 1001, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "app_key": planted.APP_KEY}
    file.write_text("\ufeff" + json.dumps(values))
    file.chmod(0o640)
    said = command(*ADD, "--file", str(file))
    assert_stored(engine, settings, said)
    assert said.err == f"Warning: {file} can be read by other users of this machine: use chmod 600\n"
    assert stored(engine, settings).app_key.get_secret_value() == planted.APP_KEY


def test_blanks_around_a_secret_are_removed_and_mentioned(
    command: Command, engine: Engine, settings: Settings, secret_file: Path
):
    secret_file.write_text(f"  {CLIENT_SECRET}\n\n")
    said = command(*SINGLY, "--client-secret-file", str(secret_file))
    assert_stored(engine, settings, said)
    assert said.err == "Note: white space around the client secret was removed\n"


def test_an_unknown_company_is_told_its_nearest_name(command: Command, engine: Engine, secret_file: Path):
    said = command("credentials", "add", "acmee", *SINGLY[3:], "--client-secret-file", str(secret_file))
    assert_refused(said, "unknown company 'acmee': did you mean acme?", engine)
    with engine.connect() as connection:
        last = connection.execute(text("SELECT action, tenant, result FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert last == ("credentials.add", "acmee", "refused")


def test_repeating_is_safe_and_replacing_is_meant(
    command: Command, engine: Engine, settings: Settings, secret_file: Path
):
    arguments = (*SINGLY, "--client-secret-file", str(secret_file))
    command(*arguments)
    again = command(*arguments)
    assert (again.code, again.out.splitlines()[0]) == (
        0,
        "tenant acme: credentials unchanged (ServiceTitan tenant 1001)",
    )
    secret_file.write_text("cs1.planted-second")
    refused = command(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "repeat the command with --replace" in refused.err
    assert stored(engine, settings).client_secret.get_secret_value() == CLIENT_SECRET
    assert "credentials replaced" in command(*arguments, "--replace").out
    assert stored(engine, settings).client_secret.get_secret_value() == "cs1.planted-second"
    with engine.connect() as connection:
        trail = connection.execute(
            text("SELECT result, details ->> 'outcome', actor, origin FROM audit_log WHERE tenant = 'acme' ORDER BY id")
        ).all()
    assert [(result, outcome) for result, outcome, _, _ in trail] == [
        ("done", "added"), ("done", "unchanged"), ("refused", None), ("done", "replaced"),
    ]  # fmt: skip
    assert all(actor and origin for _, _, actor, origin in trail)
    planted.assert_nothing_planted(engine, again.all, refused.all, secrets=(*planted.PLANTED, "cs1.planted-second"))


def test_no_keyring_is_named_before_anything_is_written(
    command: Command, engine: Engine, secret_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ST_PIPELINE_ENCRYPTION_KEYS")
    said = command(*SINGLY, "--client-secret-file", str(secret_file))
    assert_refused(said, "ST_PIPELINE_ENCRYPTION_KEYS is not set", engine)


def test_credentials_are_listed_masked(command: Command, engine: Engine, secret_file: Path):
    assert "no credentials yet" in command("credentials", "list").out
    assert command("credentials", "list", "--json").json == []
    command(*SINGLY, "--client-secret-file", str(secret_file))
    command(*SINGLY, "-e", "integration", "--client-secret-file", str(secret_file))
    with engine.begin() as connection:
        store.mark_error(connection, 1, "ServiceTitan does not know this client id and secret")
    people, machines = command("credentials", "list"), command("credentials", "list", "--json")
    assert "acme@integration" in people.out
    assert "cid.…0017" in people.out
    assert "acme: ServiceTitan does not know this client id and secret\n" in people.out
    assert max(map(len, people.out.splitlines())) <= 80
    first = machines.json[0]
    assert (first["tenant"], first["client_id"], first["connection_status"]) == ("acme", "cid.…0017", "error")
    assert first["last_tested_at"].endswith("+00:00")
    planted.assert_nothing_planted(engine, people.all, machines.all)


def test_a_list_shows_what_does_not_open_instead_of_stopping(
    command: Command, secret_file: Path, monkeypatch: pytest.MonkeyPatch
):
    command(*SINGLY, "--client-secret-file", str(secret_file))
    monkeypatch.setenv("ST_PIPELINE_ENCRYPTION_KEYS", generate_key())
    assert "cannot be" in command("credentials", "list").out
    assert command("credentials", "list", "--json").json[0]["client_id"] is None


def test_commands_about_credentials_load_neither_pandas_nor_dagster(variables: dict[str, str]):
    """They would cost a second each."""
    code = (
        "import sys; from st_pipeline.cli import run; run(['credentials', 'list']); run(['companies', 'list']); "
        "print(sorted({'pandas', 'pyarrow', 'pandera', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **variables}
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def simulated(
    servicetitan_tenant: Callable[..., SimulatedTenant],
    servicetitan_simulator: SimulatorControl,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> SimulatedTenant:
    """A tenant of the simulator, the simulator in ServiceTitan's place, and the secret in a file."""
    tenant = servicetitan_tenant(customers=12, invoices=1500)
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_API_URL", servicetitan_simulator.production_url)
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_AUTH_URL", f"{servicetitan_simulator.production_url}/connect/token")
    monkeypatch.setenv("ST_PIPELINE_INTEGRATION_API_URL", servicetitan_simulator.integration_url)
    monkeypatch.setenv("ST_PIPELINE_INTEGRATION_AUTH_URL", f"{servicetitan_simulator.integration_url}/connect/token")
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", tenant.app_key)
    secret = tmp_path / "simulated"
    secret.write_text(tenant.client_secret)
    secret.chmod(0o600)
    return tenant


def test_added_credentials_are_tested_at_once(command: Command, simulated: SimulatedTenant, tmp_path: Path):
    said = command(
        "credentials", "add", "acme", "--tenant-id", str(simulated.tenant_id), "--client-id", simulated.client_id,
        "--client-secret-file", str(tmp_path / "simulated"),
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "tn.acc.invoices:r" in said.out
    invoices = simulated.truth()["invoices"]["live"]
    assert f"{invoices:,}" in said.out
    assert "acme: connected. ServiceTitan accepts the credentials; all" in said.words
    assert max(map(len, said.out.splitlines())) <= 80
    machines = command("credentials", "test", "acme", "--json")
    assert machines.code == 0
    assert (machines.json["tenant"], machines.json["connected"], machines.json["complete"]) == ("acme", True, True)
    assert {"entity": "invoices", "scope": "tn.acc.invoices:r", "granted": True, "rows": invoices, "status": "ok"} in (
        machines.json["entities"]
    )
    assert simulated.client_secret not in said.all + machines.all
    assert command("credentials", "list", "--json").json[0]["connection_status"] == "connected"


def test_a_test_that_fails_ends_with_1_and_says_what_to_do(
    command: Command, simulated: SimulatedTenant, secret_file: Path
):
    arguments = ("--tenant-id", str(simulated.tenant_id), "--client-id", simulated.client_id)
    added = command("credentials", "add", "acme", *arguments, "--client-secret-file", str(secret_file))
    assert added.code == 1
    assert "tenant acme: credentials added" in added.out
    tested = command("credentials", "test", "acme")
    assert tested.code == 1
    assert tested.words.startswith("acme: NOT connected. ServiceTitan does not know this client id and secret")
    assert "not asked" not in tested.words
    assert CLIENT_SECRET not in added.all + tested.all
    machines = command("credentials", "test", "acme", "--json")
    assert machines.code == 1
    assert machines.json["verdict"] == "wrong client id or secret"
    unknown = command("credentials", "test", "acne")
    assert (unknown.code, unknown.err) == (
        2, "Error: unknown tenant 'acne': did you mean acme? `st-pipeline credentials list` shows all\n",
    )  # fmt: skip


def test_a_missing_scope_ends_with_1_though_the_tenant_is_connected(
    command: Command, simulated: SimulatedTenant, tmp_path: Path
):
    """A script that goes on after 0 may count on every entity."""
    simulated.change(scopes=["tn.crm.customers:r"])
    said = command(
        "credentials", "add", "acme", "--tenant-id", str(simulated.tenant_id), "--client-id", simulated.client_id,
        "--client-secret-file", str(tmp_path / "simulated"),
    )  # fmt: skip
    assert said.code == 1
    assert "acme: connected. Scopes are missing for" in said.words
    assert command("credentials", "list", "--json").json[0]["connection_status"] == "connected"
