"""Secrets come from files, variables, standard input and prompts, never from arguments, and are never shown."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.credentials import store
from st_pipeline.credentials.vault import generate_key
from st_pipeline.settings import Settings
from st_pipeline_tests.cli.conftest import Command, Said
from st_pipeline_tests.credentials import planted
from st_pipeline_tests.credentials.planted import CLIENT_ID, CLIENT_SECRET

ADD = ("credentials", "add", "acme", "--no-test")
SINGLY = (*ADD, "--tenant-id", "1001", "--client-id", CLIENT_ID)


@pytest.fixture(autouse=True)
def _company(command: Command) -> None:
    command("companies", "add", "acme", "--name", "Acme")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(CLIENT_SECRET + "\n")
    file.chmod(0o600)
    return file


def stored(engine: Engine, settings: Settings, tenant: str = "acme"):
    with engine.connect() as connection:
        return store.load_access(connection, settings, tenant)


def assert_stored(engine: Engine, settings: Settings, said: Said) -> None:
    assert said.code == 0, said.err
    assert "tenant acme: credentials added (ServiceTitan tenant 1001)\n" in said.out
    assert "not tested yet: `st-pipeline credentials test acme`" in said.out
    assert stored(engine, settings).client_secret.get_secret_value() == CLIENT_SECRET
    planted.assert_nothing_planted(engine, said.all)


def assert_refused(engine: Engine, said: Said, reason: str) -> None:
    """Exit code 2, one line, no secret, nothing half-written."""
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("Error: ")
    assert len([line for line in said.err.splitlines() if line.startswith("Error: ")]) == 1
    assert reason in said.err
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM servicetitan_credentials")).scalar_one() == 0
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
    assert said.err == f"Warning: {file} can be read by other users of this machine: chmod 600\n"
    assert stored(engine, settings).app_key.get_secret_value() == planted.APP_KEY


GOOD = {"tenant_id": 1001, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ("", "is no JSON: it breaks at line 1, column 1"),
        ('{"client_secret": "' + CLIENT_SECRET + '"', "is no JSON: it breaks at line 1"),
        ("[" * 100_000, "larger than 64 KB"),
        ("[" * 60_000, "a key stands there twice, or a value is out of range"),
        (f'["{CLIENT_SECRET}"]', "holds no JSON object"),
        ({"tenant_id": 1001, "client_id": CLIENT_ID}, "client_secret is missing"),
        ({}, "tenant_id, client_id, client_secret is missing"),
        ({**GOOD, "clientSecret": "x", "secret": "y"}, "unknown key secret:"),
        ({**GOOD, CLIENT_SECRET: "x"}, "unknown key (not shown):"),
        ({**GOOD, "tenant_id": "1001"}, "tenant_id must be a positive number, without quotes"),
        ({**GOOD, "tenant_id": True}, "tenant_id must be"),
        ({**GOOD, "tenant_id": -1}, "tenant_id must be"),
        ({**GOOD, "tenant_id": 2**63}, "tenant_id must be"),
        ({**GOOD, "client_secret": None}, "client_secret must be text in quotes"),
        ({**GOOD, "client_secret": ""}, "the client_secret in"),
        ({**GOOD, "client_secret": CLIENT_SECRET + "\n"}, "has blanks or line breaks inside"),
        ({**GOOD, "app_key": planted.APP_KEY + " x"}, "has blanks or line breaks inside"),
        (json.dumps(GOOD)[:-1] + ', "tenant_id": 5}', "a key stands there twice"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
    ],
)
def test_a_malformed_credential_file_is_refused_in_one_line(
    command: Command, engine: Engine, tmp_path: Path, held: Any, reason: str
):
    file = tmp_path / "acme.json"
    file.write_bytes(
        held if isinstance(held, bytes) else (held if isinstance(held, str) else json.dumps(held)).encode()
    )
    file.chmod(0o600)
    said = command(*ADD, "--file", str(file))
    assert_refused(engine, said, reason)
    assert str(file) in said.err


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (b"", "the client secret is empty"),
        (b" \n", "the client secret is empty"),
        (b"cs1.planted -client-secret", "has blanks or line breaks inside"),
        (CLIENT_SECRET.encode() + b"\n" + CLIENT_ID.encode(), "has blanks or line breaks inside"),
        (b"cs1.\x00planted", "holds characters that no key has"),
        (b"\xff\xfe", "is no UTF-8 text"),
        (b"x" * 70_000, "larger than 64 KB"),
        (b"x" * 5_000, "has 5,000 characters"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    command: Command, engine: Engine, secret_file: Path, held: bytes, reason: str
):
    secret_file.write_bytes(held)
    assert_refused(engine, command(*SINGLY, "--client-secret-file", str(secret_file)), reason)


def test_blanks_around_a_secret_are_removed_and_mentioned(
    command: Command, engine: Engine, settings: Settings, secret_file: Path
):
    secret_file.write_text(f"  {CLIENT_SECRET}\n\n")
    said = command(*SINGLY, "--client-secret-file", str(secret_file))
    assert_stored(engine, settings, said)
    assert said.err == "Note: blanks around the client secret were removed\n"


def test_nothing_on_standard_input_is_refused(process: Command, engine: Engine):
    assert_refused(engine, process(*SINGLY), "the client secret is empty")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--client-secret-file", CLIENT_SECRET), "cannot read the file of --client-secret-file: No such file"),
        (("--client-secret-env", CLIENT_SECRET), "the variable that --client-secret-env names is not set"),
        (("--app-key-env", planted.APP_KEY, "--client-secret-stdin"), "the variable that --app-key-env names"),
    ],
)
def test_a_secret_put_where_its_source_belongs_is_not_repeated(
    command: Command, engine: Engine, arguments: tuple[str, ...], reason: str
):
    assert_refused(engine, command(*SINGLY, *arguments), reason)


@pytest.mark.parametrize("option", ["--client-secret", "--app-key", "--secret"])
def test_no_option_takes_a_secret(command: Command, engine: Engine, option: str):
    """An argument stands in the process list and in the shell's history."""
    assert command(*SINGLY, option, "cs1.something").code == 2
    assert command(*SINGLY, f"{option}=cs1.something").code == 2
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM servicetitan_credentials")).scalar_one() == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--tenant-id and --client-id are needed, or --file"),
        (("--tenant-id", "1", "--client-id", "x", "--file", "f"), "--file holds everything"),
        (("--file", "f", "--client-secret-stdin"), "--file holds everything"),
        (("--file", "missing.json"), "cannot read missing.json: No such file"),
        (
            ("--tenant-id", "1", "--client-id", "x", "--client-secret-env", "A", "--client-secret-file", "f"),
            "two sources",
        ),
        (("--tenant-id", "1", "--client-id", "x", "--client-secret-env", "A", "--client-secret-stdin"), "two sources"),
        (("--tenant-id", "1", "--client-id", "x", "--app-key-env", "A", "--app-key-file", "f"), "two sources"),
        (("--tenant-id", "1", "--client-id", " ", "--client-secret-env", "A"), "the client id is empty"),
    ],
)
def test_contradicting_sources_are_refused(
    command: Command, engine: Engine, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
):
    monkeypatch.setenv("A", "cs1.something")
    assert_refused(engine, command(*ADD, *arguments), reason)


def test_an_unknown_company_is_told_its_nearest_name(command: Command, engine: Engine, secret_file: Path):
    said = command("credentials", "add", "acmee", *SINGLY[3:], "--client-secret-file", str(secret_file))
    assert_refused(engine, said, "unknown company 'acmee': did you mean acme?")
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
    assert_refused(engine, said, "ST_PIPELINE_ENCRYPTION_KEYS is not set")


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
    assert "does not" in command("credentials", "list").out
    assert command("credentials", "list", "--json").json[0]["client_id"] is None


def test_short_client_ids_are_masked_whole():
    from st_pipeline.credentials.secret_text import mask

    assert [mask(SecretStr(text)) for text in ("cid.ab", "short", "abcdefghijklmnop")] == ["cid.…", "…", "…mnop"]


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
