"""`st-pipeline tenants compare`: two intervals side by side, over halves of the tenants.

Here: the command. Not here: dividing the tenants (tenants/schedule.py), gathering the figures (sync/).
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.tenants import schedule as _schedule  # noqa: F401 - adds its command to the group
from st_pipeline.cli.tenants.commands import tenants

if TYPE_CHECKING:
    from st_pipeline.postgres.poll_figures import PollFigures
    from st_pipeline.settings import Settings

COLUMNS = ("half", "polled at", "tenants", "polls", "with news", "requests", "CPU s", "mean age", "oldest")


@tenants.command(epilog=examples("st-pipeline tenants compare", "st-pipeline tenants compare --days 1 --json"))
@click.option("--days", type=click.IntRange(1, 3650), default=7, show_default=True, help="Today and the days before.")
@json_option()
def compare(*, days: int, as_json: bool) -> None:
    """Show what polls cost and how fresh they keep the tables, for each half of the tenants.

    Half of them, always the same, are polled at ST_PIPELINE_SECOND_HALF_CRON once that is set; those with a schedule of
    their own keep it. Requests and CPU seconds are of each poll; the age of the tables is half of the time from one
    complete poll to the next on average, and that time at most.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_table, print_text
    from st_pipeline.postgres import poll_figures
    from st_pipeline.postgres.database import transaction

    first_day = (datetime.now(UTC) - timedelta(days=days - 1)).date()
    with open_database() as (settings, engine), transaction(engine, "read the figures of polls") as connection:
        rows = [_row(settings, half, one) for half, one in poll_figures.since(connection, first_day).items()]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(COLUMNS, [_shown(row) for row in rows])
    else:
        print_text("no poll has ended yet")


def _row(settings: "Settings", half: int, figures: "PollFigures") -> dict[str, Any]:
    from st_pipeline.tenants.schedule import Grid

    return {
        "half": half,
        "cron": Grid.of(settings).of_half(half).cron,
        "tenants": figures.tenants,
        "polls": figures.polls,
        "with_news_share": figures.with_news / figures.polls if figures.polls else None,
        "requests_a_poll": figures.requests / figures.polls if figures.polls else None,
        "cpu_seconds_a_poll": figures.cpu_seconds / figures.polls if figures.polls else None,
        "mean_age_seconds": figures.gap_seconds / figures.gaps / 2 if figures.gaps else None,
        "oldest_seconds": figures.longest_gap_seconds if figures.gaps else None,
    }


def _shown(row: dict[str, Any]) -> list[object]:
    share, requests, cpu = row["with_news_share"], row["requests_a_poll"], row["cpu_seconds_a_poll"]
    mean, oldest = row["mean_age_seconds"], row["oldest_seconds"]
    return [
        row["half"],
        row["cron"],
        row["tenants"],
        row["polls"],
        "" if share is None else f"{share:.1%}",
        "" if requests is None else f"{requests:.1f}",
        "" if cpu is None else f"{cpu:.3f}",
        "" if mean is None else f"{mean / 60:.1f} min",
        "" if oldest is None else f"{oldest / 60:.1f} min",
    ]
