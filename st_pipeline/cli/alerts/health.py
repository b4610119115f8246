"""`st-pipeline health`: is the platform itself well? For a watcher from outside.

Here: the command. Not here: the questions (alerts/health.py).
"""

import os
from dataclasses import asdict
from datetime import UTC, datetime

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option


@click.command(
    short_help="Is the platform itself well? For a watcher from outside.",
    epilog=examples("st-pipeline health", "st-pipeline health --json"),
)
@json_option()
def health(*, as_json: bool) -> int:
    """Ask the database, Dagster's daemon, polls, the last night, disks and alerts. Exit code 1 if one is wrong.

    Single tenants' problems are not asked for: alerts tell of those.
    """
    from st_pipeline.alerts.health import examine
    from st_pipeline.cli.output import print_json
    from st_pipeline.cli.terminal import say
    from st_pipeline.settings import load_settings

    answers = examine(load_settings(), os.environ, datetime.now(UTC))
    is_well = all(one.state != "wrong" for one in answers)
    if as_json:
        print_json({"well": is_well, "answers": [asdict(one) for one in answers]})
    else:
        for one in answers:
            say(f"{one.state:7}  {one.question}: {one.finding}")
    return 0 if is_well else 1
