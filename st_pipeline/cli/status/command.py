"""`st-pipeline sync-status`: the last syncs, and figures over a period.

Here: the command and its options. Not here: the figures (operations/), one sync in detail (`st-pipeline logs`).
"""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import companies as company_slugs
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Engine

    from st_pipeline.operations.history import SyncFilter
    from st_pipeline.settings import Settings

WATCH_SECONDS = 2.0


@click.command(
    "sync-status",
    epilog=examples(
        "st-pipeline sync-status",
        "st-pipeline sync-status --running-only --watch",
        "st-pipeline sync-status --failed-only --last-24h",
        "st-pipeline sync-status --each-tenant --failed-only",
        "st-pipeline sync-status -c acme-plumbing --since 2026-03-01 --json",
    ),
)
@click.option("--company", "-c", "companies", multiple=True, shell_complete=company_slugs, metavar="SLUG",
              help="Only syncs of this company; may be repeated.")  # fmt: skip
@click.option("--environment", "-e", type=click.Choice(["production", "integration"]), help="Only this environment.")
@click.option("--running-only", "-r", is_flag=True, help="Only syncs that are running.")
@click.option("--failed-only", "-f", is_flag=True, help="Only syncs that failed, each with its reason.")
@click.option("--last-24h", is_flag=True, help="Only those that began in the last 24 hours.")
@click.option("--since", default="", metavar="TIME", help="Only those that began at this time or later.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Syncs to show.")
@click.option("--each-tenant", is_flag=True, help="The last sync of each tenant instead of the last ones of all.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@json_option()
def sync_status(
    *,
    companies: tuple[str, ...],
    environment: str | None,
    running_only: bool,
    failed_only: bool,
    last_24h: bool,
    since: str,
    limit: int,
    each_tenant: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the last syncs, and figures over a period.

    The figures below the table are those of --since or --last-24h, otherwise of the last 7 days. Polls that find
    nothing write at most one row an hour.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations.history import SyncFilter
    from st_pipeline.sync.configuration import moment

    _refuse_contradictions(running_only=running_only, failed_only=failed_only, two_starts=last_24h and bool(since),
                           watch=watch and as_json)  # fmt: skip
    start = datetime.now(UTC) - timedelta(hours=24) if last_24h else moment("--since", since)
    if start is not None and start.tzinfo is None:
        raise ConfigurationError("--since has no time zone: end it with Z or an offset")
    status = "running" if running_only else "failed" if failed_only else None
    chosen = SyncFilter(companies, environment, status, start)
    shown = None if each_tenant else limit
    with open_database() as (settings, engine):
        if as_json:
            print_json(_as_json(engine, settings, chosen, shown))
        else:
            _show(engine, settings, chosen, shown, watch=watch)


def _refuse_contradictions(*, running_only: bool, failed_only: bool, two_starts: bool, watch: bool) -> None:
    if running_only and failed_only:
        raise ConfigurationError("--running-only and --failed-only exclude each other: give one of them")
    if two_starts:
        raise ConfigurationError("--last-24h and --since exclude each other: give one of them")
    if watch:
        raise ConfigurationError("--watch and --json exclude each other: give one of them")


def _show(engine: "Engine", settings: "Settings", chosen: "SyncFilter", limit: int | None, *, watch: bool) -> None:
    from rich.live import Live

    from st_pipeline.cli.terminal import terminal

    console = terminal()
    if not watch:
        console.print(_screen(engine, settings, chosen, limit, console.width))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(_screen(engine, settings, chosen, limit, console.width), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _as_json(engine: "Engine", settings: "Settings", chosen: "SyncFilter", limit: int | None) -> dict[str, Any]:
    from st_pipeline.operations.status import read_status

    syncs, figures = read_status(engine, settings, chosen, limit)
    return {"syncs": syncs, "statistics": figures}


def _screen(
    engine: "Engine", settings: "Settings", chosen: "SyncFilter", limit: int | None, width: int
) -> "RenderableType":
    from rich.console import Group

    from st_pipeline.cli.status.table import figures_table, reasons, syncs_table
    from st_pipeline.operations.status import read_status

    syncs, figures = read_status(engine, settings, chosen, limit)
    table = syncs_table(syncs, width) if syncs else "no sync matches"
    return Group(table, *(reasons(syncs) if chosen.status == "failed" else []), "", figures_table(figures))
