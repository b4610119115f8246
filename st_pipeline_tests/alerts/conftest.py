"""A receiver, and ticks that send to it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from st_pipeline.settings import Settings
from st_pipeline_tests.alerts.receiver import Minutes, Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One of its own, as it keeps what it was sent."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def minutes(engine: Engine, settings: Settings, receiver: Receiver) -> Minutes:
    """Ticks with one channel, `ops`, on an empty platform. The machine's own disk is not looked at."""
    found = Minutes(engine, settings, receiver)
    found.set(channels="ops=json://{url}/ops", alert_least_free_bytes=0, alert_send_timeout_seconds=5.0)
    return found
