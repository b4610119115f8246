"""The run backend for when no Dagster is running: each run in a process of this command's own.

Here: starting, watching and ending the processes, forked from a server that has imported Dagster and pandas once
(3 CPU seconds). Not here: what a process does. Importing this does not import Dagster.

Processes, not threads: a tenant that hangs or is killed takes no other with it, and its memory is freed.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import time
import uuid
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from st_pipeline.errors import PipelineError
from st_pipeline.runs.backend import Phase, RunState
from st_pipeline.runs.run_process import ProcessTask, execute
from st_pipeline.runs.run_request import RunRequest

KILL_AFTER_SECONDS = 10
LOGS = "runs"  # below the settings' home: what a run's process wrote; deleted when the run succeeds
LOGS_SECONDS = 14 * 24 * 3600  # the logs of failed runs are kept as long as Dagster keeps its ticks


class LocalProcesses:
    """Executes runs in processes on this machine, in the instance that `environment` names (DAGSTER_HOME).

    `program`: the module that each process loads, with `make_run` and `note_crash`; it knows Dagster, this does not.
    """

    name = "processes of this command"

    def __init__(self, program: str, environment: dict[str, str], folder: Path, home: Path) -> None:
        self._program = program
        self._environment, self._folder, self._logs = environment, folder, home / LOGS
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([program])
        self._runs: dict[str, tuple[ForkServerProcess, Connection]] = {}
        self._ended: dict[str, RunState] = {}
        self._interrupted_at: dict[str, float] = {}

    def start(self, request: RunRequest) -> str:
        """Start a process for the run and return the run's id."""
        run_id = str(uuid.uuid4())
        self._logs.mkdir(parents=True, exist_ok=True)
        self._forget_old_logs()
        here, there = self._context.Pipe(duplex=False)
        task = ProcessTask(self._program, request, run_id, self._environment, self._folder, self._log(run_id))
        process = self._context.Process(target=execute, args=(task, there), name=f"sync {request.tenant}")
        process.start()
        there.close()
        self._runs[run_id] = (process, here)
        return run_id

    def states(self, run_ids: list[str]) -> dict[str, RunState]:
        """The states of these runs."""
        return {run_id: self._state(run_id) for run_id in run_ids}

    def _state(self, run_id: str) -> RunState:
        if run_id in self._ended:
            return self._ended[run_id]
        process, connection = self._runs[run_id]
        if process.is_alive() and not connection.poll():
            if time.monotonic() - self._interrupted_at.get(run_id, math.inf) > KILL_AFTER_SECONDS:
                process.kill()
            return RunState(Phase.RUNNING)
        try:
            state: RunState = connection.recv()
        except EOFError:
            process.join()
            state = self._crashed(run_id, process.exitcode)
        process.join()
        connection.close()
        if state.phase is Phase.SUCCEEDED:
            self._log(run_id).unlink(missing_ok=True)
        self._ended[run_id] = state
        return state

    def _crashed(self, run_id: str, exit_code: int | None) -> RunState:
        how = f"by {signal.Signals(-exit_code).name}" if exit_code and exit_code < 0 else f"with code {exit_code}"
        message = f"its process ended {how}; its last output is in {self._log(run_id)}"
        with contextlib.suppress(PipelineError):  # Dagster's database may be what killed it
            import_module(self._program).note_crash(self._environment, run_id, message)
        return RunState(Phase.FAILED, message=message)

    def _log(self, run_id: str) -> Path:
        return self._logs / f"{run_id}.log"

    def _forget_old_logs(self) -> None:
        for log in self._logs.glob("*.log"):
            with contextlib.suppress(FileNotFoundError):  # another command may delete it first
                if log.stat().st_mtime < time.time() - LOGS_SECONDS:
                    log.unlink()

    def end_now(self, run_id: str) -> None:
        """Interrupt the run, so that it can report its end; `states` kills it when that takes too long."""
        process, _ = self._runs[run_id]
        if process.pid is not None and process.is_alive() and run_id not in self._interrupted_at:
            self._interrupted_at[run_id] = time.monotonic()
            os.kill(process.pid, signal.SIGINT)

    def queued_tenants(self) -> set[str]:
        """None: nothing is queued here, and a running sync holds its tenant's lease."""
        return set()

    def close(self) -> None:
        """Nothing to release: each process ends with its run."""
