"""`st-pipeline audit`: who did what to which company or credential.

Here: the command, and times as people write them. Not here: writing the trail (tenants/).
"""

import re
import textwrap
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from st_pipeline.tenants.audit import TrailRow

AGO = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def read_moment(_ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """A callback: 2027-01-31, 2027-01-31T08:00, or how long ago (30m, 12h, 7d); without a zone it is UTC."""
    if value is None:
        return None
    try:
        if ago := AGO.fullmatch(value):
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        message = "write a date or time (UTC) like 2027-01-31T08:00, or 30m, 12h, 7d"
        raise click.BadParameter(message, param=param) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@click.group()
def audit() -> None:
    """The audit trail: changes, tests, syncs and refusals. Rows are added, never changed."""


@audit.command(
    "list",
    short_help="Show who did what, when, to which tenant.",
    epilog=examples(
        "st-pipeline audit list --since 7d",
        "st-pipeline audit list --tenant acme-plumbing --action credentials",
        "st-pipeline audit list --action credentials.rotate_secret --json",
    ),
)
@click.option("--tenant", help="Only rows of this tenant, which may have been removed.")
@click.option("--action", help="Only this action (credentials.add), or all of a kind (credentials).")
@click.option(
    "--since", callback=read_moment, metavar="WHEN", help="2027-01-31, 2027-01-31T08:00 (UTC), 30m, 12h or 7d ago."
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Rows to show, the newest.")
@json_option()
def list_(tenant: str | None, action: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """Show who did what, when, to which tenant, from which machine, and with what result: the newest first.

    "Who" is the user of the operating system, for scheduled syncs the daemon's user. Times are UTC.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import trail

    with open_database() as (_, engine), transaction(engine, "read the audit trail") as connection:
        rows = trail(connection, tenant=tenant, action=action, since=since, limit=limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    if as_json:
        print_json([asdict(row) for row in rows])
    elif rows:
        _print_rows(rows)
    else:
        click.echo("no row of the audit trail matches")
    if more:
        click.echo(f"the newest {limit} rows; --limit shows more", err=True)


def _print_rows(rows: "list[TrailRow]") -> None:
    """A line for each row, with its details below: beside it they would not fit into 80 columns."""
    from st_pipeline.cli.output import shown
    from st_pipeline.cli.terminal import say, terminal

    wide = terminal().width
    for row in rows:
        who = f"{row.actor}@{row.origin}"
        say(f"{shown(row.at)}  {row.result:<7}  {row.action}" + (f"  {row.tenant}" if row.tenant else ""))
        told = {name: value for name, value in row.details.items() if value is not None}
        details = "; ".join([f"by {who}", *(f"{name.replace('_', ' ')}: {_word(v)}" for name, v in told.items())])
        say(textwrap.fill(details, wide, initial_indent=" " * 18, subsequent_indent=" " * 18))


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
