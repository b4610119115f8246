"""A process that executes one run: what it is given, and how it begins.

Here: what must be set up before Dagster is imported. Not here: starting the process, and the run itself.
"""

import os
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from st_pipeline.runs.run_request import RunRequest


@dataclass(frozen=True, slots=True)
class ProcessTask:
    """A run, the module that executes it, and its surroundings: environment, working folder, log file."""

    program: str
    request: RunRequest
    run_id: str
    environment: dict[str, str]
    folder: Path
    log: Path


def execute(task: ProcessTask, answer: Connection) -> None:
    """Execute the run and send its RunState. In a process group of its own, so that Ctrl-C reaches the command only."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(task.folder)
    os.environ.clear()
    os.environ.update(task.environment)
    log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    answer.send(import_module(task.program).make_run(task.request, task.run_id))
