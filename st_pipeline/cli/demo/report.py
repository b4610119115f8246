"""What the demo prints while it runs and at its end, in 80 columns.

Here: bars and tables. Not here: the demo's steps.
"""

from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import Engine, text

from st_pipeline.cli.demo.proof import Proof


class SyncBars:
    """A bar for each run's tenant, drawn from the sync log while the runs are running. `tenants`: by Dagster run id."""

    QUERY = text("""
        SELECT dagster_run_id, status, records_processed, records_expected
        FROM servicetitan_sync_logs WHERE dagster_run_id = ANY(:runs)
    """)

    def __init__(self, console: Console, engine: Engine, tenants: dict[str, str]) -> None:
        self.engine = engine
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:26}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.tasks = {run: self.progress.add_task(tenant, total=None) for run, tenant in tenants.items()}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def refresh(self, _statuses: dict[str, str]) -> None:
        """Draw the figures that are committed so far."""
        with self.engine.connect() as connection:
            rows = connection.execute(self.QUERY, {"runs": list(self.tasks)}).all()
        for run, status, processed, expected in rows:
            total = processed if status != "running" else max(expected or 0, processed) or None
            self.progress.update(self.tasks[run], completed=processed, total=total)


FIGURES = {"processed": 10, "created": 8, "updated": 8, "unchanged": 10, "rejected": 9, "deleted": 8, "seconds": 8}


def print_figures(console: Console, engine: Engine, runs: Sequence[str]) -> None:
    """Print what the runs' sync logs say, a line for each entity with its figures of all tenants."""
    query = text("""
        SELECT e.entity, sum(e.records_processed), sum(e.records_created), sum(e.records_updated),
               sum(e.records_unchanged), sum(e.records_failed), sum(e.records_deleted),
               sum(extract(epoch FROM e.completed_at - e.started_at))
        FROM sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id
        WHERE l.dagster_run_id = ANY(:runs) GROUP BY e.entity ORDER BY min(e.started_at - l.started_at)
    """)
    console.print(f"\n{'':19}" + "".join(f"{name:>{width}}" for name, width in FIGURES.items()), style="bold")
    with engine.connect() as connection:
        for entity, *counts, seconds in connection.execute(query, {"runs": list(runs)}):
            shown = [f"{count:,}" for count in counts] + [f"{seconds or 0:.1f}"]
            line = "".join(f"{figure:>{width}}" for figure, width in zip(shown, FIGURES.values(), strict=True))
            console.print(f"{entity:19}{line}")


def proof_table(proofs: dict[str, Proof]) -> Table:
    """The verdict on each tenant: do its tables equal the source?"""
    table = Table("tenant", box=None, pad_edge=False)
    for name in ("live rows", "deleted", "invoice total"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("equals the source", no_wrap=True)
    for tenant, proof in proofs.items():
        verdict = "[red]no[/]" if proof.differences else "[green]yes[/]"
        table.add_row(tenant, f"{proof.live:,}", f"{proof.deleted:,}", f"{proof.invoice_total:,.2f}", verdict)
    return table


STREAM_FIGURES = text("""
    SELECT t.partition_key,
           (SELECT count(*) FROM members_stream m WHERE m.credential_id = t.credential_id),
           (SELECT count(*) FROM members_stream m WHERE m.credential_id = t.credential_id AND m.active_member),
           (SELECT count(*) FROM invoices_stream i WHERE i.credential_id = t.credential_id),
           (SELECT sum(i.total) FROM invoices_stream i WHERE i.credential_id = t.credential_id AND i.still_exists)
    FROM tenants t WHERE t.environment = 'production' ORDER BY t.partition_key
""")
STREAM_SAMPLE = text("""
    SELECT customer_id, customer_first_name, customer_last_name, customer_phone_number_primary, membership_type,
           membership_end
    FROM members_stream WHERE active_member AND still_exists AND software = 'ServiceTitan'
    ORDER BY updated_at DESC, customer_id LIMIT 3
""")


def print_streams(console: Console, engine: Engine) -> None:
    """What downstream reads now: figures of both streams, and three of the made-up members."""
    console.rule("members_stream and invoices_stream, as downstream reads them")
    with engine.connect() as connection:
        figures, sample = connection.execute(STREAM_FIGURES).all(), connection.execute(STREAM_SAMPLE).all()
    table = Table("production tenant", box=None, pad_edge=False)
    for name in ("members", "active", "invoices", "invoice total"):
        table.add_column(name, justify="right", no_wrap=True)
    for tenant, members, active, invoices, total in figures:
        table.add_row(tenant, f"{members:,}", f"{active:,}", f"{invoices:,}", f"{total or 0:,.2f}")
    console.print(table)
    console.print()
    shown = Table("customer_id", "first", "last", "phone", "membership", "ends", box=None, pad_edge=False)
    for row in sample:
        shown.add_row(*("" if value is None else str(value) for value in row))
    console.print(shown)


def print_proofs(console: Console, proofs: dict[str, Proof]) -> bool:
    """Print the verdicts and every difference. Returns whether all tenants equal the source."""
    console.print()
    console.print(proof_table(proofs))
    console.print(
        "compared for every entity: row count, sum of ids, sums of money, checksum of the records; and both streams",
        style="dim",
    )
    for tenant, proof in proofs.items():
        for difference in proof.differences:
            console.print(f"{tenant}: {difference}", style="red")
    return not any(proof.differences for proof in proofs.values())
