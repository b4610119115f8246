"""The lab: a Postgres, a simulator and workers of its own.

Here: the processes, one sync with its kill. Not here: rounds (series.py), what must be true (checks.py).
"""

import base64
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, NullPool, create_engine, make_url

from st_pipeline.embedded_postgres import embedded
from st_pipeline.postgres.database import DRIVER
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.kill_lab import checks
from st_pipeline_tests.kill_lab.kill_plans import KillPlan
from st_pipeline_tests.kill_lab.worker import Began, Ended, Order, kill, work
from st_pipeline_tests.onboarding import onboard

SERVE = [sys.executable, "-m", "st_pipeline.simulator", "serve", "--port", "0", "--integration-port", "0"]
# A kill takes nothing from the system's cache, so what fsync guards against cannot happen here; commits are waited for.
POSTGRES_OPTIONS = {"fsync": "off", "shared_buffers": "16MB"}
# About 550 records in chunks and pages this small: a full sync of half a second, with 100 commits.
CUSTOMERS, INVOICES, ROWS_A_PAGE, ROWS_A_CHUNK = 80, 150, 40, 30
LONGEST_SYNC_SECONDS = 120


@dataclass(slots=True)
class Run:
    """One worker's life. `interrupted`: the kill fell within the sync, which did not end well."""

    order: Order
    kill_sent: bool = False
    exit_code: int | None = None
    ended: Ended | None = None

    @property
    def interrupted(self) -> bool:
        """Was it killed before its end, or did it fail of the kill?"""
        return self.kill_sent and self.exit_code != 0


class Lab:
    """`with Lab() as lab: ...`. Everything it starts ends with it."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = stack.enter_context(_folder())
            self._start_postgres()
            stack.callback(embedded.remove, self._folder)
            embedded.ensure_database(self.server, "lab")
            engine = create_engine(self.url)
            migrate(engine)
            engine.dispose()
            self.control = stack.enter_context(_simulator())
            self._processes = get_context("forkserver")
            # Each worker is forked from a process that has imported and built what takes seconds.
            self._processes.set_forkserver_preload(["st_pipeline_tests.kill_lab.warm"])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def sync(self, tenant: "LabTenant", *, full: bool, scheduled: bool = False, plan: KillPlan | None = None) -> Run:
        """Sync in a worker of its own, which is killed as planned; Postgres runs again afterwards."""
        settings = {**tenant.settings, "database_url": self.url.render_as_string(hide_password=False)}
        run = Run(Order(tenant.name, full, scheduled, settings, self.server.pid, plan))
        ours, theirs = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=work, args=(run.order, theirs), daemon=True)
        process.start()
        theirs.close()
        with ours:
            began = ours.recv() if ours.poll(LONGEST_SYNC_SECONDS) else None
            if plan is not None and plan.place is None and isinstance(began, Began):
                process.join(plan.after_seconds)
                if process.exitcode is None and process.pid is not None:
                    kill(plan.kind, process.pid, self.server.pid, began.backend_pid)
                    run.kill_sent = True
            process.join(LONGEST_SYNC_SECONDS)
            if process.exitcode is None:
                process.kill()
                raise TimeoutError(f"a sync did not end within {LONGEST_SYNC_SECONDS} s")
            run.exit_code = process.exitcode
            for message in _messages(ours):
                run.kill_sent |= isinstance(message, KillPlan)
                run.ended = message if isinstance(message, Ended) else run.ended
        self._start_postgres()
        return run

    def differences(self, tenant: "LabTenant", *, after_full: bool) -> list[str]:
        """What is not as it must be."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as connection:
            return checks.differences(connection, tenant.name, tenant.source, after_full=after_full)

    def add_tenant(self, name: str, seed: int) -> "LabTenant":
        """A company that nobody has synced yet."""
        source = self.control.create_tenant(
            customers=CUSTOMERS,
            invoices=INVOICES,
            seed=seed,
            settings={"export_page_size": ROWS_A_PAGE, "rate_limit_per_second": None},
        )
        tenant = LabTenant(name, source, _settings_for(source))
        engine = create_engine(self.url, poolclass=NullPool)
        onboard(source, Settings(**tenant.settings), engine, name, trade="HVAC")
        return tenant

    def _start_postgres(self) -> None:
        self.server = embedded.start(self._folder, options=POSTGRES_OPTIONS)

    @property
    def url(self) -> URL:
        """The address of the lab's database."""
        return make_url(self.server.url("lab")).set(drivername=DRIVER)


@dataclass(frozen=True, slots=True)
class LabTenant:
    """A tenant of the simulator, onboarded as `name`; `settings` for whoever syncs it."""

    name: str
    source: SimulatedTenant
    settings: dict[str, Any]


def _messages(ours: Connection) -> Iterator[object]:
    """What the worker said before it ended; a kill in the middle of a message ends them too."""
    try:
        while True:
            yield ours.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return


def _settings_for(source: SimulatedTenant) -> dict[str, Any]:
    """Small chunks and pages: many commits for a kill to fall between. No wait for what a test need not wait for."""
    return {
        "encryption_keys": f"1:{base64.b64encode(os.urandom(32)).decode()}",
        "app_key": source.app_key,
        "production_api_url": source.url,
        "production_auth_url": f"{source.url}/connect/token",
        "rows_per_chunk": ROWS_A_CHUNK,
        "list_page_size": ROWS_A_PAGE,
        "rate_limit": "1000/second",
        "reference_poll_minutes": 0,  # after each round everything must be as the source has it
    }


@contextmanager
def _folder() -> Iterator[Path]:
    """A place that the server's account may enter: for root, the system's folder for temporary files is."""
    place = Path(tempfile.mkdtemp(prefix="st-pipeline-kill-lab-"))
    place.chmod(0o755)
    try:
        yield place / "postgres"
    finally:
        shutil.rmtree(place)


@contextmanager
def _simulator() -> Iterator[SimulatorControl]:
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            urls = dict(part.split("=", 1) for part in process.stdout.readline().split()[1:])
            with SimulatorControl(urls["production"], urls["integration"]) as control:
                yield control
        finally:
            process.kill()  # it keeps nothing, and would wait for its connections to end
