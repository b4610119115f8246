"""What a sync takes in memory: the peak of the process that syncs, of a small tenant and of a large one.

Each size is a tenant of the simulator with ten invoices a customer, read in full twice by fresh processes at default
settings: a first load, then a pass over what is there already. Both walk the list for presence and build the streams.
Memory must not grow with a tenant: exit code 1 when a peak is above LIMIT, or the sizes differ by more than MAY_DIFFER.

    make memory                             10,000 and 500,000 invoices: 8 GB for the simulator, 15 minutes
    .venv/bin/python benchmarks/memory.py --invoices 10000 --invoices 50000
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import click
from pydantic import SecretStr
from sqlalchemy import make_url

from st_pipeline.embedded_postgres import embedded
from st_pipeline.postgres.database import DRIVER, open_engine, transaction
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault

MB = 2**20
LIMIT, MAY_DIFFER = 400 * MB, 0.2
SEED_SECONDS = 1800
SERVE = [sys.executable, "-m", "st_pipeline.simulator", "serve", "--port", "0", "--integration-port", "0"]
# Its own high-water mark: getrusage would count the process that started it, too.
WORKER = """
import sys
from pathlib import Path
from st_pipeline import SyncConfiguration, synchronize_data
result = synchronize_data(sys.argv[1], SyncConfiguration(incremental_only=False))
print(result.counts.processed, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit("; ".join(result.errors) or 0)
"""


@click.command()
@click.option("--invoices", "sizes", multiple=True, type=int, default=[10_000, 500_000], show_default=True)
def main(sizes: tuple[int, ...]) -> None:
    """Measure and print a line for each size and pass; the sizes are compared pass by pass."""
    place = Path(tempfile.mkdtemp(prefix="st-pipeline-memory-"))
    place.chmod(0o755)
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            server = embedded.start(place / "postgres", options={"fsync": "off"})
            assert simulator.stdout is not None
            urls = dict(part.split("=", 1) for part in simulator.stdout.readline().split()[1:])
            with SimulatorControl(urls["production"], timeout_seconds=SEED_SECONDS) as control:
                peaks = [_measure(server, control, size) for size in sizes]
        finally:
            simulator.kill()
            embedded.remove(place / "postgres")
            shutil.rmtree(place)
    differ = max(max(of_a_pass) / min(of_a_pass) - 1 for of_a_pass in zip(*peaks, strict=True))
    highest = max(map(max, peaks))
    click.echo(
        f"sizes differ by {differ:.0%} (may: {MAY_DIFFER:.0%}); highest {highest / MB:.0f} MB (may: {LIMIT // MB})"
    )
    sys.exit(1 if differ > MAY_DIFFER or highest > LIMIT else 0)


def _measure(server: embedded.EmbeddedServer, control: SimulatorControl, invoices: int) -> list[int]:
    tenant = control.create_tenant(customers=invoices // 10, invoices=invoices, seed=1)
    name = f"invoices-{invoices}"
    embedded.ensure_database(server, name)
    variables = onboard(server.url(name), name, tenant)
    peaks = []
    for what in ("first load", "nothing changed"):
        started = time.monotonic()
        rows, peak = peak_of_a_full_sync(name, variables)
        seconds = time.monotonic() - started
        click.echo(f"{invoices:>9,} invoices, {what:<16}{rows:>10,} records{peak / MB:>8.0f} MB{seconds:>8.0f} s")
        peaks.append(peak)
    tenant.remove()
    return peaks


def onboard(url: str, name: str, tenant: SimulatedTenant) -> dict[str, str]:
    """Make the tables in an empty database and add the tenant as a company; the variables for who syncs it."""
    variables = {
        "DATABASE_URL": url,
        "ST_PIPELINE_ENCRYPTION_KEYS": f"1:{b64encode(os.urandom(32)).decode()}",
        "ST_PIPELINE_APP_KEY": tenant.app_key,
        "ST_PIPELINE_PRODUCTION_API_URL": tenant.url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{tenant.url}/connect/token",
    }
    engine = open_engine(make_url(url).set(drivername=DRIVER))
    migrate(engine)
    vault = Vault.from_settings(Settings(encryption_keys=SecretStr(variables["ST_PIPELINE_ENCRYPTION_KEYS"])))
    keys = SecretStr(tenant.client_id), SecretStr(tenant.client_secret)
    with transaction(engine, "onboard the tenant") as connection:
        add_company(connection, name, name=name, intacct_id=name)
        add_credential(connection, vault, NewCredential(name, "production", tenant.tenant_id, *keys))
    engine.dispose()
    return variables


def peak_of_a_full_sync(tenant: str, variables: Mapping[str, str]) -> tuple[int, int]:
    """Sync a tenant in full in a process of its own: the records it read, and its peak in bytes."""
    synced = subprocess.run(
        [sys.executable, "-c", WORKER, tenant],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows, kibibytes = synced.stdout.splitlines()[-1].split()
    return int(rows), int(kibibytes) * 1024


if __name__ == "__main__":
    main()
