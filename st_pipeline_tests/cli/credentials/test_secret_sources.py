"""Where secrets are taken from, and what is refused before the database is asked: there is none in most of these tests.

No message may repeat what was given; see `assert_refused`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from st_pipeline.tenants.secret_text import mask
from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import CLIENT_ID, CLIENT_SECRET

ADD = ("credentials", "add", "acme", "--no-test")
SINGLY = (*ADD, "--tenant-id", "1001", "--client-id", CLIENT_ID)


GOOD = {"tenant_id": 1001, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ("", "is not valid JSON, from line 1, column 1 on"),
        ('{"client_secret": "' + CLIENT_SECRET + '"', "is not valid JSON, from line 1"),
        ("[" * 100_000, "larger than 64 KB"),
        ("[" * 60_000, "a key appears twice, or a value is out of range"),
        (f'["{CLIENT_SECRET}"]', "is not a JSON object"),
        ({"tenant_id": 1001, "client_id": CLIENT_ID}, "client_secret is missing"),
        ({}, "tenant_id, client_id, client_secret are missing"),
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
        (json.dumps(GOOD)[:-1] + ', "tenant_id": 5}', "a key appears twice"),
        (b"\xff\xfe\x00", "is not valid UTF-8 text"),
    ],
)
def test_a_malformed_credential_file_is_refused_in_one_line(
    unconnected: Command, tmp_path: Path, held: Any, reason: str
):
    file = tmp_path / "acme.json"
    file.write_bytes(
        held if isinstance(held, bytes) else (held if isinstance(held, str) else json.dumps(held)).encode()
    )
    file.chmod(0o600)
    said = unconnected(*ADD, "--file", str(file))
    assert_refused(said, reason)
    assert str(file) in said.err


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (b"", "the client secret is empty"),
        (b" \n", "the client secret is empty"),
        (b"cs1.planted -client-secret", "has blanks or line breaks inside"),
        (CLIENT_SECRET.encode() + b"\n" + CLIENT_ID.encode(), "has blanks or line breaks inside"),
        (b"cs1.\x00planted", "contains characters that no key has"),
        (b"\xff\xfe", "is not valid UTF-8 text"),
        (b"x" * 70_000, "larger than 64 KB"),
        (b"x" * 5_000, "has 5,000 characters"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(unconnected: Command, secret_file: Path, held: bytes, reason: str):
    secret_file.write_bytes(held)
    assert_refused(unconnected(*SINGLY, "--client-secret-file", str(secret_file)), reason)


def test_nothing_on_standard_input_is_refused(process: Command):
    assert_refused(process(*SINGLY), "the client secret is empty")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--client-secret-file", CLIENT_SECRET), "cannot read the file of --client-secret-file: No such file"),
        (("--client-secret-env", CLIENT_SECRET), "the variable that --client-secret-env names is not set"),
        (("--app-key-env", planted.APP_KEY, "--client-secret-stdin"), "the variable that --app-key-env names"),
    ],
)
def test_a_secret_put_where_its_source_belongs_is_not_repeated(
    unconnected: Command, arguments: tuple[str, ...], reason: str
):
    assert_refused(unconnected(*SINGLY, *arguments), reason)


@pytest.mark.parametrize("option", ["--client-secret", "--app-key", "--secret"])
def test_no_option_takes_a_secret(unconnected: Command, option: str):
    """An argument stands in the process list and in the shell's history."""
    for arguments in ((option, "cs1.something"), (f"{option}=cs1.something",)):
        said = unconnected(*SINGLY, *arguments)
        assert said.code == 2
        assert "No such option" in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give --tenant-id and --client-id, or --file"),
        (("--tenant-id", "1", "--client-id", "x", "--file", "f"), "--file contains everything"),
        (("--file", "f", "--client-secret-stdin"), "--file contains everything"),
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
    unconnected: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str
):
    monkeypatch.setenv("A", "cs1.something")
    assert_refused(unconnected(*ADD, *arguments), reason)


def test_short_client_ids_are_masked_whole():
    assert [mask(SecretStr(text)) for text in ("cid.ab", "short", "abcdefghijklmnop")] == ["cid.…", "…", "…mnop"]
