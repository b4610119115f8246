"""`st-pipeline sync-status`: how each tenant is doing; the last syncs, and figures over a period.

Here: the command and its options. Not here: the figures (operations/), one sync in detail (`st-pipeline logs`).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import companies as company_slugs
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from st_pipeline.operations.status import StatusReport

WATCH_SECONDS = 2.0


@click.command(
    "sync-status",
    epilog=examples(
        "st-pipeline sync-status                          each tenant, the worst first",
        "st-pipeline sync-status --syncs                  the last syncs, and figures of 7 days",
        "st-pipeline sync-status --running-only --watch",
        "st-pipeline sync-status --failed-only --last-24h",
        "st-pipeline sync-status --each-tenant --failed-only",
        "st-pipeline sync-status -c acme-plumbing --since 2026-03-01 --json",
    ),
)
@click.option("--company", "-c", "companies", multiple=True, shell_complete=company_slugs, metavar="SLUG",
              help="Only syncs of this company; may be repeated.")  # fmt: skip
@click.option("--environment", "-e", type=click.Choice(["production", "integration"]), help="Only this environment.")
@click.option("--syncs", "only_syncs", is_flag=True, help="The last syncs instead of the tenants.")
@click.option("--running-only", "-r", is_flag=True, help="Only syncs that are running.")
@click.option("--failed-only", "-f", is_flag=True, help="Only syncs that failed, each with its reason.")
@click.option("--last-24h", is_flag=True, help="Only those that began in the last 24 hours.")
@click.option("--since", default="", metavar="TIME", help="Only those that began at this time or later.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Syncs or tenants to show; tenants with a problem are shown whatever their number.",
)
@click.option("--each-tenant", is_flag=True, help="The last sync of each tenant instead of the last ones of all.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@json_option()
def sync_status(
    *,
    companies: tuple[str, ...],
    environment: str | None,
    only_syncs: bool,
    running_only: bool,
    failed_only: bool,
    last_24h: bool,
    since: str,
    limit: int,
    each_tenant: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Show how each tenant is doing, the worst first, with what is wrong and what to do.

    --syncs, and each option that is about syncs, shows these instead, and figures over a period: that of --since or
    --last-24h, otherwise the last 7 days. Polls that find nothing write at most one row an hour.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations.history import SyncFilter
    from st_pipeline.operations.status import read_status
    from st_pipeline.sync.configuration import moment

    _refuse_contradictions(running_only=running_only, failed_only=failed_only, two_starts=last_24h and bool(since),
                           watch=watch and as_json)  # fmt: skip
    start = datetime.now(UTC) - timedelta(hours=24) if last_24h else moment("--since", since)
    if start is not None and start.tzinfo is None:
        raise ConfigurationError("--since has no time zone: end it with Z or an offset")
    status = "running" if running_only else "failed" if failed_only else None
    chosen = SyncFilter(companies, environment, status, start)
    about_syncs = only_syncs or status is not None or start is not None or each_tenant
    with open_database() as (settings, engine):

        def read() -> "StatusReport":
            return read_status(engine, settings, chosen, None if each_tenant else limit)

        if as_json:
            report = read()
            tenants = [line.as_dict() for line in report.tenants]
            print_json({"tenants": tenants, "syncs": report.syncs, "statistics": report.figures})
        elif about_syncs:
            _show(lambda width: _syncs(read(), width, with_reasons=failed_only), watch=watch)
        else:
            _show(lambda _: _tenants(read(), limit), watch=watch)


def _refuse_contradictions(*, running_only: bool, failed_only: bool, two_starts: bool, watch: bool) -> None:
    if running_only and failed_only:
        raise ConfigurationError("--running-only and --failed-only exclude each other: give one of them")
    if two_starts:
        raise ConfigurationError("--last-24h and --since exclude each other: give one of them")
    if watch:
        raise ConfigurationError("--watch and --json exclude each other: give one of them")


def _show(screen: "Callable[[int], RenderableType]", *, watch: bool) -> None:
    """Print it once, or again and again. `screen`: what to show in so many columns."""
    from rich.live import Live

    from st_pipeline.cli.terminal import terminal

    console = terminal()
    if not watch:
        console.print(screen(console.width))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(screen(console.width), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _syncs(report: "StatusReport", width: int, *, with_reasons: bool) -> "RenderableType":
    from rich.console import Group

    from st_pipeline.cli.status.table import figures_table, reasons, syncs_table

    table = syncs_table(report.syncs, width) if report.syncs else "no sync matches"
    return Group(table, *(reasons(report.syncs) if with_reasons else []), "", figures_table(report.figures))


def _tenants(report: "StatusReport", limit: int) -> "RenderableType":
    from st_pipeline.cli.status.tenants_table import tenants_screen

    return tenants_screen(report.tenants, report.figures, limit)
