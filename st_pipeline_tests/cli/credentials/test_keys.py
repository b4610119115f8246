"""A new key, everything brought under it, and the proof that the old one may go."""

import os
import socket
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.environment_file import write_values
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import run_sessions
from st_pipeline.postgres.database import open_engine
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings
from st_pipeline.tenants import keyring_holders, rekeying, store
from st_pipeline.vault.encryption import Vault, generate_key
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"
TENANTS = ("acme", "other", "third")


@pytest.fixture
def stored(engine: Engine, settings: Settings) -> str:
    """Three tenants under key 1: two with an app key, one with a token; nine values. Returns the keyring."""
    for number, name in enumerate(TENANTS, start=1):
        key = planted.APP_KEY if number < 3 else None
        tenant = put_tenant(engine, settings, new_credential(name, tenant_id=number, app_key=key))
    token = Token(SecretStr(planted.TOKEN), datetime.now(UTC) + timedelta(seconds=900))
    store.PostgresTokenStore(engine, settings, tenant).save(token)
    assert settings.encryption_keys is not None
    return settings.encryption_keys.get_secret_value()


def test_everything_moves_to_the_new_key_and_the_old_one_may_go(
    command: Command, engine: Engine, settings: Settings, stored: str, monkeypatch: pytest.MonkeyPatch
):
    new = generate_key()
    number = int(new.partition(":")[0])
    first = command("keys", "status")
    assert (first.code, "Everything is encrypted with the newest key" in first.out) == (0, True)
    monkeypatch.setenv(VARIABLE, f"{new},{stored}")
    before = command("keys", "status")
    assert "9 values are encrypted with an older key: `st-pipeline keys rotate`" in before.words
    done = command("keys", "rotate")
    assert done.code == 0, done.err
    assert f"9 values of 3 credentials now encrypted with key {number}" in done.words
    after = command("keys", "status", "--json")
    assert (after.code, after.json["removable"], after.json["to_rotate"]) == (0, [1], 0)
    assert after.json["keys"][0] == {
        "key_id": number, "in_keyring": True, "encrypts": True, "values": 9, "open": 9,
    }  # fmt: skip
    assert "No stored value needs key 1: it may be removed" in command("keys", "status").words
    again = command("keys", "rotate", "--json")
    assert (again.code, again.json["values"], again.json["broken"]) == (0, 0, [])
    monkeypatch.setenv(VARIABLE, new)
    assert command("keys", "status").code == 0
    only_new = settings.model_copy(update={"encryption_keys": SecretStr(new)})
    with engine.connect() as connection:
        authentication = store.load_authentication(connection, only_new, "acme")
        third = store.find_tenant(connection, "third")
        actions = connection.execute(text("SELECT actor <> '' FROM audit_log WHERE action = 'keys.rotate'")).all()
    assert authentication.client_secret.get_secret_value() == planted.CLIENT_SECRET
    assert authentication.app_key.get_secret_value() == planted.APP_KEY
    token = store.PostgresTokenStore(engine, only_new, third).load()
    assert token is not None
    assert token.value.get_secret_value() == planted.TOKEN
    assert len(actions) == 2
    texts = [said.all for said in (first, before, done, after, again)]
    planted.assert_nothing_planted(engine, *texts, secrets=(*planted.PLANTED, new, stored))
    assert max(len(line) for said in (first, before, done) for line in said.out.splitlines()) <= 80


def in_place(settings: Settings, ring: str) -> Settings:
    """A process's settings with another keyring."""
    return settings.model_copy(update={"encryption_keys": SecretStr(ring)})


def test_a_process_that_runs_through_a_rotation_reads_its_keys_again(
    engine: Engine, settings: Settings, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It would fail every poll, and tell people to enter again what is in order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, stored)  # as Dagster put it there from the .env of that time
    new = generate_key()
    rekeying.rotate(engine, Vault(SecretStr(f"{new},{stored}")))
    with engine.connect() as connection:
        with pytest.raises(ConfigurationError, match=r"does not hold .*it has 1\).*Nothing is lost .*restart"):
            store.load_authentication(connection, settings, "acme")
        write_values({VARIABLE: f"{new},{stored}"})
        authentication = store.load_authentication(connection, settings, "acme")
    assert authentication.client_secret.get_secret_value() == planted.CLIENT_SECRET


def test_a_rotation_is_refused_while_a_run_lacks_the_new_key(
    command: Command, engine: Engine, settings: Settings, stored: str, monkeypatch: pytest.MonkeyPatch
):
    run_id, new = uuid.uuid4(), generate_key()
    of_run = open_engine(engine.url)
    run_sessions.hold_run_lock(of_run, run_id)
    with of_run.begin() as connection:
        keyring_holders.note(connection, settings, run_id)
        connection.execute(text("UPDATE keyring_holders SET environment_file = 'elsewhere', "
                                "seen_at = now() - interval '1 hour'"))  # fmt: skip
    monkeypatch.setenv(VARIABLE, f"{new},{stored}")
    refused = command("keys", "rotate")
    assert refused.code == 2
    assert f"process {os.getpid()} on {socket.gethostname()} does not have key" in refused.err
    of_run.dispose()  # the run ends
    assert command("keys", "rotate").code == 0


def test_a_rotation_is_refused_while_a_dagster_process_lacks_the_new_key_unless_it_shares_the_env_file(
    engine: Engine, settings: Settings, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, stored)
    new = generate_key()
    vault = Vault(SecretStr(f"{new},{stored}"))
    with engine.begin() as connection:
        keyring_holders.note(connection, settings)
    with pytest.raises(ConfigurationError, match=r"process .* does not have key"):
        rekeying.rotate(engine, vault)
    write_values({VARIABLE: f"{new},{stored}"})  # the process reads it there
    assert rekeying.rotate(engine, vault).values == 9


@pytest.mark.parametrize("change", ["restarted", "gone for some minutes"])
def test_a_dagster_process_that_holds_the_new_key_or_is_gone_hinders_no_rotation(
    engine: Engine, settings: Settings, stored: str, change: str
):
    new = generate_key()
    with engine.begin() as connection:
        keyring_holders.note(connection, settings)
        if change == "restarted":
            keyring_holders.note(connection, in_place(settings, f"{new},{stored}"))
        else:
            connection.execute(text("UPDATE keyring_holders SET seen_at = now() - interval '3 minutes'"))
    assert rekeying.rotate(engine, Vault(SecretStr(f"{new},{stored}"))).values == 9


def test_a_rotation_that_was_stopped_goes_on(engine: Engine, stored: str):
    """Killed between two batches: what is done stays done, and both keys open everything all the time."""
    vault = Vault(SecretStr(f"{generate_key()},{stored}"))
    with engine.begin() as connection:
        connection.execute(
            text("CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE SQLSTATE ''57P01''; END'")
        )
        connection.execute(
            text("CREATE TRIGGER fail BEFORE UPDATE ON servicetitan_credentials FOR EACH ROW WHEN (old.id = 3) "
                 "EXECUTE FUNCTION fail()")
        )  # fmt: skip
    with pytest.raises(Exception, match=r"Postgres at \S+ does not answer"):
        rekeying.rotate(engine, vault, rows_per_batch=2)
    with engine.begin() as connection:
        halfway = rekeying.status(connection, vault)
        connection.execute(text("DROP TRIGGER fail ON servicetitan_credentials"))
    assert ([key.open for key in halfway.keys], halfway.broken) == ([6, 3], [])
    assert rekeying.rotate(engine, vault, rows_per_batch=2).values == 3
    with engine.begin() as connection:
        assert rekeying.status(connection, vault).removable == [1]


def test_what_does_not_open_is_named_and_stops_nothing_else(
    command: Command, engine: Engine, stored: str, monkeypatch: pytest.MonkeyPatch
):
    with engine.begin() as connection:
        for change in (
            "client_secret = '\\x00' WHERE id = 1",
            "app_key = (SELECT app_key FROM servicetitan_credentials WHERE id = 1) WHERE id = 2",
            "access_token = client_id WHERE id = 3",
        ):
            connection.execute(text(f"UPDATE servicetitan_credentials SET {change}"))  # noqa: S608 - ours
    new = generate_key()
    monkeypatch.setenv(VARIABLE, f"{new},{stored}")
    status = command("keys", "status")
    assert status.code == 1
    assert "client_secret of acme was not encrypted by this version" in status.words
    assert "app_key of other cannot be decrypted with key 1" in status.words
    assert "access_token of third cannot be decrypted" in status.words
    done = command("keys", "rotate")
    assert done.code == 1
    assert "deleted 1 token that cannot be decrypted" in done.words
    assert "client_secret of acme" in done.words
    machines = command("keys", "rotate", "--json")
    assert (machines.code, len(machines.json["broken"]), machines.json["forgotten"]) == (1, 2, 0)
    left = command("keys", "status", "--json")
    assert (left.code, left.json["removable"], len(left.json["broken"])) == (1, [], 2)
    monkeypatch.setenv(VARIABLE, new)
    missing = command("keys", "status")
    assert (missing.code, "is missing" in missing.out, "was encrypted with key 1" in missing.words) == (1, True, True)


def test_a_token_saved_during_a_rotation_is_not_overwritten(engine: Engine, settings: Settings, stored: str):
    """The rows of a batch are locked: a save waits, and what it wrote stands."""
    new = generate_key()
    both = settings.model_copy(update={"encryption_keys": SecretStr(f"{new},{stored}")})
    with engine.connect() as connection:
        third = store.find_tenant(connection, "third")
        connection.rollback()
    newer = Token(SecretStr("newer"), datetime.now(UTC) + timedelta(seconds=900))
    store.PostgresTokenStore(engine, both, third).save(newer)
    rekeying.rotate(engine, Vault.from_settings(both))
    assert store.PostgresTokenStore(engine, both, third).load() == newer


def test_a_new_key_is_printed_alone_or_written_in_front(
    unconnected: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    old = generate_key()
    monkeypatch.setenv(VARIABLE, old)
    printed = unconnected("keys", "new")
    assert printed.code == 0
    Vault(SecretStr(printed.out.strip()))
    assert printed.out.strip() not in printed.err
    refused = unconnected("keys", "new", "--write")
    assert (refused.code, "is set in the environment" in refused.err) == (2, True)
    monkeypatch.delenv(VARIABLE)
    Path(".env").write_text(f"{VARIABLE}={old}\nOTHER=1\n")
    written = unconnected("keys", "new", "--write")
    assert written.code == 0, written.err
    assert "then `st-pipeline keys rotate`" in written.out
    lines = Path(".env").read_text().splitlines()
    ring = next(line for line in lines if line.startswith(VARIABLE)).partition("=")[2].strip("'")
    assert ring.endswith(f",{old}")
    assert "OTHER=1" in lines
    assert (Path(".env").stat().st_mode & 0o777) == 0o600
    assert not [part for part in ring.split(",") if part in written.all]
    monkeypatch.delenv(VARIABLE)  # what is written holds for the rest of the process
    Path(".env").write_text(f"{VARIABLE}=nonsense\n")
    broken = unconnected("keys", "new")
    assert (broken.code, "entry 1" in broken.err) == (2, True)


def test_no_new_key_is_made_where_the_lost_one_is_needed(
    command: Command, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert stored
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE)
    for option in ((), ("--write",)):
        said = command("keys", "new", *option)
        assert (said.code, said.out) == (2, "")
        assert "holds 3 credentials encrypted with it" in said.err
    assert not Path(".env").exists()
    for line in (("keys", "status"), ("keys", "rotate")):
        assert command(*line).code == 2


def test_the_first_key_of_an_empty_installation_is_made(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE)
    said = command("keys", "new", "--write")
    assert (said.code, "rotate" in said.out) == (0, False)
    assert Path(".env").read_text().startswith(VARIABLE)
