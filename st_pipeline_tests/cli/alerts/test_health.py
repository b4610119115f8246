"""`st-pipeline health`: exit code 0 while the platform is well, 1 with what is wrong, quickly."""

from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline_tests.alerts.receiver import Minutes, Receiver
from st_pipeline_tests.cli.conftest import Command


def states(command: Command) -> dict[str, str]:
    return {one["question"]: one["state"] for one in command("health", "--json").json["answers"]}


def test_a_platform_that_is_well_is_well_and_a_tenant_s_problem_is_its_own(minutes: Minutes, command: Command):
    minutes.add(*"abcdef")
    minutes.now = datetime.now(UTC)
    minutes.refuse("a")
    minutes.due("b")
    minutes.change("UPDATE tenant_polls SET due_at = :now - interval '1 hour' WHERE due_at = :now")
    minutes.tick()
    said = command("health")
    assert said.code == 0
    assert said.out.splitlines()[0] == "ok       database: it answers, at the version that this code needs"
    assert "warning  polls: 1 of 6 tenants are due for longer than 20 minutes" in said.out
    assert "ok       alerts: channels: ops, mail" in said.out


def test_what_is_wrong_is_named_and_the_exit_code_is_1(minutes: Minutes, receiver: Receiver, command: Command):
    minutes.add("a", "b")
    minutes.now = datetime.now(UTC) - timedelta(hours=1)
    minutes.due("a", "b")
    minutes.tick()
    said = command("health", "--json")
    assert (said.code, said.json["well"]) == (1, False)
    assert (states(command)["polls"], states(command)["alerts"]) == ("wrong", "wrong")  # nobody polls, nobody ticks
    receiver.answers |= {"ops": 500, "mail": 500}
    minutes.refuse("a")
    minutes.pass_(60, every=30)
    minutes.tick()
    assert "alerts: channels that take no messages: ops, mail" in command("health").out


def test_wrong_channels_are_wrong_and_no_address_is_shown(
    minutes: Minutes, command: Command, monkeypatch: pytest.MonkeyPatch
):
    minutes.now = datetime.now(UTC)
    minutes.tick()
    monkeypatch.setenv("ST_PIPELINE_ALERT_CHANNELS", "ops=slack://SECRET-T0KEN")
    said = command("health")
    assert said.code == 1
    assert "address of channel ops is not one that apprise understands" in said.words
    assert "SECRET-T0KEN" not in said.all


def test_without_a_database_it_says_so(unconnected: Command):
    said = unconnected("health")
    assert said.code == 1
    assert "wrong    database: " in said.out


def test_a_full_disk_is_wrong(minutes: Minutes, command: Command, monkeypatch: pytest.MonkeyPatch):
    assert minutes.settings.alert_least_free_bytes == 0
    monkeypatch.setenv("ST_PIPELINE_ALERT_LEAST_FREE_BYTES", str(10**18))
    assert states(command)["disk"] == "wrong"
