"""What a person sees while a command's syncs run: a line for each tenant that has ended, and the running ones below.

Here: the lines. Not here: the figures in them (operations/). Without a terminal there is only a line for each tenant
that has ended, which is what a cron job's mail should hold.
"""

import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from st_pipeline.cli.output import number_of
from st_pipeline.operations.run_figures import Progress, progress_of, results_of
from st_pipeline.runs.follow import SyncRunner, TenantRun

STYLES = {"completed": "green", "failed": "red", "skipped": "yellow", "unknown": "yellow"}
INTERRUPTED = "ending at the next chunk; Ctrl-C again ends the syncs at once"


class SyncProgress:
    """Draws a runner's tenants; `with SyncProgress(...) as progress: runner.run(progress.refresh)`."""

    def __init__(self, console: Console, engine: Engine, runner: SyncRunner) -> None:
        self._console, self._engine, self._runner = console, engine, runner
        self._printed: set[str] = set()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Print the tenants that have ended since the last call, and draw the running ones."""
        ended = [run for run in self._runner.runs if run.ended_at is not None and run.tenant not in self._printed]
        running = [run for run in self._runner.runs if run.run_id is not None and run.ended_at is None]
        if not ended and (self._live is None or not running):
            return
        with self._engine.connect() as connection:
            results = results_of(connection, ended) if ended else []
            progress = progress_of(connection, running) if self._live is not None and running else {}
        for result in results:
            self._printed.add(result["tenant"])
            self._console.print(line_of(result))
        if self._live is not None:
            self._live.update(self._table(running, progress), refresh=True)

    def _table(self, running: Sequence[TenantRun], progress: dict[str, Progress]) -> Table:
        table = Table.grid(padding=(0, 2))
        for run in running:
            seconds = time.monotonic() - (run.began_at or run.submitted_at)
            table.add_row(Text(run.tenant), Text(_state(run, progress.get(run.run_id or ""))), f"{seconds:.0f} s")
        waiting = sum(run.status == "waiting" and run.run_id is None for run in self._runner.runs)
        if waiting:
            table.add_row(Text(f"{waiting} more waiting", style="dim"))
        if self._runner.interrupts.number:
            table.add_row(Text(INTERRUPTED, style="yellow"))
        return table


def _state(run: TenantRun, progress: Progress | None) -> str:
    if run.began_at is None:
        return "queued"
    if progress is None:
        return "starting"
    expected = f" of {progress.expected:,}" if progress.expected else ""
    total = f"{progress.processed:,}{expected} record{'' if (progress.expected or progress.processed) == 1 else 's'}"
    now = "" if progress.entity is None else f", {progress.entity} {progress.entity_processed:,}"
    return f"{total}; {number_of(progress.done, 'entity', 'entities')} done{now}"


def line_of(result: dict[str, Any]) -> Text:
    """The result of a tenant's sync, in one line."""
    status: str = result["status"]
    line = Text(f"{result['tenant']}: ")
    line.append(status, style=STYLES.get(status, ""))
    if status in ("skipped", "unknown"):
        return line.append(f": {result['message']}")
    counts = {name: result[f"records_{name}"] for name in ("created", "updated", "deleted")}
    changed = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing changed"
    rejected = f", {result['records_failed']:,} rejected" if result["records_failed"] else ""
    if status == "failed" and not result["records_processed"]:
        line.append(f" after {result['seconds']:.1f} s" if result["dagster_run_id"] is not None else "")
    elif result["dagster_run_id"] is not None:
        records = number_of(result["records_processed"], "record")
        line.append(f", {records}, {changed}{rejected}, {result['seconds']:.1f} s")
    if status == "failed":
        line.append(f"\n  {result['message']}")
        if result["sync_log_id"] is not None:
            line.append(f"\n  st-pipeline logs {result['sync_log_id']}", style="dim")
    return line
