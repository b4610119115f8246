"""What every command says when its database cannot be used, `doctor` among them, and what doctor says of a disk."""

import pytest
from sqlalchemy import Engine, text

from st_pipeline_tests.cli.conftest import Command

FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON companies FOR EACH ROW EXECUTE FUNCTION full_disk();
"""
WRONG_ADDRESS = "postgresql://st:gehe@im:gehe@127.0.0.1:5432/db"
COMMANDS = (
    ("doctor",),
    ("migrate",),
    ("companies", "list"),
    ("credentials", "list"),
    ("sync",),
    ("sync-status",),
    ("logs", "1"),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_address_that_cannot_be_read_is_reported_by_every_command_and_not_shown(
    unconnected: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
):
    monkeypatch.setenv("DATABASE_URL", WRONG_ADDRESS)
    said = unconnected(*arguments)
    assert said.code == (1 if arguments == ("doctor",) else 2)
    assert "DATABASE_URL is not a valid Postgres address" in said.all
    assert "gehe" not in said.all


def test_a_full_disk_is_one_line(command: Command, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text(FULL))
    said = command("companies", "add", "acme", "--name", "Acme", "--intacct-id", "A", "--trade", "plumbing")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "add company acme: the disk of Postgres is full. Free space on it" in said.err


@pytest.mark.parametrize(("least_gb", "state"), [(0, "ok"), (0.001, "ok"), (1_000_000_000, "wrong")])
def test_a_disk_that_is_full_is_wrong(command: Command, monkeypatch: pytest.MonkeyPatch, least_gb: float, state: str):
    monkeypatch.setenv("ST_PIPELINE_ALERT_LEAST_FREE_BYTES", str(int(least_gb * 1024**3)))
    found = [one["state"] for one in command("doctor", "--json").json if one["check"] == "disk"]
    assert set(found) == {state}
