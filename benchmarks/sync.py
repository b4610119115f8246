"""What a sync costs: CPU seconds of the client and of Postgres, and µs a row.

One tenant against the simulator on this machine: a first load, a full pass over unchanged data, an incremental sync
that finds nothing, and one that finds 1 %. CPU seconds are what to compare; wall time depends on what else runs.

    make bench                              5,000 customers, 10,000 invoices
    .venv/bin/python benchmarks/sync.py --invoices 100000
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import click
import structlog
from pydantic import SecretStr
from sqlalchemy import make_url

from st_pipeline.credentials.companies import add_company
from st_pipeline.credentials.registration import NewCredential, add_credential
from st_pipeline.credentials.vault import Vault
from st_pipeline.postgres import embedded
from st_pipeline.postgres.database import DRIVER, open_engine, transaction
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.sync_configuration import SyncConfiguration, SyncResult
from st_pipeline.synchronize import synchronize_data

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LEAST_ROWS = 5_000
SERVE = [sys.executable, "-m", "st_pipeline.simulator", "serve", "--port", "0", "--integration-port", "0"]


@click.command()
@click.option("--invoices", default=10_000, show_default=True)
@click.option("--full-data/--no-full-data", default=True, show_default=True, help="Keep each record as received.")
def main(invoices: int, full_data: bool) -> None:
    """Measure one tenant's syncs and print a line for each."""
    place = Path(tempfile.mkdtemp(prefix="st-pipeline-bench-"))
    place.chmod(0o755)
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            server = embedded.start(place / "postgres")
            assert simulator.stdout is not None
            urls = dict(part.split("=", 1) for part in simulator.stdout.readline().split()[1:])
            with SimulatorControl(urls["production"], urls["integration"]) as control:
                tenant = control.create_tenant(customers=invoices // 2, invoices=invoices, seed=1)
                _measure(server, tenant, full_data=full_data)
        finally:
            simulator.terminate()
            embedded.remove(place / "postgres")
            shutil.rmtree(place)


def _measure(server: embedded.EmbeddedServer, tenant: SimulatedTenant, *, full_data: bool) -> None:
    sync = _onboarded(server, tenant, full_data=full_data)
    print(f"{'':28}{'rows':>9}{'client CPU':>12}{'µs/row':>8}{'Postgres':>10}{'µs/row':>8}{'pages':>10}{'wall s':>8}")
    first = SyncConfiguration(incremental_only=False)
    _line("first load", server, lambda: sync(first))
    _line("full pass, nothing changed", server, lambda: sync(first))
    _line("incremental, nothing changed", server, lambda: sync(SyncConfiguration()))
    tenant.advance(changed=tenant.truth()["invoices"]["live"] // 100)
    _line("incremental, 1 % changed", server, lambda: sync(SyncConfiguration()))


def _onboarded(
    server: embedded.EmbeddedServer, tenant: SimulatedTenant, *, full_data: bool
) -> Callable[[SyncConfiguration], SyncResult]:
    embedded.ensure_database(server, "bench")
    engine = open_engine(make_url(server.url("bench")).set(drivername=DRIVER))
    migrate(engine)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    settings = Settings(
        encryption_keys=f"1:{b64encode(os.urandom(32)).decode()}",
        app_key=tenant.app_key,
        production_api_url=tenant.url,
        production_auth_url=f"{tenant.url}/connect/token",
        full_data=full_data,
    )
    keys = SecretStr(tenant.client_id), SecretStr(tenant.client_secret)
    new = NewCredential("bench", "production", tenant.tenant_id, *keys)
    with transaction(engine, "onboard the benchmark's tenant") as connection:
        add_company(connection, "bench", name="Bench")
        add_credential(connection, Vault.from_settings(settings), new)
    return lambda configuration: synchronize_data("bench", configuration, settings=settings, engine=engine)


def _line(name: str, server: embedded.EmbeddedServer, sync: Callable[[], SyncResult]) -> None:
    client, postgres, started = time.process_time(), _postgres_seconds(server.pid), time.monotonic()
    result = sync()
    wall = time.monotonic() - started
    client, postgres = time.process_time() - client, _postgres_seconds(server.pid) - postgres
    assert result.success, result.errors
    rows = result.counts.processed
    # Below some thousand rows the fixed cost of a sync is all there is to see.
    per_row = [f"{seconds / rows * 1e6:.1f}" if rows >= LEAST_ROWS else "-" for seconds in (client, postgres)]
    pages = result.counts.pages
    print(f"{name:28}{rows:>9,}{client:>12.2f}{per_row[0]:>8}{postgres:>10.2f}{per_row[1]:>8}{pages:>10}{wall:>8.1f}")


def _postgres_seconds(postmaster: int) -> float:
    """CPU of the server and all its processes, those that have ended included."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if folder.name == str(postmaster):
            total += sum(map(int, fields[11:15]))
        elif fields[1] == str(postmaster):
            total += sum(map(int, fields[11:13]))
    return total / TICKS_PER_SECOND


if __name__ == "__main__":
    main()
