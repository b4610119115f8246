"""The channels' setting is read with clear errors, and no error or log line shows an address."""

import logging

import pytest
from pydantic import SecretStr

from st_pipeline.alerts.channels import Text, check_channels, read_channels, sender
from st_pipeline.alerts.heartbeat import beat
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.check_verdicts import Severity
from st_pipeline.settings import Settings, load_settings
from st_pipeline_tests.alerts.mailbox import mailbox
from st_pipeline_tests.alerts.receiver import Receiver

TOKEN = "T0KEN-that-nobody-may-see"


def settings(channels: str, timeout_seconds: float = 5.0) -> Settings:
    return load_settings(alert_channels=SecretStr(channels), alert_send_timeout_seconds=timeout_seconds)


def test_channels_have_names_and_options():
    found = read_channels(settings("ops=json://a\n pager:error:digest=json://b?x=1=2"))
    assert [(one.name, one.least, one.has_digest) for one in found.values()] == [
        ("ops", Severity.WARN, False),
        ("pager", Severity.ERROR, True),
    ]
    assert found["pager"].address.get_secret_value() == "json://b?x=1=2"
    assert read_channels(load_settings()) == {}


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        (f"slack://{TOKEN}", "channel 1 is not valid: write name=address"),
        (f"ops=json://a Ops!=json://{TOKEN}", "channel 2 is not valid"),
        (f"ops=json://a ops=json://{TOKEN}", "two channels are called ops"),
        (f"ops:loud=json://{TOKEN}", "the options of channel ops are not valid"),
        (f"ops:warn:error=json://{TOKEN}", "the options of channel ops are not valid"),
        (f"ops=slack://{TOKEN}", "the address of channel ops is not one that apprise understands"),
        (f"ops={TOKEN}", "the address of channel ops is not one that apprise understands"),
    ],
    ids=["no name", "bad name", "twice", "unknown option", "two severities", "incomplete", "no address"],
)
def test_a_wrong_setting_says_what_is_wrong_and_shows_no_address(channels: str, reason: str):
    with pytest.raises(ConfigurationError) as refused:
        check_channels(settings(channels))
    assert reason in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "error"), [("ok", None), ("bad", "HTTP 401"), ("moved", "HTTP 302"), ("slow", "ReadTimeout")]
)
def test_an_error_is_told_by_its_kind_and_no_log_line_shows_the_address(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, path: str, error: str | None
):
    caplog.set_level(logging.DEBUG)
    receiver.answers |= {"bad": 401, "moved": 302}
    receiver.slow["slow"] = 0.6
    given = settings(f"ops=json://user:{TOKEN}@{receiver.url}/{TOKEN}/{path}", 0.3 if path == "slow" else 5.0)
    channel = read_channels(given)["ops"]
    assert sender(given)(channel, Text("a title", "a body")) == error
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(channel)
    assert logging.getLogger("apprise").propagate


def test_nobody_there_is_an_error_too():
    given = settings("ops=json://127.0.0.1:1/x")
    assert sender(given)(read_channels(given)["ops"], Text("a title", "a body")) == "ConnectionError"


def test_a_mail_keeps_its_lines_and_takes_no_text_for_markup():
    with mailbox() as box:
        given = settings(f"mail=mailto://localhost:{box.port}?from=alerts@example.com&to=ops@example.com")
        text = Text("ERROR: Acme <Plumbing>", "Company: Acme <Plumbing>\nWhat: a_b_c *d*")
        assert sender(given)(read_channels(given)["mail"], text) is None
        parts = box.parts()
    assert box.mails[0]["subject"] == "ERROR: Acme <Plumbing>"
    assert {kind: text.strip().split("\r\n") for kind, text in parts.items()} == {
        "text/plain": ["Company: Acme <Plumbing>", "What: a_b_c *d*"]
    }


def test_the_heartbeat_s_address_is_called_and_not_shown(receiver: Receiver):
    def given(address: str) -> Settings:
        return load_settings(heartbeat_url=SecretStr(address))

    assert (beat(given(f"http://{receiver.url}/{TOKEN}")), receiver.beats) == (None, 1)
    receiver.answers["heartbeat"] = 404
    assert beat(given(f"http://{receiver.url}/{TOKEN}")) == "HTTP 404"
    assert beat(given(f"http://127.0.0.1:1/{TOKEN}")) == "ConnectError"
    assert beat(given(TOKEN)) == "UnsupportedProtocol"
