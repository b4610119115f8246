"""Messages get through: each once, also when a channel fails, a process dies, or the hours are quiet."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline.alerts.channels import Channel, Text, sender
from st_pipeline_tests.alerts.receiver import MORNING, Minutes, Receiver

REFUSED = "ERROR: Acme (acme): ServiceTitan refuses the credentials"
OVER = "OVER: Acme (acme): ServiceTitan refuses the credentials"


class Killed(BaseException):
    """Like a signal: no code of ours catches it."""


@pytest.fixture(autouse=True)
def _tenants(minutes: Minutes) -> None:
    minutes.add("acme", "birch")


def test_a_failing_channel_harms_no_other_is_tried_again_and_reported_by_the_others(
    minutes: Minutes, receiver: Receiver
):
    minutes.set(channels="ops=json://{url}/ops mail=json://{url}/mail")
    receiver.answers["mail"] = 503
    minutes.refuse("acme")
    minutes.pass_(4, every=2)
    assert (receiver.titles("ops"), receiver.titles("mail")) == ([REFUSED], [])
    minutes.pass_(12, every=4)
    (about,) = [one for one in receiver.log if one.channel == "ops"]
    assert about.title == "ERROR: mail: alerts do not get through"
    assert "channel mail takes no messages: HTTP 503" in about.body
    minutes.pass_(60, every=10)
    ((tries,),) = minutes.rows("SELECT tries FROM alert_deliveries WHERE channel = 'mail' AND delivered_at IS NULL")
    assert tries == 7  # after 1, 2, 4 and 8 minutes, then every 15, at the next tick
    receiver.answers.clear()
    minutes.pass_(20, every=10)
    assert receiver.titles("mail") == [REFUSED]
    assert receiver.titles("ops")[-1] == "OVER: mail: alerts do not get through"


def test_a_channel_that_does_not_answer_costs_a_tick_its_time_limit_and_no_more(minutes: Minutes, receiver: Receiver):
    minutes.set(channels="slow=json://{url}/slow ops=json://{url}/ops", alert_send_timeout_seconds=0.2)
    receiver.slow["slow"] = 0.5
    minutes.refuse("acme")
    minutes.refuse("birch")
    minutes.pass_(4, every=2)
    assert len(receiver.titles("ops")) == 2
    rows = minutes.rows("SELECT tries, error FROM alert_deliveries WHERE channel = 'slow' ORDER BY id")
    assert rows == [(1, "ReadTimeout"), (0, None)]


def test_what_was_sent_is_not_sent_again_when_the_process_dies_before_or_after_it(minutes: Minutes, receiver: Receiver):
    """Only between the channel's answer and its note in the database a message may be sent twice: the last case."""
    real = sender(minutes.settings)
    minutes.refuse("acme")
    minutes.pass_(2)

    def dies_before(_channel: Channel, _text: Text) -> str | None:
        raise Killed

    def dies_after(channel: Channel, text: Text) -> str | None:
        real(channel, text)
        raise Killed

    for send, arrived in ((dies_before, 0), (None, 1), (None, 1)):
        minutes.send = send
        if send is None:
            minutes.pass_(1)
        else:
            with pytest.raises(Killed):
                minutes.pass_(1)
        assert len(receiver.log) == arrived
    minutes.accept("acme")
    minutes.send = dies_after
    with pytest.raises(Killed):
        minutes.pass_(1)
    minutes.send = None
    minutes.pass_(4, every=2)
    assert receiver.titles() == [REFUSED, OVER, OVER]


def test_two_processes_send_no_message_twice(minutes: Minutes, receiver: Receiver):
    inner: list[bool] = []
    real = sender(minutes.settings)

    def ticks_beside(channel: Channel, text: Text) -> str | None:
        beside = Minutes(minutes.engine, minutes.settings, receiver, minutes.now)
        inner.append(beside.tick().is_other)
        return real(channel, text)

    minutes.send = ticks_beside
    minutes.refuse("acme")
    minutes.pass_(4)
    assert (receiver.titles(), inner) == ([REFUSED], [True])


def test_in_quiet_hours_only_errors_are_sent_and_warnings_wait_unless_they_are_over(
    minutes: Minutes, receiver: Receiver
):
    minutes.set(alert_quiet_hours="22:00-10:00", alert_time_zone=minutes.settings.time_zone)
    minutes.verdict("acme", "drift", "failed", "3 new keys", severity="warn")
    minutes.verdict("birch", "drift", "failed", "1 new key", severity="warn")
    minutes.refuse("acme")
    minutes.pass_(4, every=2)
    assert receiver.titles() == [REFUSED]  # it is 03:04 in Chicago
    minutes.verdict("birch", "drift", "passed", "")
    minutes.pass_(60, every=10)
    assert receiver.log == []
    minutes.now = MORNING.replace(hour=15, minute=59)
    minutes.pass_(1)
    assert receiver.titles() == ["WARNING: Acme (acme): check drift failed"]


def test_errors_wait_too_where_the_settings_say_so(minutes: Minutes, receiver: Receiver):
    minutes.set(alert_quiet_hours="02:00-04:00", alert_quiet_errors_pass=False)
    minutes.refuse("acme")
    minutes.pass_(20, every=5)
    assert receiver.log == []
    minutes.pass_(60, every=10)
    assert receiver.titles() == [REFUSED]


def test_a_channel_takes_what_is_as_bad_as_it_says(minutes: Minutes, receiver: Receiver):
    minutes.set(channels="ops=json://{url}/ops pager:error=json://{url}/pager")
    minutes.verdict("acme", "drift", "failed", "3 new keys", severity="warn")
    minutes.pass_(4, every=2)
    assert (len(receiver.titles("ops")), receiver.titles("pager")) == (1, [])
    minutes.verdict("acme", "drift", "failed", "30 new keys", severity="error")
    minutes.pass_(4, every=2)
    worse = "ERROR: Acme (acme): check drift failed (worse than before)"
    assert (receiver.titles("ops"), receiver.titles("pager")) == ([worse], [worse])
    minutes.verdict("acme", "drift", "passed", "")
    minutes.pass_(10, every=5)
    over = "OVER: Acme (acme): check drift failed"
    assert (receiver.titles("ops"), receiver.titles("pager")) == ([over], [over])


def test_the_digest_comes_once_a_day_and_says_what_is_open_and_what_was(minutes: Minutes, receiver: Receiver):
    minutes.set(channels="ops:digest=json://{url}/ops pager=json://{url}/pager", alert_digest_time="08:00")
    minutes.refuse("acme")
    minutes.refuse("birch")
    minutes.pass_(4, every=2)
    minutes.accept("birch")
    minutes.pass_(300, every=60)  # 08:04 in Chicago
    (digest,) = [one for one in receiver.log if one.title.startswith("Daily")]
    assert (digest.channel, digest.title) == ("ops", "Daily digest: 1 alert is open")
    since = "ServiceTitan refuses the credentials, since 2026-03-02 03:00 CST"
    assert digest.body.splitlines() == [
        "Tenants: 2. 1 alert is open; over in the last 24 hours: 1.",
        "Open:",
        f"- error: Acme (acme): {since} (alert 1)",
        "Over:",
        f"- error: Birch (birch): {since}, for 1 hour 4 minutes (alert 2)",
        "Look at: http://127.0.0.1:3000/runs",
    ]
    minutes.accept("acme")
    minutes.pass_(600, every=300)
    receiver.log.clear()
    minutes.now += timedelta(hours=14)
    minutes.pass_(2)
    (digest,) = receiver.log
    assert digest.body.splitlines()[1] == "Over:"


def test_what_waits_for_a_channel_that_is_gone_is_withdrawn(minutes: Minutes, receiver: Receiver):
    minutes.set(channels="mail=json://{url}/mail")
    receiver.answers["mail"] = 500
    minutes.refuse("acme")
    minutes.pass_(4, every=2)
    minutes.set(channels="ops=json://{url}/ops")
    minutes.pass_(10, every=5)
    assert receiver.log == []
    assert minutes.rows("SELECT count(*) FROM alert_deliveries WHERE withdrawn_at IS NULL") == [(0,)]


@pytest.mark.lab
def test_a_process_killed_while_it_sends_leaves_nothing_unsent(minutes: Minutes, receiver: Receiver):
    """The channel has taken the message and the answer is on its way: the one case in which it comes twice."""
    minutes.now = datetime.now(UTC) - timedelta(minutes=5)
    minutes.refuse("acme")
    minutes.tick()
    receiver.slow["ops"] = 5.0
    assert minutes.settings.alert_channels is not None
    environment = {
        "DATABASE_URL": minutes.engine.url.render_as_string(hide_password=False),
        "ST_PIPELINE_ALERT_CHANNELS": minutes.settings.alert_channels.get_secret_value(),
        "ST_PIPELINE_ALERT_LEAST_FREE_BYTES": "0",
        "ST_PIPELINE_HOME": str(minutes.settings.home),
    }
    command = "from st_pipeline.cli import main; main(['alerts', 'deliver'])"
    process = subprocess.Popen([sys.executable, "-c", command], env={**os.environ, **environment})
    deadline = time.monotonic() + 60
    while minutes.rows("SELECT count(*) FROM alert_deliveries WHERE tries = 1") != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    receiver.slow.clear()
    minutes.now = datetime.now(UTC)
    while minutes.tick().is_other:  # until Postgres has noticed
        assert time.monotonic() < deadline
    minutes.pass_(4, every=2)
    assert minutes.rows("SELECT tries, delivered_at IS NOT NULL FROM alert_deliveries") == [(2, True)]
    assert REFUSED in receiver.titles()
