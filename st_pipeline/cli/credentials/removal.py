"""`st-pipeline credentials remove` and `purge`: remove a credential, and delete its rows.

Here: asking, progress, output. Not here: removing and deleting (tenants/).
"""

import sys
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from st_pipeline.tenants.purge import Purge
    from st_pipeline.tenants.store import Tenant


@click.command(
    "remove",
    short_help="Remove TENANT with its keys and rows; the audit trail stays.",
    epilog=examples(
        "st-pipeline credentials remove acme-plumbing",
        "st-pipeline credentials remove acme-plumbing@integration --yes --no-wait",
        "st-pipeline credentials remove acme-plumbing --keep-data",
    ),
)
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep-data", is_flag=True, help="Keep its rows in the tables.")
@click.option("--no-wait", is_flag=True, help="Leave its rows to the next `credentials purge` or to Dagster's sensor.")
@json_option()
def remove(tenant: str, yes: bool, keep_data: bool, no_wait: bool, as_json: bool) -> None:
    """Remove TENANT: its keys, sync logs, cursors, rejects and rows. The audit trail stays.

    A running sync of it ends at its next chunk. The keys are deleted at once, then the rows in batches, while other
    tenants are synced as usual. If this is stopped or killed, `st-pipeline credentials purge` continues. The company
    stays and may get new credentials, which start from nothing.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import number_of
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.removal import remove_credential
    from st_pipeline.tenants.store import find_tenant

    with open_database() as (settings, engine):
        with transaction(engine, f"find tenant {tenant}") as connection:
            found = find_tenant(connection, tenant)
        if not yes:
            _ask(found, keep_data=keep_data)
        remove_credential(
            engine,
            found,
            keep_data=keep_data,
            lease_seconds=settings.lease_seconds,
            wait_seconds=settings.lease_wait_seconds,
            report=lambda said: click.echo(said, err=True),
        )
        _say(as_json, f"tenant {tenant} removed (credential {found.credential_id})")
        if keep_data or no_wait:
            rows = "kept" if keep_data else "waiting"
            command = "st-pipeline credentials purge" + (f" {found.credential_id}" if keep_data else "")
            _say(as_json, f"its rows are still stored: `{command}` deletes them")
            _report(as_json, {"tenant": tenant, "credential_id": found.credential_id, "rows": rows, "rows_deleted": 0})
            return
        done = _purge(engine, found.credential_id)
    _say(as_json, f"{number_of(done.rows_deleted, 'row')} deleted")
    _report(as_json, {"tenant": tenant, "credential_id": found.credential_id, "rows": "deleted",
                      "rows_deleted": done.rows_deleted})  # fmt: skip


def _ask(tenant: "Tenant", *, keep_data: bool) -> None:
    """Have the tenant's name typed. Raises ConfigurationError without a terminal, Abort on any other answer."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"removing {tenant.partition_key} must be confirmed, and there is no terminal: repeat it with --yes"
        )
    rows = "Its rows stay." if keep_data else "Its rows are deleted, from all tables and both streams."
    click.echo(
        f"This removes tenant {tenant.partition_key} ({tenant.company_name}, ServiceTitan tenant {tenant.tenant_id}) "
        f"with its keys, sync logs, cursors and rejects. {rows} This cannot be undone.",
        err=True,
    )
    if click.prompt("Type the tenant's name to remove it", err=True, default="", show_default=False) != (
        tenant.partition_key
    ):
        raise click.Abort


@click.command(
    "purge",
    short_help="Delete the rows that removed tenants left.",
    epilog=examples(
        "st-pipeline credentials purge     # what removals left; for example from cron",
        "st-pipeline credentials purge 17  # rows that `remove --keep-data` kept",
    ),
)
@click.argument("credential_id", required=False, type=int)
@click.option("--yes", is_flag=True, help="Do not ask before deleting kept rows.")
@json_option()
def purge(credential_id: int | None, yes: bool, as_json: bool) -> None:
    """Delete the rows of removed credentials: what earlier removals left, and the kept rows of CREDENTIAL_ID.

    Safe to stop and to repeat at any time.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import number_of
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.purge import request_for_kept_rows, waiting

    with open_database() as (_, engine):
        if credential_id is not None:
            if not yes:
                _ask_for_kept(credential_id)
            request_for_kept_rows(engine, credential_id)
        with transaction(engine, "look for rows to purge") as connection:
            left = waiting(connection)
        done = [_purge(engine, one.credential_id) for one in left]
    for one in done:
        _say(as_json, f"credential {one.credential_id} ({one.tenant}): {number_of(one.rows_deleted, 'row')} deleted")
    if not done:
        _say(as_json, "no rows of removed credentials are left")
    _report(as_json, [{"tenant": one.tenant, "credential_id": one.credential_id, "rows": "deleted",
                       "rows_deleted": one.rows_deleted} for one in done])  # fmt: skip


def _ask_for_kept(credential_id: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("deleting kept rows must be confirmed, and there is no terminal: add --yes")
    click.confirm(f"Delete all kept rows of credential {credential_id}?", abort=True, err=True)


def _purge(engine: "Engine", credential_id: int) -> "Purge":
    """Delete the rows, with progress on a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from st_pipeline.cli.terminal import terminal
    from st_pipeline.tenants.purge import purge_rows

    console = terminal(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows deleted, now {task.description}"),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def goes_on(table: str, rows: int) -> bool:
            progress.update(task, description=table, advance=rows)
            return True

        return purge_rows(engine, credential_id, keep_going=goes_on)


def _say(as_json: bool, line: str) -> None:
    click.echo(line, err=as_json)


def _report(as_json: bool, value: Any) -> None:
    from st_pipeline.cli.output import print_json

    if as_json:
        print_json(value)
