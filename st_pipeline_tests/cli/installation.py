"""What tests of the commands work on: our database, tenants at the simulator, a Dagster home, commands at a terminal.

Here: changing it and asking about it. Not here: tests, and opening anything (conftest.py).
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.settings import Settings, load_settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.onboarding import onboard

# One page of each entity.
SIZES = {"customers": 6, "invoices": 12, "settings": {"rate_limit_per_second": None, "export_page_size": 20}}
LONGEST_SECONDS = 60
COMMAND = "from st_pipeline.cli import main\nif __name__ == '__main__': main()"
CTRL_C = b"\x03"


@dataclass
class Terminal:
    """A command at a terminal: what it writes, and keys to press."""

    process: "subprocess.Popen[bytes]"
    master: int
    written: bytes = b""

    def press(self, key: bytes) -> None:
        """Press a key; the terminal makes a signal of Ctrl-C for everything in its foreground."""
        os.write(self.master, key)

    def wait_for(self, shown: str) -> None:
        """Read until it has written this."""
        while shown.encode() not in self.written:
            self.written += os.read(self.master, 65536)

    def read(self) -> str:
        """Everything it writes, to its end."""
        with contextlib.suppress(OSError):  # how a terminal says that nobody holds it any more
            while more := os.read(self.master, 65536):
                self.written += more
        self.process.wait(LONGEST_SECONDS)
        return self.written.decode().replace("\r\n", "\n")


@dataclass
class Installation:
    """Our database, the simulator's tenants by partition key, the folder of Dagster's instance."""

    engine: Engine
    settings: Settings
    make: Callable[..., SimulatedTenant]
    home: Path
    sources: dict[str, SimulatedTenant] = field(default_factory=dict)

    def add(self, *tenants: str, **spec: object) -> None:
        """Simulate tenants and store their credentials."""
        for tenant in tenants:
            company, _, environment = tenant.partition("@")
            source = self.make(environment or "production", **SIZES | spec)
            self.sources[tenant] = source
            onboard(source, self.settings, self.engine, company)

    def synced(self, *tenants: str, **options: Any) -> SyncResult:
        """Sync them in this process, without Dagster: how they came to be synced is another test's matter."""
        for tenant in tenants:
            result = synchronize_data(
                tenant, SyncConfiguration(**options), settings=load_settings(), engine=self.engine
            )
        return result

    @contextmanager
    def held(self, tenant: str) -> Iterator[None]:
        """For the block, another run works on the tenant."""
        with TenantSync(self.engine, load_settings(), tenant, SyncConfiguration()):
            yield

    def credential_id(self, tenant: str) -> int:
        """The number of its credential."""
        return int(self.value("SELECT credential_id FROM tenants WHERE partition_key = :tenant", tenant=tenant))

    def differences(self, tenant: str, *entities: str) -> list[str]:
        """What differs between a tenant's tables and the source; of all entities, or of those named."""
        with self.engine.connect() as connection:
            found = prove_tenant(connection, tenant, self.sources[tenant].truth()).differences
        return [line for line in found if not entities or line.partition(":")[0] in entities]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command in a process of its own, at the head of a group as in a terminal."""
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def at_terminal(self, *arguments: str) -> Iterator["Terminal"]:
        """A command at a terminal of 80 columns."""
        master, slave = os.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        started = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads are needed by then
        )
        os.close(slave)
        try:
            yield Terminal(started, master)
        finally:
            started.kill()
            started.wait()
            os.close(master)

    def wait_until(self, query: str, at_least: int = 1, while_: Callable[[], bool] = lambda: True) -> None:
        """Wait while Postgres answers less than that."""
        give_up_at = time.monotonic() + LONGEST_SECONDS
        while while_() and int(self.value(query) or 0) < at_least:
            assert time.monotonic() < give_up_at, f"{query} did not reach {at_least} in {LONGEST_SECONDS} s"
            time.sleep(0.01)

    def run_of(self, run_id: str) -> Any:
        """A run as Dagster has it."""
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return instance.get_run_by_id(run_id)

    def number_of_runs(self) -> int:
        """How many runs Dagster has been given."""
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return instance.get_runs_count()

    def rows(self, sql: str, **values: object) -> list[tuple]:
        """What our database says."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]

    def value(self, sql: str, **values: object) -> Any:
        """The first value of the first row, None where there is no row."""
        return next(iter(self.rows(sql, **values)), (None,))[0]

    def change(self, sql: str, **values: object) -> None:
        """Change something in our database."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)

    def last_asked(self) -> dict[str, Any]:
        """What the newest sync was told to do."""
        asked: dict[str, Any] = self.value("SELECT details->'asked' FROM servicetitan_sync_logs ORDER BY id DESC")
        return asked


def widest(out: str) -> int:
    """The length of the longest line."""
    return max(map(len, out.splitlines()), default=0)


def variables_for(production: str, integration: str, storage: str, home: Path) -> dict[str, str]:
    """Settings of a run, with the simulator in ServiceTitan's place and nobody on Dagster's port."""
    return {
        "ST_PIPELINE_PRODUCTION_API_URL": production,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{production}/connect/token",
        "ST_PIPELINE_INTEGRATION_API_URL": integration,
        "ST_PIPELINE_INTEGRATION_AUTH_URL": f"{integration}/connect/token",
        "ST_PIPELINE_RATE_LIMIT": "1000/second",
        "ST_PIPELINE_LIST_PAGE_SIZE": "20",
        "ST_PIPELINE_MAX_ATTEMPTS": "2",
        "ST_PIPELINE_LEASE_WAIT_SECONDS": "0",
        "ST_PIPELINE_LOG_LEVEL": "ERROR",
        "ST_PIPELINE_DAGSTER_PORT": "1",
        "ST_PIPELINE_DAGSTER_STORAGE": storage,
        "DAGSTER_HOME": str(home),
    }


def parsed(out: str) -> Any:
    """JSON as a machine reads it."""
    return json.loads(out)


def pythonpath() -> str:
    """The checkout under test, for processes that do not start in it."""
    return os.pathsep.join(path for path in sys.path if path)
