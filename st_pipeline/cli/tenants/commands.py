"""`st-pipeline tenants`: what the schedules do with each tenant.

Here: the commands. Not here: what a schedule means (due.py), credentials (credential_commands.py).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from st_pipeline.postgres.tenant_schedules import TenantSchedule
    from st_pipeline.settings import Settings

DEFAULT_WORD = "default"
NIGHTLY = {"yes": True, "no": False, DEFAULT_WORD: None}


@click.group(cls=InOrder)
def tenants() -> None:
    """What the schedules do with each tenant: polled how often, read at night or not, paused."""


@tenants.command("list", epilog=examples("st-pipeline tenants list", "st-pipeline tenants list --json"))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_(*, as_json: bool) -> None:
    """Show every tenant with its schedule, its last look and the next."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_table, print_text
    from st_pipeline.postgres.database import transaction

    with open_database() as (settings, engine), transaction(engine, "list the tenants") as connection:
        rows = _rows(connection, settings)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no tenant yet: add one with `st-pipeline credentials add`")
        return
    columns = ("tenant", "polled", "nightly", "last look (UTC)", "next look (UTC)")
    print_table(columns, [[r["tenant"], r["polled"], r["nightly_full"], r["last_look"], _next(r)] for r in rows])
    print_text(f"a tick is {settings.incremental_cron}, the night {settings.full_cron} (UTC; the settings say so)")


def _next(row: dict[str, Any]) -> object:
    return row["left_alone"] or row["next_look"] or "next tick"


def _rows(connection: "Connection", settings: "Settings") -> list[dict[str, Any]]:
    from st_pipeline.postgres import tenant_schedules
    from st_pipeline.protocol import Mode
    from st_pipeline.tenants.selection import FEEDS, next_poll, why_skipped
    from st_pipeline.tenants.store import all_tenants

    schedules, looks = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    now = datetime.now(UTC)
    rows = []
    for tenant in all_tenants(connection):
        schedule = schedules.get(tenant.credential_id, tenant_schedules.DEFAULT)
        look = looks.get(tenant.credential_id)
        after = next_poll(schedule.poll_minutes, look)
        rows.append(
            {
                "tenant": tenant.partition_key,
                "polled": "every tick" if schedule.poll_minutes is None else f"every {schedule.poll_minutes} min",
                "poll_minutes": schedule.poll_minutes,
                "nightly_full": schedule.nightly_full is not False,
                "paused_at": schedule.paused_at,
                "paused_because": schedule.paused_because,
                "last_look": look,
                "next_look": after if after is not None and after > now else None,
                "left_alone": why_skipped(tenant, schedule, None, now, Mode.INCREMENTAL),
                "cron": settings.incremental_cron,
            }
        )
    return rows


@tenants.command(
    epilog=examples('st-pipeline tenants pause acme-plumbing --because "moves to a new account until Monday"')
)
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
@click.option("--because", metavar="TEXT", help="Why; shown wherever the tenant is left alone.")
def pause(*, names: tuple[str, ...], because: str | None) -> None:
    """Let the schedules leave TENANT alone: no polls, no nightly sync, no first sync. A person's sync still works."""
    if because is not None and (not because.strip() or not because.isprintable()):
        raise ConfigurationError("--because is empty or has characters that cannot be printed: write it plainly")
    changes = {"paused_at": "now", "paused_because": because}
    _change(names, "pause", changes, lambda schedule: (schedule.paused_at is not None, schedule.paused_because),
            (True, because))  # fmt: skip


@tenants.command(epilog=examples("st-pipeline tenants resume acme-plumbing"))
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
def resume(*, names: tuple[str, ...]) -> None:
    """Let the schedules have TENANT again."""
    _change(names, "resume", {"paused_at": None, "paused_because": None}, lambda s: s.paused_at, None)


@tenants.command(
    epilog=examples(
        "st-pipeline tenants schedule acme-plumbing --every 60                  polled once an hour",
        "st-pipeline tenants schedule acme-plumbing --nightly-full no",
        "st-pipeline tenants schedule acme-plumbing --every default --nightly-full default",
    )
)
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
@click.option("--every", metavar="MINUTES|default",
              help="Poll it once in so many minutes, counted from midnight UTC; default: with every tick.")  # fmt: skip
@click.option("--nightly-full", type=click.Choice(list(NIGHTLY)), help="Read it in full by night; default: yes.")
def schedule(*, names: tuple[str, ...], every: str | None, nightly_full: str | None) -> None:
    """Poll TENANT less often than the others, or leave its nightly full sync away.

    Never more often than the schedule ticks (ST_PIPELINE_INCREMENTAL_CRON).
    """
    if every is None and nightly_full is None:
        raise ConfigurationError("nothing to change: give --every or --nightly-full")
    changes: dict[str, Any] = {}
    if every is not None:
        changes["poll_minutes"] = _minutes(every)
    if nightly_full is not None:
        changes["nightly_full"] = NIGHTLY[nightly_full]
    _change(names, "schedule", changes, lambda s: {name: getattr(s, name) for name in changes}, changes)


def _minutes(written: str) -> int | None:
    """A whole number of minutes up to a week; None for the default. Raises ConfigurationError."""
    if written == DEFAULT_WORD:
        return None
    if not (written.isascii() and written.isdigit()) or not 0 < int(written[:6]) <= 7 * 24 * 60:
        raise ConfigurationError(f"--every {written}: write whole minutes from 1 to 10080, or {DEFAULT_WORD}")
    return int(written)


def _change(
    names: tuple[str, ...],
    action: str,
    changes: dict[str, Any],
    state: "Callable[[TenantSchedule], object]",
    wanted: object,
) -> None:
    """Set it for all of them or, when one is unknown, for none; what is so already stays."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres import tenant_schedules
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import record
    from st_pipeline.tenants.store import find_tenant

    said = []
    with open_database() as (_, engine), transaction(engine, f"{action} tenants") as connection:
        schedules = tenant_schedules.load_all(connection)
        for found in [find_tenant(connection, name) for name in names]:
            if state(schedules.get(found.credential_id, tenant_schedules.DEFAULT)) == wanted:
                said.append(f"tenant {found.partition_key}: nothing changed")
                continue
            tenant_schedules.save(connection, found.credential_id, **changes)
            details = {name: value for name, value in changes.items() if name != "paused_at"}
            record(connection, f"tenants.{action}", tenant=found.partition_key, credential_id=found.credential_id,
                   result="done", details=details)  # fmt: skip
            said.append(f"tenant {found.partition_key}: {DONE[action]}")
    for line in said:
        click.echo(line)


DONE = {"pause": "paused", "resume": "resumed", "schedule": "schedule changed"}
