"""What a command tells a process that makes a run, and how the process begins.

Here: what must be in order before Dagster is imported. Not here: the run (child_run.py).
"""

import os
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from st_pipeline.runs.backend import WantedRun


@dataclass(frozen=True, slots=True)
class Order:
    """A run, the module that makes it, and its surroundings: environment, working folder, where its log goes."""

    program: str
    wanted: WantedRun
    run_id: str
    environment: dict[str, str]
    folder: Path
    log: Path


def execute(order: Order, answer: Connection) -> None:
    """Make the run and send a RunState. In a process group of its own: Ctrl-C is for the command to hear."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    words = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(words, 1)
    os.dup2(words, 2)
    answer.send(import_module(order.program).make_run(order.wanted, order.run_id))
