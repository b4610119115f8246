"""`st-pipeline plan`: the nightly full syncs, before they run and while they do.

Here: the command. Not here: the plan (tenants/, operations/).
"""

from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from st_pipeline.operations.nights import Night
    from st_pipeline.settings import Settings


@click.command("plan", epilog=examples("st-pipeline plan", "st-pipeline plan --limit 500", "st-pipeline plan --json"))
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Tenants to show.")
@json_option(note="; every tenant")
def plan(*, limit: int, as_json: bool) -> None:
    """Show the nightly full syncs: which tenant comes when, how long it is expected to take, how far it is.

    Before the night begins this is what would be planned now. Tenants that an earlier night did not finish come first,
    then the large ones; times are expected from each tenant's last full sync.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations.nights import read_night

    with open_database() as (settings, engine):
        with engine.connect() as connection:
            night = read_night(connection, settings)
        if as_json:
            print_json(night.as_json())
        else:
            _show(night, settings, limit)


def _show(night: "Night", settings: "Settings", limit: int) -> None:
    from st_pipeline.cli.output import number_of, print_table, print_text

    def clock(moment: object) -> str:
        return f"{moment.astimezone(settings.time_zone):%H:%M}"  # type: ignore[attr-defined]

    over = sum(row.state == "done" for row in night.rows)
    print_text(
        f"night of {night.night}, {'planned' if night.is_made else 'to be planned'} from {clock(night.begins_at)} to "
        f"about {clock(night.ends_at)} ({settings.time_zone.key}): {number_of(len(night.rows), 'tenant')} with "
        f"{number_of(night.workers, 'worker')}" + (f", {over} done" if night.is_made else "")
    )
    columns = ("tenant", "starts", "expected", "took", "state")
    shown = [
        (row.tenant, clock(row.starts_at), _duration(row.expected_seconds), _duration(row.took_seconds), row.state)
        for row in night.rows[:limit]
    ]
    if shown:
        print_table(columns, shown)
    if len(night.rows) > limit:
        print_text(f"and {number_of(len(night.rows) - limit, 'tenant')} more; --limit shows them")


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - as people say it
