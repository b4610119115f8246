"""A Dagster UI and daemon in the background, while the demo runs.

Here: starting our web server with its daemon as a child, waiting until it has loaded, stopping it. Not here: launching
runs (runs/).
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from st_pipeline.cli.server.commands import web_server_arguments
from st_pipeline.cli.server.ports import is_taken
from st_pipeline.environment_file import read_file
from st_pipeline.errors import PipelineError
from st_pipeline.runs.graphql import RunningDagster
from st_pipeline.settings import Settings

READY_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20


@contextmanager
def background_dagster(settings: Settings, folder: Path) -> Iterator[RunningDagster]:
    """A Dagster for the block: this project's if it already runs on the configured port, otherwise a new one.

    Raises PipelineError when it does not come up.
    """
    host, port = settings.dagster_host, settings.dagster_port
    running = RunningDagster(f"http://{host}:{port}")
    if running.is_up() and running.belongs_to(folder) and running.has_loaded():
        yield running
        return
    while is_taken(host, port):
        port += 1
    log = settings.home / "dagster.log"
    process = _start(folder, host, port, log)
    try:
        started = RunningDagster(f"http://{host}:{port}")
        _wait_until_loaded(process, started, log)
        yield started
    finally:
        _stop(process)


def _start(folder: Path, host: str, port: int, log: Path) -> "subprocess.Popen[bytes]":
    arguments = web_server_arguments(host, port, "--with-daemon")
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own program
            arguments,
            cwd=folder,
            env={**os.environ, **read_file(folder / ".env")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_loaded(process: "subprocess.Popen[bytes]", dagster: RunningDagster, log: Path) -> None:
    give_up_at = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at:
        if dagster.is_up() and dagster.has_loaded():
            return
        if process.poll() is not None:
            raise PipelineError(f"Dagster ended while it started; its last output is in {log}")
        time.sleep(0.2)
    raise PipelineError(f"Dagster was not ready after {READY_TIMEOUT_SECONDS} s; see {log}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the web server, which ends its children; kill the whole group when that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
