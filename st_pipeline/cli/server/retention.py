"""`st-pipeline retention`: delete old rows now.

Here: the command. Not here: what is deleted (operations/), the daily job that does the same (defs/).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from st_pipeline.settings import Settings


@click.command(
    short_help="Delete rows that are older than they are kept.",
    epilog=examples("st-pipeline retention", "st-pipeline retention --minutes 10 --json"),
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after this many minutes; default: when all is deleted.",
)
@json_option()
def retention(minutes: float | None, as_json: bool) -> None:
    """Delete what is older than the settings say: of the sync log, of Dagster's history, and more.

    Dagster does the same every day. Each batch is a transaction of its own: stopped at any time, it continues when
    repeated. Figures of deleted syncs stay, and so does the audit trail. With ST_PIPELINE_ARCHIVE_FOLDER deleted rows
    are kept as files.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.environment_file import read_file
    from st_pipeline.operations.retention import dagster_engine, delete_old_rows

    end = None if minutes is None else time.monotonic() + minutes * 60
    with (
        open_database() as (settings, engine),
        dagster_engine(engine, settings, {**read_file(), **os.environ}) as dagster,
        _compute_logs(settings, engine, has_history=dagster is not None) as forget,
    ):
        report = delete_old_rows(
            engine,
            settings,
            dagster=dagster,
            forget_compute_logs=forget,
            keep_going=lambda: end is None or time.monotonic() < end,
        )
    if as_json:
        print_json({"deleted": report.deleted, "skipped": sorted(report.skipped), "complete": report.is_complete})
        return
    told = [f"{number:,} {kind.replace('_', ' ')}" for kind, number in report.deleted.items() if number]
    click.echo(f"deleted: {', '.join(told) or 'nothing is old enough'}")
    for kind in sorted(report.skipped):
        click.echo(f"others work on {kind.replace('_', ' ')}; the next time continues there")
    if not report.is_complete:
        click.echo("the time was up; repeat it to continue")


@contextmanager
def _compute_logs(settings: "Settings", engine: "Engine", *, has_history: bool) -> Iterator[Callable[[str], None]]:
    """What deletes the output of a run; importing Dagster takes a second, so only where it has runs."""
    if not has_history:
        yield lambda _run_id: None
        return
    from st_pipeline.cli.server.setup import project_folder
    from st_pipeline.cli.sync.run_backend import dagster_environment
    from st_pipeline.defs.retention import compute_logs_at_home

    os.environ.update(dagster_environment(settings, engine, project_folder()))
    with compute_logs_at_home() as forget:
        yield forget
