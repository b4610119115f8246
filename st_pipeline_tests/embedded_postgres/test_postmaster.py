"""When a server that was just started counts as ended."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from st_pipeline.embedded_postgres.home import ServerHome
from st_pipeline.embedded_postgres.postmaster import _claim, _wait_until_ready
from st_pipeline.errors import DatabaseUnavailable


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    """A place without a server."""
    return ServerHome(tmp_path, tmp_path)


@pytest.fixture
def claim(home: ServerHome) -> Iterator[int]:
    """What a server's process inherits and holds until it ends."""
    descriptor = _claim(home)
    yield descriptor
    os.close(descriptor)


@pytest.mark.usefixtures("claim")
def test_a_process_that_is_becoming_postgres_and_has_no_command_line_yet_is_waited_for(home: ServerHome):
    """On a busy machine /proc showed an empty command line during exec, and the start failed: "it printed no error"."""
    with pytest.raises(DatabaseUnavailable, match="is running but accepts no connections"):
        _wait_until_ready(home, time.monotonic())


def test_a_process_that_has_ended_is_not_waited_for(home: ServerHome):
    assert _wait_until_ready(home, time.monotonic() + 60) is None
