"""The channels of ST_PIPELINE_ALERT_CHANNELS, and sending a message through one.

Here: reading the setting, apprise. Not here: what a message says (message.py), when it is sent (deliver.py).

apprise is imported when something is sent: 0.15 CPU s. Addresses hold tokens, so they appear nowhere, nor does what
apprise and its libraries log: an error is told by its kind, never by a text.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.check_verdicts import Severity
from st_pipeline.settings import Settings, variable_name

SETTING = variable_name("alert_channels")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
OPTIONS = ("warn", "error", "digest")
HTTP_ERRORS = range(300, 600)
LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")  # the last two log addresses, too


@dataclass(frozen=True, slots=True)
class Channel:
    """A place to tell people. `least`: the lowest severity that it takes."""

    name: str
    address: SecretStr
    least: Severity = Severity.WARN
    has_digest: bool = False

    def takes(self, severity: Severity) -> bool:
        """Does it take messages about problems of this severity?"""
        return severity is Severity.ERROR or self.least is Severity.WARN


@dataclass(frozen=True, slots=True)
class Text:
    """A message as sent. `tone`: how apprise colours it.

    `incident`: the same for all messages about an alert. Services that keep incidents, with `action=map` in their
    address, resolve the one whose title comes again with the tone `success`.
    """

    title: str
    body: str
    tone: str = "info"
    incident: str = ""


# Sends a text through a channel. Returns None, or the kind of the error.
Send = Callable[[Channel, Text], str | None]


def read_channels(settings: Settings) -> dict[str, Channel]:
    """The channels by name. Raises ConfigurationError that shows no address."""
    if settings.alert_channels is None:
        return {}
    found: dict[str, Channel] = {}
    for number, word in enumerate(settings.alert_channels.get_secret_value().split(), 1):
        channel = _channel(number, word)
        if channel.name in found:
            raise ConfigurationError(f"{SETTING}: two channels are called {channel.name}: give each its own name")
        found[channel.name] = channel
    return found


def _channel(number: int, word: str) -> Channel:
    before, equals, address = word.partition("=")
    name, *options = before.split(":")
    if not equals or not NAME.fullmatch(name):
        raise ConfigurationError(
            f"{SETTING}: channel {number} is not valid: write name=address, with a name of small letters, digits and "
            "dashes, such as ops=slack://…; separate channels by spaces, and write a space in an address as %20"
        )
    unknown = [option for option in options if option not in OPTIONS]
    if unknown or {"warn", "error"} <= set(options):
        raise ConfigurationError(
            f"{SETTING}: the options of channel {name} are not valid: write {name}=…, {name}:error=… or "
            f"{name}:digest=…; an option is one of {', '.join(OPTIONS)}"
        )
    least = Severity.ERROR if "error" in options else Severity.WARN
    return Channel(name, SecretStr(address), least, "digest" in options)


def check_channels(settings: Settings) -> dict[str, Channel]:
    """The channels by name, each one's address understood. Raises ConfigurationError that shows no address."""
    channels = read_channels(settings)
    for channel in channels.values():
        with _listening():
            if _service(channel, settings.alert_send_timeout_seconds) is None:
                raise ConfigurationError(_not_understood(channel))
    return channels


def sender(settings: Settings) -> Send:
    """What sends through apprise, with a time limit for each message."""
    timeout = settings.alert_send_timeout_seconds

    def send(channel: Channel, message: Text) -> str | None:
        import apprise

        with _listening() as heard:
            service = _service(channel, timeout)
            if service is None:
                return "address not understood"
            to = apprise.Apprise(asset=_asset(timeout))
            to.add(service)
            is_incident = message.incident and getattr(service, "action", None) == "map"
            title = message.incident if is_incident else message.title
            result = to.notify(
                body=message.body,
                title=title,
                notify_type=message.tone,
                body_format=apprise.NotifyFormat.TEXT,  # else a mail loses its lines and takes text for markup
                timeout=timeout,
            )
        if result:
            return None
        is_late = result.status is apprise.AppriseResultStatus.TIMEOUT
        return f"no answer within {timeout:g} s" if is_late else heard.kind or "refused"

    return send


def _not_understood(channel: Channel) -> str:
    return (
        f"{SETTING}: the address of channel {channel.name} is not one that apprise understands: it begins with the "
        "service, such as mailtos://, slack://, workflows://, pagerduty:// or jsons://, and needs all of its parts"
    )


def _asset(timeout: float) -> Any:
    import apprise

    return apprise.AppriseAsset(
        app_id="st-pipeline",
        app_desc="st-pipeline",
        app_url="",
        image_url_mask="",  # nothing is fetched from elsewhere
        image_url_logo="",
        pgp_autogen=False,  # no keys are made beside us
        pem_autogen=False,
        http_redirects=False,  # a message goes nowhere else than to its channel
        service_timeout=timeout,
    )


def _service(channel: Channel, timeout: float) -> Any:
    """Apprise's object for the address, None if it is not understood."""
    import apprise

    address = channel.address.get_secret_value()
    service = apprise.Apprise.instantiate(address, asset=_asset(timeout), suppress_exceptions=True)
    if service is not None:
        # Its own limits are four seconds: a slow server would take a message, count as failed, and get it again.
        service.socket_connect_timeout = min(timeout, 10.0)
        service.socket_read_timeout = timeout
    return service


class _ErrorKind(logging.Handler):
    """The kind of an error that apprise logs: the class of the exception it handles, or an HTTP status it passes."""

    kind: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Listen to a record; its text is not looked at."""
        handled = sys.exc_info()[0]
        if handled is not None:
            self.kind = handled.__name__
        for argument in record.args if isinstance(record.args, tuple) else ():
            if type(argument) is int and argument in HTTP_ERRORS:
                self.kind = f"HTTP {argument}"


@contextmanager
def _listening() -> Iterator[_ErrorKind]:
    """Nothing that apprise logs leaves this process while the block runs."""
    ear = _ErrorKind()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(log.level, log.propagate, log.handlers) for log in loggers]
    for log in loggers:
        log.setLevel(logging.DEBUG)
        log.propagate, log.handlers = False, [ear]
    try:
        yield ear
    finally:
        for log, (level, log.propagate, log.handlers) in zip(loggers, before, strict=True):
            log.setLevel(level)
