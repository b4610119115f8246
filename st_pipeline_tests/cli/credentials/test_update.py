"""Another secret, client id, app key, tenant id or end date, and a tenant switched off and on."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from st_pipeline.tenants import store
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants import planted

NEW_SECRET = "cs.planted-new-secret"
TRAIL = "SELECT action, result, details FROM audit_log ORDER BY id DESC LIMIT 1"


@pytest.fixture
def new_secret(tmp_path: Path) -> str:
    """A file with the secret that replaces the old one."""
    file = tmp_path / "new-secret"
    file.write_text(NEW_SECRET)
    file.chmod(0o600)
    return str(file)


def stored_secret(acme: Acme) -> str:
    with acme.engine.connect() as connection:
        return store.load_authentication(connection, acme.settings, "acme").client_secret.get_secret_value()


def assert_nothing_shown(acme: Acme, *texts: str) -> None:
    secrets = (NEW_SECRET, acme.source.client_secret, acme.source.client_id, acme.source.app_key)
    planted.assert_nothing_planted(acme.engine, *texts, secrets=secrets)


def test_a_new_secret_replaces_the_old_one_once_servicetitan_takes_it(
    acme: Acme, acme_command: Command, new_secret: str
):
    acme.execute("UPDATE servicetitan_credentials SET expires_on = '2020-01-31'")
    early = acme_command("credentials", "rotate-secret", "acme", "--client-secret-file", new_secret)
    assert (early.code, early.out) == (1, "")
    assert early.err.startswith("tenant acme: the new secret is not stored, the old one stays\n")
    assert "ServiceTitan does not know this client id and secret" in early.err
    assert stored_secret(acme) == acme.source.client_secret
    assert acme.rows(TRAIL)[0][:2] == ("credentials.rotate_secret", "refused")
    acme.source.change(client_secret=NEW_SECRET)
    said = acme_command("credentials", "rotate-secret", "acme", "--client-secret-file", new_secret)
    assert said.code == 0, said.err
    assert said.out.startswith("tenant acme: secret rotated\n")
    assert "acme: connected. ServiceTitan accepts the credentials" in said.words
    assert stored_secret(acme) == NEW_SECRET
    assert acme.value("SELECT expires_on FROM servicetitan_credentials") is None
    again = acme_command(
        "credentials", "rotate-secret", "acme", "--client-secret-file", new_secret, "--expires-on", "2031-01-31"
    )
    assert (again.code, again.out.splitlines()[0]) == (0, "tenant acme: this secret is already stored")
    assert str(acme.value("SELECT expires_on FROM servicetitan_credentials")) == "2031-01-31"
    outcomes = "SELECT details ->> 'outcome' FROM audit_log WHERE action = 'credentials.rotate_secret' ORDER BY id"
    assert acme.rows(outcomes) == [(None,), ("replaced",), ("unchanged",)]
    assert_nothing_shown(acme, early.all, said.all, again.all)


@pytest.mark.parametrize("test", ["--test", "--no-test"])
def test_a_sync_that_runs_goes_on_when_the_old_secret_and_its_tokens_die(
    acme: Acme, acme_command: Command, new_secret: str, test: str
):
    """With --test the new token is shared; without, the sync is refused with its old secret and reads the new one."""
    with acme.syncing(incremental_only=False) as sync:
        entities = sync.entities()
        assert next(entities).error is None
        acme.source.change(client_secret=NEW_SECRET)
        acme.source.revoke_tokens()
        said = acme_command("credentials", "rotate-secret", "acme", "--client-secret-file", new_secret, test)
        assert said.code == 0, said.err
        assert [outcome.entity for outcome in entities if outcome.error is not None] == []
    assert sync.result.success
    assert acme.differences() == []


def test_asking_for_the_secret_first_fetches_a_token_that_bridges_the_moment(
    acme: Acme, acme_command: Command, variables: dict[str, str]
):
    """While a person makes the new secret, the old one is dead: a sync that needs a token then must find one."""
    del acme_command
    simulator = {
        "ST_PIPELINE_PRODUCTION_API_URL": acme.source.url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{acme.source.url}/connect/token",
        "ST_PIPELINE_APP_KEY": acme.source.app_key,
    }
    screen, terminal = pty.openpty()
    arguments = [sys.executable, "-c", "from st_pipeline.cli import main; main()",
                 "credentials", "rotate-secret", "acme"]  # fmt: skip
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True,
        env={**os.environ, **variables, **simulator},
    ) as asked:  # fmt: skip
        os.close(terminal)
        seen = b""
        while b"client secret (not shown)" not in seen:
            seen += os.read(screen, 1024)
        acme.source.change(client_secret=NEW_SECRET)
        meanwhile = acme.sync(only=("tag_types",))
        os.write(screen, NEW_SECRET.encode() + b"\n")
        assert asked.stdout is not None
        out = asked.stdout.read().decode()
    os.close(screen)
    assert (meanwhile.success, asked.returncode) == (True, 0), seen
    assert "for ten minutes no sync needs the old secret" in " ".join(out.split())
    assert stored_secret(acme) == NEW_SECRET
    assert_nothing_shown(acme, out, seen.decode())


def test_the_new_secret_comes_from_a_variable_or_a_pipe_but_not_from_two_sources(
    acme: Acme, acme_command: Command, process: Command, new_secret: str, monkeypatch: pytest.MonkeyPatch
):
    rotate = ("credentials", "rotate-secret", "acme", "--no-test")
    monkeypatch.setenv("NEW", NEW_SECRET)
    acme.execute("UPDATE servicetitan_credentials SET connection_status = 'error'")
    said = acme_command(*rotate, "--client-secret-env", "NEW")
    assert said.out == "tenant acme: secret rotated\nnot tested yet: `st-pipeline credentials test acme`\n"
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "pending"
    piped = process(*rotate, "--client-secret-stdin", stdin="cs.planted-third\r\n")
    assert piped.code == 0, piped.err
    assert stored_secret(acme) == "cs.planted-third"
    two = acme_command(*rotate, "--client-secret-file", new_secret, "--client-secret-stdin")
    assert (two.code, "two sources for the client secret" in two.err) == (2, True)
    unknown = acme_command("credentials", "rotate-secret", "acne", "--client-secret-file", new_secret)
    assert (unknown.code, "did you mean acme?" in unknown.err) == (2, True)
    day = acme_command(*rotate, "--client-secret-env", "NEW", "--expires-on", "31.1.2027")
    assert (day.code, "write it as 2027-01-31" in day.err) == (2, True)


def test_keys_with_which_nothing_can_be_read_are_not_stored(acme: Acme, acme_command: Command):
    bad = acme_command("credentials", "update", "acme", "--client-id", "cid.planted-wrong")
    assert bad.code == 1
    assert "acme: NOT connected." in bad.words
    assert "nothing changed; --no-test stores it anyway" in bad.words
    assert acme.rows(TRAIL)[0][:2] == ("credentials.update", "refused")
    assert acme_command("credentials", "list", "--json").json[0]["connection_status"] == "pending"
    forced = acme_command("credentials", "update", "acme", "--client-id", "cid.planted-wrong", "--no-test")
    assert (forced.code, forced.out) == (0, "tenant acme: client id updated\n")
    assert acme_command("credentials", "list", "--json").json[0]["client_id"] == "cid.…rong"
    fixed = acme_command("credentials", "update", "acme", "--client-id", acme.source.client_id)
    assert fixed.code == 0, fixed.all
    assert fixed.out.endswith("tenant acme: client id updated\n")
    assert acme.value("SELECT access_token IS NOT NULL FROM servicetitan_credentials")
    assert acme_command("credentials", "list", "--json").json[0]["connection_status"] == "connected"
    same = acme_command("credentials", "update", "acme", "--client-id", acme.source.client_id)
    assert (same.code, same.out) == (0, "tenant acme: nothing changed\n")
    assert_nothing_shown(acme, bad.all, forced.all, fixed.all)


def test_a_tenant_may_have_an_app_key_of_its_own_and_lose_it_again(
    acme: Acme, acme_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ST_PIPELINE_APP_KEY")
    key = tmp_path / "key"
    key.write_text(acme.source.app_key)
    key.chmod(0o600)
    said = acme_command("credentials", "update", "acme", "--app-key-file", str(key))
    assert said.code == 2  # the settings have none, so there is nothing that works to compare with
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", "ak1.of-another-app")
    said = acme_command("credentials", "update", "acme", "--app-key-file", str(key))
    assert said.code == 0, said.all
    assert acme_command("credentials", "show", "acme", "--json").json["own_app_key"] is True
    monkeypatch.setenv("KEY", acme.source.app_key)
    both = acme_command("credentials", "update", "acme", "--app-key-env", "KEY", "--no-app-key")
    assert (both.code, "give one of them" in both.err) == (2, True)
    back = acme_command("credentials", "update", "acme", "--no-app-key")
    assert (back.code, "wrong" in back.words) == (1, True)
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", acme.source.app_key)
    back = acme_command("credentials", "update", "acme", "--no-app-key")
    assert back.out.endswith("tenant acme: app key updated\n")
    assert acme_command("credentials", "show", "acme", "--json").json["own_app_key"] is False


def test_a_tenant_id_can_be_fixed_until_rows_are_here(acme: Acme, acme_command: Command):
    right = str(acme.source.tenant_id)
    update = ("credentials", "update", "acme", "--tenant-id")
    assert acme_command(*update, "1001", "--no-test").code == 0
    assert acme_command(*update, right).code == 0
    with acme.syncing(only=("tag_types",)) as sync:
        busy = acme_command(*update, "1001", "--no-test")
        assert (busy.code, "is being synced" in busy.err) == (1, True)
        assert all(outcome.error is None for outcome in sync.entities())
    refused = acme_command(*update, "1001", "--no-test")
    assert (refused.code, "holds data of ServiceTitan tenant" in refused.err) == (2, True)
    assert acme.rows(TRAIL)[0][:2] == ("credentials.update", "refused")
    assert acme.value("SELECT tenant_id FROM servicetitan_credentials") == acme.source.tenant_id
    for wrong, reason in (("0", "not a valid ServiceTitan tenant id"), ("x", "not a valid integer")):
        said = acme_command(*update, wrong)
        assert (said.code, reason in said.err) == (2, True)


def test_another_companys_tenant_id_is_refused(acme: Acme, acme_command: Command):
    acme_command("companies", "add", "other", "--name", "Other")
    other = planted.put_tenant(acme.engine, acme.settings, planted.new_credential(company="third", tenant_id=77))
    said = acme_command("credentials", "update", "acme", "--tenant-id", str(other.tenant_id), "--no-test")
    assert (said.code, "already belongs to another company" in said.err) == (2, True)


def test_a_tenant_is_disabled_with_its_reason_and_enabled_again(acme: Acme, acme_command: Command):
    reason = "contract [paused] until March"
    said = acme_command("credentials", "disable", "acme", "--because", reason)
    assert (said.code, said.out) == (0, "tenant acme disabled\n")
    assert acme.value("SELECT count(*) FROM tenants WHERE enabled") == 0
    assert acme.rows(TRAIL) == [("credentials.disable", "done", {"reason": reason, "outcome": "changed"})]
    listed = acme_command("credentials", "list").out
    assert "disabled" in listed
    assert f"acme: disabled: {reason}" in listed
    assert "is already disabled" in acme_command("credentials", "disable", "acme").out
    assert acme_command("credentials", "show", "acme", "--json").json["disabled_reason"] == reason
    assert f"disabled: {reason}" in acme_command("credentials", "show", "acme").words
    acme_command("companies", "update", "acme", "--disable")
    back = acme_command("credentials", "enable", "acme", "--reason", "paid")
    assert (back.code, back.out) == (0, "tenant acme enabled\n")
    assert "its company is disabled: `st-pipeline companies update acme --enable`" in back.err
    assert "disabled with its company" in acme_command("credentials", "show", "acme").words
    acme_command("companies", "update", "acme", "--enable")
    assert acme.value("SELECT disabled_reason FROM servicetitan_credentials") is None
    assert "is already enabled" in acme_command("credentials", "enable", "acme").out
    bad = acme_command("credentials", "disable", "acme", "--reason", "x" * 201)
    assert (bad.code, "longer than 200" in bad.err) == (2, True)
    assert acme.value("SELECT count(*) FROM tenants WHERE enabled") == 1
