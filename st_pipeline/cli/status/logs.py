"""`st-pipeline logs`: one sync in detail.

Here: the command and its output. Not here: the queries (operations/).
"""

from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@click.command(
    short_help="Show one sync in detail.",
    epilog=examples(
        "st-pipeline logs 4711",
        "st-pipeline logs 3f0c9b1e-5f0e-4c0c-9e56-6f1f5a2f7c11      a sync's or a Dagster run's id",
    ),
)
@click.argument("sync")
@json_option()
def logs(sync: str, as_json: bool) -> None:
    """Show SYNC in detail: what was asked for, what it did for each entity, what went wrong.

    SYNC is the id that `st-pipeline sync-status` shows, or the id of a sync or a Dagster run, which may cover several
    tenants.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.cli.sync.run_backend import dagster_address
    from st_pipeline.operations.history import entities_of, find_syncs
    from st_pipeline.postgres.database import transaction
    from st_pipeline.settings import variable_name

    with open_database() as (settings, engine), transaction(engine, f"read the log of sync {sync}") as connection:
        found = find_syncs(connection, sync)
        for one in found:
            one["entities"] = entities_of(connection, one["id"])
            run_id = one["dagster_run_id"]
            one["dagster_run"] = None if run_id is None else f"{dagster_address(settings)}/runs/{run_id}"
    if not found:
        raise ConfigurationError(
            f"there is no sync {sync!r} in the log: `st-pipeline sync-status` shows the last ones; older ones are "
            f"deleted ({variable_name('sync_log_days')})"
        )
    if as_json:
        print_json(found)
        return
    from st_pipeline.cli.terminal import terminal

    console = terminal()
    for one in found:
        _print_sync(console, one)


def _print_sync(console: "Console", sync: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from st_pipeline.cli.status.table import STYLES

    title = Text(f"sync {sync['id']} of {sync['tenant']}: ", style="bold")
    console.print(title.append(sync["status"], style=STYLES[sync["status"]]))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(sync).items():
        if value:
            table.add_row(name, Text(value))
    console.print(table)
    if sync["entities"]:
        console.print()
        console.print(_entities_table(sync["entities"]))
    for line in _remarks(sync):
        console.print(Text(line))
    console.print()


def _facts(sync: dict[str, Any]) -> dict[str, str]:
    from st_pipeline.cli.output import shown

    api = sync["details"].get("api", {})
    written = ", ".join(f"{sync[f'records_{n}']:,} {n}" for n in ("created", "updated", "unchanged", "deleted"))
    ended = f" to {shown(sync['completed_at'])}" if sync["completed_at"] else ""
    requests = f"{api['requests']:,}, {api['retries']:,} repeated, p95 {api['p95_ms']:,.0f} ms" if api else ""
    return {
        "asked": f"{sync['sync_type']} {sync['mode']} sync of {sync['data_type']}{_options(sync)}",
        "when (UTC)": f"{shown(sync['started_at'])}{ended}, {sync['seconds']:,.1f} s",
        "records": f"{sync['records_processed']:,}: {written}, {sync['records_failed']:,} rejected",
        "requests": requests,
        "token refreshes": f"{api['token_requests']:,}" if api else "",
        "sync id": sync["sync_id"],
        "Dagster run": sync["dagster_run"] or "none: a program started the sync",
        "reason": sync["message"] or "",
    }


def _options(sync: dict[str, Any]) -> str:
    asked = {name: value for name, value in sync["details"].get("asked", {}).items() if name != "entities"}
    return "".join(f", {name}" if value is True else f", {name} {value}" for name, value in asked.items())


def _entities_table(entities: list[dict[str, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from st_pipeline.cli.output import shown
    from st_pipeline.cli.status.table import STYLES

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("entity", overflow="fold")
    table.add_column("status", no_wrap=True)
    figures = ("processed", "created", "updated", "deleted", "failed")
    for name in ("records", "created", "updated", "deleted", "rejected", "pages", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in entities:
        counts = [shown(one[f"records_{name}"]) for name in figures]
        status = Text(one["status"], style=STYLES[one["status"]])
        table.add_row(Text(one["entity"]), status, *counts, shown(one["pages"]), f"{one['seconds']:.1f}")
    return table


def _remarks(sync: dict[str, Any]) -> list[str]:
    """Failures, notes, warnings and drift, entity by entity."""
    from st_pipeline.cli.output import number_of

    details = sync["details"]
    lines = [f"{one['entity']}: {one['message']}" for one in sync["entities"] if one["message"]]
    lines += [f"{entity}: {note}" for entity, notes in details.get("notes", {}).items() for note in notes]
    for heading in ("warnings", "drift"):
        for entity, counted in details.get(heading, {}).items():
            lines += [f"{entity}: {number_of(count, 'record')}: {what}" for what, count in counted.items()]
    for entity, count in details.get("records_with_nul", {}).items():
        lines.append(f"{entity}: {number_of(count, 'record')} with a NUL character")
    return ["", *lines] if lines else []
