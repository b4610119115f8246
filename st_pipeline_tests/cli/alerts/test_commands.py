"""`st-pipeline alerts`: what people see and change, and that changes are audited."""

from datetime import UTC, datetime, timedelta

from st_pipeline_tests.alerts.receiver import Minutes, Receiver
from st_pipeline_tests.cli.conftest import Command, assert_refused

TRAIL = "SELECT action, tenant, result, details FROM audit_log WHERE action LIKE 'alerts.%' ORDER BY id"


def test_an_alert_is_listed_shown_and_acknowledged(minutes: Minutes, command: Command):
    minutes.add("acme")
    assert command("alerts", "list").out == "nothing is wrong\n"
    minutes.refuse("acme")
    minutes.pass_(4, every=2)
    listed = command("alerts", "list")
    assert listed.words == (
        "1 error acme: credentials_refused, since 2026-03-02 09:00 UTC, open the client secret is not valid any more"
    )
    assert max(map(len, listed.out.splitlines())) <= 80
    shown = command("alerts", "show", "1")
    assert "What to do: `st-pipeline credentials test acme` says what is missing" in shown.words
    assert "ops opened taken at 2026-03-02 09:04 UTC" in shown.words
    assert command("alerts", "ack", "1", "--because", "new secret is on its way").out == (
        "alert 1 (credentials_refused): acknowledged\n"
    )
    (found,) = command("alerts", "list", "--json").json["alerts"]
    assert (found["state"], found["because"], found["figures"]) == (
        "acknowledged",
        "new secret is on its way",
        {"times_refused": 1},
    )
    assert minutes.rows(TRAIL)[0][:3] == ("alerts.ack", "acme", "done")
    minutes.accept("acme")
    minutes.pass_(1)
    assert command("alerts", "list", "--json").json["alerts"] == []
    minutes.change("UPDATE alert_problems SET closed_at = now()")
    (over,) = command("alerts", "list", "--closed", "1", "--json").json["alerts"]
    assert over["state"] == "over"


def test_a_silence_holds_back_what_is_new_until_it_ends(minutes: Minutes, receiver: Receiver, command: Command):
    minutes.add("acme", "birch")
    minutes.now = datetime.now(UTC)
    said = command("alerts", "silence", "--tenant", "acme", "--hours", "48", "--because", "they move")
    assert said.out.startswith("silence 1: all alerts of acme, until 20")
    minutes.refuse("acme")
    minutes.pass_(4, every=2)
    assert receiver.log == []
    assert command("alerts", "list").words.startswith("nothing is wrong silence 1: all alerts of acme until")
    held = command("alerts", "list", "--held-back", "--json").json
    assert [one["state"] for one in held["alerts"]] == ["held back"]
    assert [(one["tenant"], one["because"]) for one in held["silences"]] == [("acme", "they move")]
    assert command("alerts", "silence", "--end", "1").out == "silence 1: ended\n"
    minutes.now = datetime.now(UTC) + timedelta(minutes=5)
    minutes.tick()
    assert len(receiver.titles("ops")) == 1
    assert [row[:3] for row in minutes.rows(TRAIL)] == [
        ("alerts.silence", "acme", "done"),
        ("alerts.silence_end", None, "done"),
    ]


def test_a_test_message_goes_through_every_channel_and_each_says_what_happened(
    minutes: Minutes, receiver: Receiver, command: Command
):
    assert minutes.settings.alert_channels is not None
    assert command("alerts", "test").out == "ops: took the message\nmail: took the message\n"
    receiver.answers["mail"] = 403
    said = command("alerts", "test", "--json")
    assert (said.code, said.json) == (
        1,
        [
            {"channel": "ops", "delivered": True, "error": None},
            {"channel": "mail", "delivered": False, "error": "HTTP 403"},
        ],
    )
    assert command("alerts", "test", "ops").code == 0
    assert receiver.titles("ops") == ["TEST: st-pipeline"] * 3


def test_deliver_does_what_the_sensor_does(minutes: Minutes, receiver: Receiver, command: Command):
    minutes.add("acme")
    minutes.now = datetime.now(UTC) - timedelta(minutes=5)
    minutes.refuse("acme")
    minutes.tick()
    said = command("alerts", "deliver")
    assert (said.code, said.out) == (0, "alerts: 1 new, 0 over, 1 open; messages sent: 2; heartbeat not set\n")
    assert (len(receiver.titles("ops")), len(receiver.titles("mail"))) == (1, 1)
    receiver.answers |= {"ops": 500, "mail": 500}
    minutes.accept("acme")
    again = command("alerts", "deliver", "--json")
    assert (again.code, again.json["closed"], again.json["sent"]) == (
        1,
        1,
        {"delivered": 0, "failed": {"ops": "HTTP 500", "mail": "HTTP 500"}},
    )


def test_what_names_nothing_is_refused(minutes: Minutes, command: Command):
    minutes.add("acme")
    assert_refused(command("alerts", "ack", "9"), "no open alert has the number 9")
    assert_refused(command("alerts", "show", "9"), "no alert has the number 9")
    assert_refused(command("alerts", "silence", "--end", "9"), "no silence has the number 9")
    assert_refused(command("alerts", "silence", "--tenant", "acm", "--hours", "1"), "did you mean acme?")
    assert_refused(command("alerts", "silence", "--cause", "sync_fail", "--hours", "1"), "did you mean sync_failing")
    assert_refused(command("alerts", "silence", "--tenant", "acme"), "for how long?")
    assert_refused(command("alerts", "silence", "--end", "1", "--hours", "1"), "--end takes the number")
    assert_refused(command("alerts", "test", "opps"), "unknown channel 'opps': did you mean ops?")
