"""What the soak runs on: a Postgres, a simulator, tenants, workers; and a clock that is moved.

Here: starting and stopping them, one worker's life. Not here: what goes wrong and when (soak.py).
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from st_pipeline.embedded_postgres import embedded
from st_pipeline.postgres.database import DRIVER
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.kill_lab.lab import SERVE
from st_pipeline_tests.onboarding import onboard
from st_pipeline_tests.soak.worker import Figures

POSTGRES_OPTIONS = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "200"}
# Scaled: a tenant whose pages take so long does not get through its poll, as with pages of 90 s in 150 s.
POLL_SECONDS, SLOW_PAGE_SECONDS, REQUEST_SECONDS = 12.0, 5.0, 10.0
FAULTS = ("status", "drop_connection", "cut_body", "not_json")
# What decides about polls, tokens and pauses by the clock; see `Deployment.let_time_pass`.
MOVED = ("tenant_polls", "sync_cursors", "servicetitan_credentials")


@dataclass
class Deployment:
    """The processes and what they share. `tenants`: at the source, by name."""

    control: SimulatorControl
    engine: Engine
    settings: dict[str, Any]
    tenants: dict[str, SimulatedTenant] = field(default_factory=dict)
    made: int = 0

    def add_tenant(self, random: Random, share_of_faults: float) -> str:
        """A new company; each of its requests fails with a probability of `share_of_faults`."""
        name = f"soak-{self.made:04}"
        self.made += 1
        source = self.control.create_tenant(
            customers=random.randint(2, 6), invoices=random.randint(2, 8), seed=self.made,
            settings={"rate_limit_per_second": None},
        )  # fmt: skip
        for number, kind in enumerate(FAULTS):
            source.fault(kind, probability=share_of_faults / len(FAULTS), seed=self.made * 10 + number)
        onboard(source, Settings(**self.settings), self.engine, name, own_app_key=True)
        self.tenants[name] = source
        return name

    def let_time_pass(self, seconds: float) -> None:
        """Move every moment that decides about polls into the past: as good as a clock that is moved forward."""
        columns = text("""
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_name = ANY(:tables) AND table_schema = 'public' AND data_type = 'timestamp with time zone'
        """)
        with self.engine.begin() as connection:
            connection.execute(text(f"LOCK TABLE {', '.join(MOVED)} IN EXCLUSIVE MODE"))
            found = connection.execute(columns, {"tables": list(MOVED)}).all()
            for table in MOVED:
                changes = [f"{name} = {name} - make_interval(secs => :seconds)" for of, name in found if of == table]
                connection.execute(text(f"UPDATE {table} SET {', '.join(changes)}"), {"seconds": seconds})  # noqa: S608

    def start_worker(self, loads: list[str]) -> "subprocess.Popen[str]":
        """A process that polls what is due, or loads these tenants."""
        command = [sys.executable, "-m", "st_pipeline_tests.soak.worker"]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert worker.stdin is not None
        json.dump({"settings": self.settings, "loads": loads}, worker.stdin)
        worker.stdin.close()
        return worker


def figures_of(worker: "subprocess.Popen[str]", longest_seconds: float) -> Figures | None:
    """What it did, once it has ended; None when it was killed. Raises TimeoutExpired and AssertionError."""
    assert worker.stdout is not None
    try:
        worker.wait(longest_seconds)
    except subprocess.TimeoutExpired:
        worker.kill()
        raise
    said = worker.stdout.read()
    worker.stdout.close()
    assert worker.returncode in (0, -9), f"a worker ended with exit code {worker.returncode}"
    return Figures(**json.loads(said)) if worker.returncode == 0 else None


@contextmanager
def deployed(**settings: Any) -> Iterator[Deployment]:
    """Everything started, without tenants; all of it is gone in the end."""
    with TemporaryDirectory(prefix="st-pipeline-soak-") as name, _simulator() as control:
        folder = Path(name)
        folder.chmod(0o755)  # the server's account must get in
        server = embedded.start(folder / "postgres", options=POSTGRES_OPTIONS)
        try:
            embedded.ensure_database(server, "soak")
            engine = create_engine(make_url(server.url("soak")).set(drivername=DRIVER), poolclass=NullPool)
            migrate(engine)
            yield Deployment(
                control,
                engine,
                {
                    "encryption_keys": f"1:{base64.b64encode(os.urandom(32)).decode()}",
                    "database_url": server.url("soak"),
                    "production_api_url": control.production_url,
                    "production_auth_url": f"{control.production_url}/connect/token",
                    "retry_initial_seconds": 0.02,
                    "retry_max_seconds": 1,
                    "poll_tenant_seconds": POLL_SECONDS,
                    "request_timeout_seconds": REQUEST_SECONDS,
                    **settings,
                },
            )
        finally:
            embedded.remove(folder / "postgres")


@contextmanager
def _simulator() -> Iterator[SimulatorControl]:
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            urls = dict(part.split("=", 1) for part in process.stdout.readline().split()[1:])
            with SimulatorControl(urls["production"], urls["integration"], timeout_seconds=600) as control:
                yield control
        finally:
            process.terminate()
