"""What is told when our own database does not answer, or its disk is full: nothing else can be told then.

Here: a file in our folder that remembers since when and who knows, and the two messages. Not here: all other problems,
which are rows. Each machine that looks for problems has a file of its own, and tells. A process that dies between
sending and writing the file tells again.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from st_pipeline.alerts.channels import Channel, Send, Text, read_channels
from st_pipeline.alerts.times import lasting, shown
from st_pipeline.errors import DatabaseUnavailable
from st_pipeline.settings import Settings

FILE = "database-alert.json"
HOLD = timedelta(minutes=2)
INCIDENT = "Alert: the database of st-pipeline"


@dataclass(frozen=True, slots=True)
class _Noted:
    """What the file says. `told`: the channels that took the message."""

    since: str
    told: list[str]


def tell(settings: Settings, error: DatabaseUnavailable, send: Send, now: datetime) -> list[str]:
    """Note it; tell each channel once when it has lasted. Returns the channels that know."""
    noted = _read(settings) or _Noted(now.isoformat(), [])
    since = datetime.fromisoformat(noted.since)
    told = list(noted.told)
    if now - since >= HOLD:
        body = "\n".join(
            [
                f"What: {error}",
                f"Since: {shown(settings, since)} ({lasting((now - since).total_seconds())})",
                "What to do: start Postgres, or free space on its disk. Syncs wait, and nothing is lost.",
            ]
        )
        text = Text("ERROR: the database of st-pipeline does not work", body, "failure", INCIDENT)
        told += _send([one for one in read_channels(settings).values() if one.name not in told], text, send)
    file = _file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(_Noted(noted.since, told))))
    return told


def over(settings: Settings, send: Send, now: datetime) -> None:
    """It works again: tell the channels that know."""
    noted = _read(settings)
    if noted is None:
        return
    _file(settings).unlink(missing_ok=True)
    since = datetime.fromisoformat(noted.since)
    body = f"From {shown(settings, since)} to {shown(settings, now)} ({lasting((now - since).total_seconds())})."
    text = Text("OVER: the database of st-pipeline does not work", body, "success", INCIDENT)
    _send([one for one in read_channels(settings).values() if one.name in noted.told], text, send)


def _send(channels: list[Channel], text: Text, send: Send) -> list[str]:
    return [channel.name for channel in channels if send(channel, text) is None]


def _file(settings: Settings) -> Path:
    return settings.home / FILE


def _read(settings: Settings) -> _Noted | None:
    try:
        return _Noted(**json.loads(_file(settings).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # cut off by a full disk
        return None
