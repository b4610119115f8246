"""`st-pipeline demo`: everything once, from nothing, with proof.

Here: the order of its steps. Not here: the steps themselves, and what it prints.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

    from st_pipeline.cli.demo.proof import Proof
    from st_pipeline.cli.demo.simulated import SimulatedTenant, SimulatorState
    from st_pipeline.protocol import Mode
    from st_pipeline.runs.graphql import RunningDagster
    from st_pipeline.settings import Settings

RUN_TIMEOUT_SECONDS = 600
# Changes that the simulator makes in each company between the two syncs.
CHANGES = {"created": 40, "changed": 120, "merged": 3, "deleted": 8, "deactivated": 5}


@click.command(short_help="Sync four simulated tenants from nothing, and prove the result.")
def demo() -> int:
    """Sync four simulated tenants from nothing, change the source, sync again, and prove the result.

    Starts a ServiceTitan simulator, onboards its companies with the commands you would use, and runs every sync as a
    Dagster run. Stops what it started; the data stays. Safe to run again. Everything is in a folder of its own
    (.st-pipeline-demo); it refuses to run if a real account or your own database is configured.
    """
    from st_pipeline.cli.demo import home
    from st_pipeline.cli.demo.simulated import point_at_simulator, simulated_tenants, start_simulator
    from st_pipeline.cli.server.dagster_service import background_dagster
    from st_pipeline.cli.server.setup import project_folder, set_up
    from st_pipeline.cli.terminal import terminal
    from st_pipeline.postgres.database import main_engine
    from st_pipeline.settings import load_settings

    started = time.monotonic()
    console = terminal()
    home.enter()
    folder = project_folder()
    with left_as_found(load_settings()):
        with console.status("Postgres, migrations, keys …"):
            settings = set_up()
        with console.status("a simulated ServiceTitan with three companies and 24,500 invoices …"):
            simulator, is_new = start_simulator(settings, live=False)
            point_at_simulator(simulator)
        settings = load_settings()
        with main_engine(settings) as engine:
            _introduce(console, engine, is_new)
            with console.status("Dagster …") as status, background_dagster(settings, folder) as dagster:
                status.stop()
                console.print(f"\nDagster answers at {dagster.url}")
                all_well = Demonstration(console, engine, dagster, simulator, simulated_tenants()).run()
    _say_what_next(console, all_well, time.monotonic() - started)
    return 0 if all_well else 1


@contextmanager
def left_as_found(settings: "Settings") -> Iterator[None]:
    """Afterwards, stop what was not running before; data stays."""
    from st_pipeline.cli.demo.simulated import running_simulator, stop_simulator
    from st_pipeline.embedded_postgres import embedded
    from st_pipeline.postgres.database import embedded_folder

    had_simulator = running_simulator(settings) is not None
    had_server = embedded.attach(embedded_folder(settings)) is not None
    try:
        yield
    finally:
        if not had_simulator:
            stop_simulator(settings)
        if not had_server:
            embedded.stop(embedded_folder(settings))


def _introduce(console: "Console", engine: "Engine", is_new: bool) -> None:
    from st_pipeline.cli import run
    from st_pipeline.cli.demo.dev import FORGOTTEN
    from st_pipeline.cli.demo.simulated import forget_rows_of_an_earlier_simulator, onboard
    from st_pipeline.defs.partitions import register_tenants_at_home

    if is_new and (forgotten := forget_rows_of_an_earlier_simulator(engine)):
        console.print(FORGOTTEN.format(forgotten))
    console.rule("onboarding, with the commands you would use")
    onboard(run, lambda line: console.print(line, style="bold", soft_wrap=True))
    register_tenants_at_home(engine)


@dataclass(slots=True)
class Demonstration:
    """The demo's two rounds of syncs and the proof after each."""

    console: "Console"
    engine: "Engine"
    dagster: "RunningDagster"
    simulator: "SimulatorState"
    tenants: "list[SimulatedTenant]"

    def run(self) -> bool:
        """Full syncs, changes at the source, incremental syncs, the streams. Returns whether all proofs hold."""
        from st_pipeline.cli.demo.report import print_streams
        from st_pipeline.protocol import Mode

        self.console.rule("full sync of every tenant, each a Dagster run")
        full = self._sync(Mode.FULL)
        self._change_the_source()
        self.console.rule("incremental sync of every tenant, each a Dagster run")
        incremental = self._sync(Mode.INCREMENTAL)
        print_streams(self.console, self.engine)
        return incremental and full

    def _sync(self, mode: "Mode") -> bool:
        from st_pipeline.cli.demo.report import SyncBars, print_figures, print_proofs

        runs = {self.dagster.launch_sync(mode, tenant.partition_key): tenant.partition_key for tenant in self.tenants}
        with SyncBars(self.console, self.engine, runs) as bars:
            statuses = self.dagster.wait(list(runs), RUN_TIMEOUT_SECONDS, bars.refresh)
        print_figures(self.console, self.engine, list(runs))
        broken = [f"run of {runs[run]}: {status}" for run, status in statuses.items() if status != "SUCCESS"]
        for line in broken:
            self.console.print(line, style="red")
        return print_proofs(self.console, self._proofs()) and not broken

    def _proofs(self) -> "dict[str, Proof]":
        from st_pipeline.cli.demo.proof import prove_streams, prove_tenant

        proofs = {}
        with self.simulator.control() as control, self.engine.connect() as connection:
            for tenant in self.tenants:
                truth = control.truth(tenant.spec.tenant_id, tenant.spec.environment)
                proof = prove_tenant(connection, tenant.partition_key, truth)
                if tenant.spec.environment == "production":
                    proof.differences += prove_streams(connection, tenant.partition_key, truth)
                proofs[tenant.partition_key] = proof
        return proofs

    def _change_the_source(self) -> None:
        with self.simulator.control() as control:
            for tenant in self.tenants:
                control.advance(tenant.spec.tenant_id, tenant.spec.environment, **CHANGES)
        done = ", ".join(f"{count} {what}" for what, count in CHANGES.items())
        self.console.print(f"\nat the source, for each tenant: {done}\n")


def _say_what_next(console: "Console", all_well: bool, seconds: float) -> None:
    if not all_well:
        console.print(f"\n[red]Something failed[/], after {seconds:.0f} s. `st-pipeline doctor` looks for the cause.")
        return
    console.print(f"\n[green]All well[/], in {seconds:.0f} s. What next:")
    console.print("  make dev    the Dagster UI with these tenants and their runs, on data that keeps changing")
    console.print("  cd .st-pipeline-demo    in this folder, every st-pipeline command is about these tenants")
    console.print("  README.md   how to use it with a real account and your own Postgres")
