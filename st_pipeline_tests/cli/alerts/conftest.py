"""A receiver, ticks, and commands with the same settings."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from st_pipeline.settings import Settings
from st_pipeline_tests.alerts.receiver import Minutes, Receiver, receiving
from st_pipeline_tests.cli.conftest import Command


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One of its own."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def minutes(
    engine: Engine, settings: Settings, receiver: Receiver, command: Command, monkeypatch: pytest.MonkeyPatch
) -> Minutes:
    """Ticks whose channels commands use, too."""
    assert command is not None
    channels = f"ops=json://{receiver.url}/ops mail:error=json://{receiver.url}/mail"
    monkeypatch.setenv("ST_PIPELINE_ALERT_CHANNELS", channels)
    monkeypatch.setenv("ST_PIPELINE_ALERT_LEAST_FREE_BYTES", "0")
    found = Minutes(engine, settings, receiver)
    found.set(channels=channels, alert_least_free_bytes=0)
    return found
