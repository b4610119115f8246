"""`st-pipeline demo`: everything once, from nothing, with proof.

Here: the story and its tables. Not here: the parts it is made of (setup.py, simulated.py, dagster_service.py).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine, text

from st_pipeline.cli.simulated import SimulatedTenant, SimulatorState
from st_pipeline.records import Mode

RUN_TIMEOUT_SECONDS = 600
# What a morning does to a company, as counts for the simulator's clock to bring about.
CHANGES = {"created": 40, "changed": 120, "merged": 3, "deleted": 8, "deactivated": 5}


@click.command()
def demo() -> int:
    """Sync four simulated tenants from nothing, change the source, sync again, and prove the result.

    Starts a ServiceTitan simulator, onboards its companies by the commands you would use, and runs every sync as a
    Dagster run. Safe to run again.
    """
    from st_pipeline.cli.dagster_service import background_dagster
    from st_pipeline.cli.setup import project_folder, set_up
    from st_pipeline.cli.simulated import point_at_simulator, refuse_real_addresses, simulated_tenants, start_simulator
    from st_pipeline.postgres.database import main_url, open_engine
    from st_pipeline.settings import load_settings

    started = time.monotonic()
    console = Console(highlight=False)
    settings = load_settings()
    refuse_real_addresses(settings)
    folder = project_folder()
    with console.status("Postgres, migrations, keys …"):
        set_up()
    with console.status("a simulated ServiceTitan with three companies, 52,500 invoices …"):
        simulator, is_new = start_simulator(settings, live=False)
        point_at_simulator(simulator)
    settings = load_settings()
    engine = open_engine(main_url(settings))
    try:
        _introduce(console, engine, is_new)
        tenants = simulated_tenants()
        with console.status("Dagster …"), background_dagster(settings, folder) as dagster:
            console.print(f"Dagster answers at {dagster.url}")
            story = Story(console, engine, dagster, simulator, tenants)
            all_well = story.tell()
    finally:
        engine.dispose()
    _say_what_next(console, all_well, time.monotonic() - started)
    return 0 if all_well else 1


def _introduce(console: Console, engine: Engine, is_new: bool) -> None:
    from dagster import DagsterInstance

    from st_pipeline.cli import run
    from st_pipeline.cli.simulated import forget_rows_of_an_earlier_simulator, onboard
    from st_pipeline.defs.partitions import register_tenants

    if is_new and (forgotten := forget_rows_of_an_earlier_simulator(engine)):
        console.print(f"the simulator starts from its seed: rows of {forgotten} simulated tenants forgotten")
    console.rule("onboarding, by the commands you would use")
    onboard(run, lambda line: console.print(line, style="bold"))
    with DagsterInstance.get() as instance:
        register_tenants(instance, engine)


@dataclass(slots=True)
class Story:
    """The demo's two rounds of syncs and the proof after each."""

    console: Console
    engine: Engine
    dagster: "RunningDagster"  # noqa: F821 - imported when the demo runs
    simulator: SimulatorState
    tenants: list[SimulatedTenant]

    def tell(self) -> bool:
        """Full syncs, changes at the source, incremental syncs. True when every run and every proof is well."""
        self.console.rule("full sync of every tenant, each a Dagster run")
        full = self._sync(Mode.FULL)
        self._change_the_source()
        self.console.rule("incremental sync of every tenant, each a Dagster run")
        return self._sync(Mode.INCREMENTAL) and full

    def _sync(self, mode: Mode) -> bool:
        runs = {self.dagster.launch_sync(mode, tenant.partition_key): tenant for tenant in self.tenants}
        with SyncBars(self.console, self.engine, runs) as bars:
            statuses = self.dagster.wait(list(runs), RUN_TIMEOUT_SECONDS, bars.refresh)
        self.console.print(figures_table(self.engine, list(runs)))
        broken = [f"{runs[run].partition_key}: {status}" for run, status in statuses.items() if status != "SUCCESS"]
        for line in broken:
            self.console.print(f"run of {line}", style="red")
        return self._prove() and not broken

    def _change_the_source(self) -> None:
        with self.simulator.control() as control:
            for tenant in self.tenants:
                control.advance(tenant.spec.tenant_id, tenant.spec.environment, **CHANGES)
        done = ", ".join(f"{count} {what}" for what, count in CHANGES.items())
        self.console.print(f"\nat the source, for each tenant: {done}\n")

    def _prove(self) -> bool:
        from st_pipeline.cli.proof import prove_tenant

        table = Table("tenant", "entities", "live rows", "invoice total", "deleted", "equals the source", expand=True)
        all_equal = True
        with self.simulator.control() as control, self.engine.connect() as connection:
            for tenant in self.tenants:
                truth = control.truth(tenant.spec.tenant_id, tenant.spec.environment)
                proof = prove_tenant(connection, tenant.partition_key, truth)
                all_equal &= not proof.differences
                verdict = "[green]yes: counts, money, checksums[/]" if not proof.differences else "[red]no[/]"
                row = (tenant.partition_key, str(proof.entities), f"{proof.live:,}", f"{proof.invoice_total:,.2f}")
                table.add_row(*row, str(proof.deleted), verdict)
                for difference in proof.differences:
                    self.console.print(f"{tenant.partition_key}: {difference}", style="red")
        self.console.print(table)
        return all_equal


class SyncBars:
    """A bar for each tenant, drawn from the sync log while the runs go on."""

    QUERY = text("""
        SELECT dagster_run_id, status, records_processed, records_expected,
               (SELECT string_agg(entity, ' ') FROM sync_log_entities e WHERE e.sync_log_id = l.id AND status = 'running')
        FROM servicetitan_sync_logs l WHERE dagster_run_id = ANY(:runs)
    """)

    def __init__(self, console: Console, engine: Engine, runs: dict[str, SimulatedTenant]) -> None:
        self.engine = engine
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:30}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.tasks = {run: self.progress.add_task(tenant.partition_key, total=None) for run, tenant in runs.items()}

    def __enter__(self) -> "SyncBars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def refresh(self, _statuses: dict[str, str]) -> None:
        """Draw the figures that are committed by now."""
        with self.engine.connect() as connection:
            rows = connection.execute(self.QUERY, {"runs": list(self.tasks)}).all()
        for run, status, processed, expected, _entity in rows:
            total = processed if status != "running" else max(expected or 0, processed) or None
            self.progress.update(self.tasks[run], completed=processed, total=total)


def figures_table(engine: Engine, runs: Sequence[str]) -> Table:
    """What the runs' sync logs say, a row for each tenant and entity."""
    query = text("""
        SELECT t.partition_key, e.entity, e.records_processed, e.records_created, e.records_updated,
               e.records_unchanged, e.records_failed, e.records_deleted,
               extract(epoch FROM e.completed_at - e.started_at)
        FROM sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id
        JOIN tenants t ON t.credential_id = l.credential_id
        WHERE l.dagster_run_id = ANY(:runs) ORDER BY t.partition_key, e.started_at
    """)
    names = ("processed", "created", "updated", "unchanged", "rejected", "deleted", "seconds")
    table = Table("tenant", "entity", expand=True)
    for name in names:
        table.add_column(name, justify="right")
    previous = None
    with engine.connect() as connection:
        for tenant, entity, *counts, seconds in connection.execute(query, {"runs": list(runs)}):
            shown = "" if tenant == previous else tenant
            table.add_row(shown, entity, *(f"{count:,}" for count in counts), f"{seconds or 0:.1f}")
            previous = tenant
    return table


def _say_what_next(console: Console, all_well: bool, seconds: float) -> None:
    if not all_well:
        console.print(f"\n[red]Something failed[/] (after {seconds:.0f} s). `st-pipeline doctor` looks for the cause.")
        return
    console.print(f"\n[green]All well[/], in {seconds:.0f} s. What next:")
    console.print("  make dev             the Dagster UI with these tenants, and a simulator that moves on")
    console.print("  st-pipeline doctor   is everything as it should be?")
    console.print("  README.md            how to point it at a real account and at your own Postgres")
    console.print("  make down            stop Postgres and the simulator; data stays")
