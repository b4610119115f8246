"""`st-pipeline sync-status`: the last syncs, and how it goes on the whole.

Here: the command, the table, the figures below it. Not here: the queries (postgres/sync_history.py), one sync's story
(logs_command.py).
"""

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.selection_options import companies as company_slugs
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sqlalchemy import Connection, Engine

    from st_pipeline.operations.history import Totals, Wanted
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.store import Tenant

WATCH_SECONDS = 2.0
FIGURES_OF_DAYS = 7


@click.command(
    "sync-status",
    epilog=examples(
        "st-pipeline sync-status",
        "st-pipeline sync-status --running-only --watch",
        "st-pipeline sync-status --failed-only --last-24h",
        "st-pipeline sync-status -c acme-plumbing --since 2026-03-01 --json",
    ),
)
@click.option("--company", "-c", "companies", multiple=True, shell_complete=company_slugs, metavar="SLUG",
              help="Only this company's; may be repeated.")  # fmt: skip
@click.option("--environment", "-e", type=click.Choice(["production", "integration"]), help="Only this environment's.")
@click.option("--running-only", "-r", is_flag=True, help="Only syncs that go on.")
@click.option("--failed-only", "-f", is_flag=True, help="Only syncs that failed, each with its reason.")
@click.option("--last-24h", is_flag=True, help="Only those that began in the last 24 hours.")
@click.option("--since", default="", metavar="TIME", help="Only those that began at this time or later.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Syncs to show.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def sync_status(
    *,
    companies: tuple[str, ...],
    environment: str | None,
    running_only: bool,
    failed_only: bool,
    last_24h: bool,
    since: str,
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the last syncs and how it goes on the whole.

    The figures below the table are those of the chosen time, else of the last 7 days. Polls that found nothing leave a
    row at most once an hour.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations.history import Wanted
    from st_pipeline.sync.configuration import moment

    _refuse_contradictions(running_only=running_only, failed_only=failed_only, both=last_24h and bool(since),
                           watch=watch and as_json)  # fmt: skip
    start = datetime.now(UTC) - timedelta(hours=24) if last_24h else moment("--since", since)
    if start is not None and start.tzinfo is None:
        raise ConfigurationError("--since has no zone: write it with Z or an offset")
    status = "running" if running_only else "failed" if failed_only else None
    wanted = Wanted(companies, environment, status, start)
    with open_database() as (settings, engine):
        if as_json:
            print_json(_as_json(engine, settings, wanted, limit))
        else:
            _show(engine, settings, wanted, limit, watch=watch)


def _refuse_contradictions(*, running_only: bool, failed_only: bool, both: bool, watch: bool) -> None:
    if running_only and failed_only:
        raise ConfigurationError("a sync that runs has not failed: give --running-only or --failed-only")
    if both:
        raise ConfigurationError("two starts: give --last-24h or --since")
    if watch:
        raise ConfigurationError("--watch is for people: leave --json away, or run the command again and again")


def _show(engine: "Engine", settings: "Settings", wanted: "Wanted", limit: int, *, watch: bool) -> None:
    from rich.live import Live

    from st_pipeline.cli.terminal import terminal

    console = terminal()
    if not watch:
        console.print(_picture(engine, settings, wanted, limit, console.width))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(_picture(engine, settings, wanted, limit, console.width), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _read(
    engine: "Engine", settings: "Settings", wanted: "Wanted", limit: int
) -> "tuple[list[dict[str, Any]], dict[str, Any]]":
    """The syncs and the figures, of one moment."""
    from dataclasses import replace

    from st_pipeline.operations.history import last_syncs, slowest, totals
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.selection import Selection, check_names
    from st_pipeline.tenants.store import all_tenants

    period = wanted.since or datetime.now(UTC) - timedelta(days=FIGURES_OF_DAYS)
    counted = replace(wanted, since=period, status=None)
    with transaction(engine.execution_options(isolation_level="REPEATABLE READ"), "read the sync log") as connection:
        chosen = Selection(companies=tuple(wanted.companies), environment=wanted.environment)
        tenants = all_tenants(connection)
        check_names(tenants, Selection(companies=chosen.companies))
        tenants = [tenant for tenant in tenants if chosen.covers(tenant)]
        syncs = last_syncs(connection, wanted, limit)
        figures = _figures(totals(connection, counted), period)
        figures["slowest"] = slowest(connection, counted)
        figures["next_due"] = _next_due(connection, settings, tenants)
        figures["refused"] = _refused(tenants)
    return syncs, figures


def _figures(total: "Totals", since: datetime) -> dict[str, Any]:
    from st_pipeline.servicetitan.statistics import RequestStatistics

    ended = total.completed + total.failed
    times = RequestStatistics(longest_ms=total.longest_ms, buckets=total.buckets)
    return {
        "since": since,
        "syncs": total.syncs,
        "completed": total.completed,
        "failed": total.failed,
        "running": total.running,
        "success_rate": round(total.completed / ended, 4) if ended else None,
        "records": total.processed,
        "records_failed": total.records_failed,
        "failed_share": round(total.records_failed / total.processed, 6) if total.processed else None,
        "records_per_second": round(total.processed / total.seconds, 1) if total.seconds else None,
        "requests": total.requests,
        "retries": total.retries,
        "rate_limited": total.rate_limited,
        "api_p95_ms": round(times.percentile_ms(0.95), 1) if total.buckets else None,
        "token_refreshes": total.token_requests,
    }


def _refused(tenants: "list[Tenant]") -> list[dict[str, Any]]:
    """The enabled tenants whose credentials do not work, also while that is taken for an outage.

    The last materializations in Dagster stay green: a poll that fails for a tenant writes none.
    """
    return [
        {
            "tenant": tenant.partition_key,
            "status": tenant.connection_status,
            "since": tenant.refused_since,
            "tried_again_from": tenant.retry_at,
            "message": tenant.connection_message,
        }
        for tenant in tenants
        if tenant.enabled and (tenant.connection_status == "error" or tenant.refused_since is not None)
    ]


def _next_due(connection: "Connection", settings: "Settings", tenants: "list[Tenant]") -> dict[str, Any]:
    """How many tenants every tick polls; the others with the moment from which, or the reason why not."""
    from st_pipeline.postgres import tenant_schedules
    from st_pipeline.protocol import Mode
    from st_pipeline.tenants.selection import FEEDS, next_poll, why_skipped

    now = datetime.now(UTC)
    schedules, looks = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    every_tick, later, left_alone = 0, {}, {}
    for tenant in tenants:
        schedule = schedules.get(tenant.credential_id, tenant_schedules.DEFAULT)
        look = looks.get(tenant.credential_id)
        due_from = next_poll(schedule.poll_minutes, look)
        why = why_skipped(tenant, schedule, None, now, Mode.INCREMENTAL)
        if why is not None:
            left_alone[tenant.partition_key] = why
        elif due_from is not None and due_from > now:
            later[tenant.partition_key] = due_from.isoformat()
        else:
            every_tick += 1
    return {"cron": settings.incremental_cron, "with_next_tick": every_tick, "later": later, "left_alone": left_alone}


def _as_json(engine: "Engine", settings: "Settings", wanted: "Wanted", limit: int) -> dict[str, Any]:
    syncs, figures = _read(engine, settings, wanted, limit)
    return {"syncs": syncs, "statistics": figures}


def _picture(engine: "Engine", settings: "Settings", wanted: "Wanted", limit: int, width: int) -> "RenderableType":
    from rich.console import Group

    from st_pipeline.cli.status.table import figures_table, reasons, syncs_table

    syncs, figures = _read(engine, settings, wanted, limit)
    table = syncs_table(syncs, width) if syncs else "no sync fits"
    return Group(table, *(reasons(syncs) if wanted.status == "failed" else []), "", figures_table(figures))
