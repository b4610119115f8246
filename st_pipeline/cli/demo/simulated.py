"""The simulator as a background server, and its four tenants, for `demo` and `dev`.

Here: starting and stopping it, onboarding its companies with the commands of `st-pipeline`, deleting rows of an earlier
simulator. Not here: the simulator itself (simulator/).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import Engine, text

from st_pipeline.cli.server.ports import is_taken
from st_pipeline.environment_file import write_values
from st_pipeline.errors import PipelineError
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.simulator.demo import demo_companies
from st_pipeline.simulator.tenant import TenantSpec
from st_pipeline.sync.data_types import SYNCED

HOST = "127.0.0.1"
READY_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60  # it writes its records: 240 MB take a few seconds
STATE_FILE = "simulator.json"
RECORDS_FILE = "simulator.records"
TRADES = {"Birch & Sons Heating": "heating", "Acme Plumbing": "plumbing", "Summit Air": "air conditioning"}


class SimulatorState(msgspec.Struct, frozen=True):
    """A simulator that this project started: its addresses, its process, whether its data changes by itself."""

    pid: int
    production_url: str
    integration_url: str
    live: bool

    def control(self) -> SimulatorControl:
        """A client of its control addresses."""
        return SimulatorControl(self.production_url, self.integration_url)

    def answers(self) -> bool:
        """Whether it is still running: another program may have its pid or its port by now."""
        with self.control() as control:
            try:
                return control.health().get("pid") == self.pid
            except Exception:  # noqa: BLE001 - whatever is wrong, it is not our simulator
                return False


@dataclass(frozen=True, slots=True)
class SimulatedTenant:
    """A simulated tenant and its names here."""

    spec: TenantSpec
    company: str
    partition_key: str


def simulated_tenants() -> list[SimulatedTenant]:
    """The demo's four tenants under their partition keys."""
    found = []
    for spec in demo_companies():
        slug = spec.name.lower().replace(" & ", "-").replace(" ", "-")
        suffix = "" if spec.environment == "production" else f"@{spec.environment}"
        found.append(SimulatedTenant(spec, slug, f"{slug}{suffix}"))
    return found


def running_simulator(settings: Settings) -> SimulatorState | None:
    """The simulator that this project started, if it is still running."""
    try:
        state = msgspec.json.decode((settings.home / STATE_FILE).read_bytes(), type=SimulatorState)
    except (OSError, msgspec.DecodeError):
        return None
    return state if state.answers() else None


def start_simulator(settings: Settings, *, live: bool, companies: str = "demo") -> tuple[SimulatorState, bool]:
    """The running simulator, otherwise a started one with `companies` (`demo`, or a file); and whether it is new.

    A started one continues from the records of the last one that was stopped; without them it is new and begins from
    its seed. `live`: its data must change by itself; a simulator without that is replaced. It outlives this process;
    `st-pipeline down` stops it. Raises PipelineError when it does not start.
    """
    running = running_simulator(settings)
    if running is not None and (running.live or not live):
        return running, False
    stop_simulator(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "simulator.log"
    command = [sys.executable, "-m", "st_pipeline.simulator", "serve", "--companies", companies]
    command += ["--port", str(_port(8710)), "--integration-port", str(_port(8711))]
    command += ["--state", str(settings.home / RECORDS_FILE)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            command + (["--live"] if live else []),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    state, continued = _wait_until_ready(process, log, live=live)
    (settings.home / STATE_FILE).write_bytes(msgspec.json.encode(state))
    return state, not continued


def _port(wanted: int) -> int:
    """The usual port, so that addresses stay the same; any free one if it is taken."""
    return 0 if is_taken(HOST, wanted) else wanted


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path, *, live: bool) -> tuple[SimulatorState, bool]:
    """The simulator, and whether it continues from an earlier one's records."""
    give_up_at = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at:
        for line in log.read_text().splitlines():
            if line.startswith("ready "):
                said = dict(part.split("=", 1) for part in line.split()[1:])
                state = SimulatorState(process.pid, said["production"], said["integration"], live)
                return state, "continued" in said
        if process.poll() is not None:
            raise PipelineError(f"the simulator did not start; its last output is in {log}")
        time.sleep(0.1)
    process.terminate()
    raise PipelineError(f"the simulator was not ready after {READY_TIMEOUT_SECONDS} s; see {log}")


def stop_simulator(settings: Settings) -> bool:
    """Stop the simulator that this project started. Returns whether one was running."""
    state = running_simulator(settings)
    if state is None:
        return False
    os.kill(state.pid, signal.SIGTERM)
    give_up_at = time.monotonic() + STOP_TIMEOUT_SECONDS
    # It first closes its ports and then writes its records, which the next one needs.
    while not (settings.home / RECORDS_FILE).exists() and time.monotonic() < give_up_at and _is_there(state.pid):
        time.sleep(0.05)
    (settings.home / STATE_FILE).unlink(missing_ok=True)
    return True


def _is_there(pid: int) -> bool:
    """Whether the process exists. A child of ours that has ended exists until it is waited for."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def point_at_simulator(state: SimulatorState) -> None:
    """Write the simulator's addresses and app key into the demo's `.env`."""
    values = {
        "ST_PIPELINE_PRODUCTION_API_URL": state.production_url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{state.production_url}/connect/token",
        "ST_PIPELINE_INTEGRATION_API_URL": state.integration_url,
        "ST_PIPELINE_INTEGRATION_AUTH_URL": f"{state.integration_url}/connect/token",
        "ST_PIPELINE_APP_KEY": demo_companies()[0].app_key,
    }
    write_values(values)
    os.environ.update(values)


def onboard(run: Callable[[list[str]], int], say: Callable[[str], None]) -> None:
    """Add companies and credentials and test them, with the commands of `st-pipeline`. Raises PipelineError."""
    for tenant in simulated_tenants():
        spec = tenant.spec
        if spec.environment == "production":
            company = ["companies", "add", tenant.company, "--name", spec.name, "--trade", TRADES[spec.name]]
            _command(run, say, [*company, "--intacct-id", f"INT-{spec.tenant_id}"])
        os.environ["SIMULATED_SECRET"] = spec.client_secret
        credential = ["credentials", "add", tenant.company, "--environment", spec.environment]
        credential += ["--tenant-id", str(spec.tenant_id), "--client-id", spec.client_id]
        _command(run, say, [*credential, "--client-secret-env", "SIMULATED_SECRET", "--no-test"])
        del os.environ["SIMULATED_SECRET"]
        _command(run, say, ["credentials", "test", tenant.partition_key])


def _command(run: Callable[[list[str]], int], say: Callable[[str], None], arguments: list[str]) -> None:
    shown = " ".join(f'"{part}"' if " " in part else part for part in arguments)
    say(f"$ st-pipeline {shown}")
    if run(arguments) != 0:
        raise PipelineError(f"`st-pipeline {shown}` failed")


def forget_rows_of_an_earlier_simulator(engine: Engine) -> int:
    """Delete the rows and cursors of the simulated tenants: a new simulator starts again from its seed.

    Needed only if the last one was killed instead of stopped. Touches only tenants with a simulated tenant's number and
    slug. Returns how many tenants had rows.
    """
    forgotten = 0
    with transaction(engine, "forget rows of an earlier simulator") as connection:
        for tenant in simulated_tenants():
            found = connection.execute(
                text("SELECT credential_id FROM tenants WHERE partition_key = :key AND tenant_id = :id"),
                {"key": tenant.partition_key, "id": tenant.spec.tenant_id},
            ).scalar()
            if found is None:
                continue
            tables = ["sync_cursors", "sync_rejects", "seen_ids", "stream_pending", *(s.table for s in SYNCED.values())]
            rows = sum(
                connection.execute(text(f"DELETE FROM {table} WHERE credential_id = :id"), {"id": found}).rowcount  # noqa: S608
                for table in tables
            )
            forgotten += rows > 0
    return forgotten
