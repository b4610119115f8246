"""`st-pipeline tenants`: each tenant's schedule, and pauses.

Here: the commands but one. Not here: setting a schedule (schedule.py), what it means (tenants/), `st-pipeline
credentials`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.postgres.tenant_schedules import TenantSchedule
    from st_pipeline.tenants.audit import Action


@click.group(cls=InOrder, short_help="Each tenant's schedule: interval, nightly full sync, pause.")
def tenants() -> None:
    """Each tenant's schedule: how often it is polled, whether it gets the nightly full sync, whether it is paused."""


@tenants.command("list", epilog=examples("st-pipeline tenants list", "st-pipeline tenants list --json"))
@json_option()
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
        f"polls at {settings.incremental_cron}, nightly full syncs at {settings.full_cron} ({settings.time_zone}; "
        "ST_PIPELINE_INCREMENTAL_CRON, ST_PIPELINE_FULL_CRON, ST_PIPELINE_TIME_ZONE)"
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

    def change(before: "TenantSchedule") -> dict[str, Any]:
        is_paused = before.paused_at is not None and before.paused_because == because
        return {} if is_paused else {"paused_at": "now", "paused_because": because}

    change_schedules(names, "pause", change)


@tenants.command(epilog=examples("st-pipeline tenants resume acme-plumbing"))
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
def resume(*, names: tuple[str, ...]) -> None:
    """Have the schedules sync TENANT again."""
    change_schedules(names, "resume", lambda _before: {"paused_at": None, "paused_because": None})


def change_schedules(
    names: tuple[str, ...],
    action: Literal["pause", "resume", "schedule"],
    change: "Callable[[TenantSchedule], dict[str, Any]]",
) -> None:
    """Change all of these tenants or, when one is unknown, none. `change`: what is new in a schedule."""
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
            before = schedules.get(found.credential_id, tenant_schedules.DEFAULT)
            changes = {name: value for name, value in change(before).items() if getattr(before, name) != value}
            if not changes:
                said.append(f"tenant {found.partition_key}: nothing changed")
                continue
            tenant_schedules.save(connection, found.credential_id, **changes)
            if action == "schedule":
                move_next_poll(connection, settings, found)
            details = {name: _plain(value) for name, value in changes.items() if name != "paused_at"}
            record(connection, ACTIONS[action], tenant=found.partition_key, credential_id=found.credential_id,
                   result="done", details=details)  # fmt: skip
            said.append(f"tenant {found.partition_key}: {DONE[action]}")
    for line in said:
        click.echo(line)


def _plain(value: object) -> str | int | None:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if value is None or isinstance(value, int) else str(value)


DONE = {"pause": "paused", "resume": "resumed", "schedule": "schedule changed"}
ACTIONS: "dict[str, Action]" = {
    "pause": "tenants.pause", "resume": "tenants.resume", "schedule": "tenants.schedule",
}  # fmt: skip
