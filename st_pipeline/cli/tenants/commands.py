"""`st-pipeline tenants`: each tenant's schedule.

Here: the commands. Not here: what a schedule means (tenants/), `st-pipeline credentials`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.postgres.tenant_schedules import TenantSchedule

DEFAULT_WORD = "default"
NIGHTLY = {"yes": True, "no": False, DEFAULT_WORD: None}


@click.group(cls=InOrder, short_help="Each tenant's schedule: interval, nightly full sync, pause.")
def tenants() -> None:
    """Each tenant's schedule: how often it is polled, whether it gets the nightly full sync, whether it is paused."""


@tenants.command("list", epilog=examples("st-pipeline tenants list", "st-pipeline tenants list --json"))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_(*, as_json: bool) -> None:
    """Show every tenant with its schedule, its last poll and the next."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_table, print_text
    from st_pipeline.operations.next_polls import schedules
    from st_pipeline.postgres.database import transaction

    with open_database() as (settings, engine), transaction(engine, "list the tenants") as connection:
        rows = schedules(connection, settings)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no tenant yet: add one with `st-pipeline credentials add`")
        return
    columns = ("tenant", "polled", "nightly", "last poll (UTC)", "next poll (UTC)")
    print_table(columns, [[r["tenant"], r["polled"], r["nightly_full"], r["last_poll"], _next(r)] for r in rows])
    print_text(
        f"polls at {settings.incremental_cron}, nightly full syncs at {settings.full_cron} (UTC, "
        "ST_PIPELINE_INCREMENTAL_CRON and ST_PIPELINE_FULL_CRON)"
    )


def _next(row: dict[str, Any]) -> object:
    return row["skipped_because"] or row["next_poll"] or "next tick"


@tenants.command(
    short_help="Have the schedules skip TENANT.",
    epilog=examples('st-pipeline tenants pause acme-plumbing --because "moves to a new account until Monday"'),
)
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
@click.option("--because", metavar="TEXT", help="Why; shown wherever the tenant is skipped.")
def pause(*, names: tuple[str, ...], because: str | None) -> None:
    """Have the schedules skip TENANT: no polls, no nightly full sync, no first sync. `st-pipeline sync` still works."""
    if because is not None and (not because.strip() or not because.isprintable()):
        raise ConfigurationError("--because is empty or has characters that cannot be printed: write it as plain text")
    changes = {"paused_at": "now", "paused_because": because}
    _change(names, "pause", changes, lambda schedule: (schedule.paused_at is not None, schedule.paused_because),
            (True, because))  # fmt: skip


@tenants.command(epilog=examples("st-pipeline tenants resume acme-plumbing"))
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
def resume(*, names: tuple[str, ...]) -> None:
    """Have the schedules sync TENANT again."""
    _change(names, "resume", {"paused_at": None, "paused_because": None}, lambda s: s.paused_at, None)


@tenants.command(
    short_help="Set how often TENANT is polled, and its nightly full sync.",
    epilog=examples(
        "st-pipeline tenants schedule acme-plumbing --every 60                  polled once an hour",
        "st-pipeline tenants schedule acme-plumbing --nightly-full no",
        "st-pipeline tenants schedule acme-plumbing --every default --nightly-full default",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
@click.option("--every", metavar="MINUTES|default",
              help="Poll it once in so many minutes, counted from midnight UTC; default: every tick.")  # fmt: skip
@click.option("--nightly-full", type=click.Choice(list(NIGHTLY)), help="Whether it gets the nightly full sync.")
def schedule(*, names: tuple[str, ...], every: str | None, nightly_full: str | None) -> None:
    """Poll TENANT less often than the others, or omit its nightly full sync.

    It is never polled more often than the schedule ticks (ST_PIPELINE_INCREMENTAL_CRON).
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
    """Change all of these tenants or, when one is unknown, none."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.operations.next_polls import move_next_poll
    from st_pipeline.postgres import tenant_schedules
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import record
    from st_pipeline.tenants.store import find_tenant

    said = []
    with open_database() as (settings, engine), transaction(engine, f"{action} tenants") as connection:
        schedules = tenant_schedules.load_all(connection)
        for found in [find_tenant(connection, name) for name in names]:
            if state(schedules.get(found.credential_id, tenant_schedules.DEFAULT)) == wanted:
                said.append(f"tenant {found.partition_key}: nothing changed")
                continue
            tenant_schedules.save(connection, found.credential_id, **changes)
            if action == "schedule":
                move_next_poll(connection, settings, found)
            details = {name: value for name, value in changes.items() if name != "paused_at"}
            record(connection, f"tenants.{action}", tenant=found.partition_key, credential_id=found.credential_id,
                   result="done", details=details)  # fmt: skip
            said.append(f"tenant {found.partition_key}: {DONE[action]}")
    for line in said:
        click.echo(line)


DONE = {"pause": "paused", "resume": "resumed", "schedule": "schedule changed"}
