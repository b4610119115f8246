"""`st-pipeline tenants schedule`: when a tenant is polled, and what of it.

Here: the command, and reading its options. Not here: what a schedule means (tenants/), pausing (commands.py).
"""

from datetime import time
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.selection_options import entities as entity_names
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.cli.tenants.commands import change_schedules, tenants
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.postgres.tenant_schedules import TenantSchedule

DEFAULT_WORD, NONE_WORD = "default", "none"
NIGHTLY = {"yes": True, "no": False, DEFAULT_WORD: None}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_MINUTES = 7 * 24 * 60


@tenants.command(
    short_help="Set when TENANT is polled, and what of it.",
    epilog=examples(
        "st-pipeline tenants schedule acme-plumbing --every 60                  polled once an hour",
        "st-pipeline tenants schedule acme-plumbing --cron '0 6-20 * * *'        at each full hour of the day",
        "st-pipeline tenants schedule acme-plumbing --skip-days sat,sun --skip-holidays US-TX",
        "st-pipeline tenants schedule acme-plumbing --skip-hours 22:00-05:30",
        "st-pipeline tenants schedule acme-plumbing --entity-off estimates      no longer synced by schedules",
        "st-pipeline tenants schedule acme-plumbing --every default --nightly-full default --skip-days none",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="TENANT...", shell_complete=tenant_keys)
@click.option("--every", metavar="MINUTES|default",
              help="Poll it once in so many minutes, counted from midnight UTC; default: every tick.")  # fmt: skip
@click.option("--cron", metavar="EXPRESSION|default", help="Poll it at these times instead; default: every tick.")
@click.option("--skip-days", metavar="DAYS|none", help="Days of the week without polls, like sat,sun.")
@click.option("--skip-hours", metavar="FROM-UNTIL|none", help="Hours without polls, like 22:00-05:30.")
@click.option("--skip-holidays", metavar="PLACE|none", help="Public holidays without polls: of US, or of US-TX.")
@click.option("--nightly-full", type=click.Choice(list(NIGHTLY)), help="Whether it gets the nightly full sync.")
@click.option("--entity-off", "off", multiple=True, metavar="NAME", shell_complete=entity_names,
              help="Schedules no longer sync this entity for it; may be repeated.")  # fmt: skip
@click.option("--entity-on", "on", multiple=True, metavar="NAME", shell_complete=entity_names,
              help="They sync it again; may be repeated.")  # fmt: skip
def schedule(*, names: tuple[str, ...], off: tuple[str, ...], on: tuple[str, ...], **times: str | None) -> None:
    """Poll TENANT at other times than the rest, omit its nightly full sync, or leave out some of its entities.

    It is never polled more often than the schedule ticks (ST_PIPELINE_INCREMENTAL_CRON). Times, days and holidays are
    those of ST_PIPELINE_TIME_ZONE. The change holds from the next tick on, without a restart.
    """
    changes = _changes(**times)
    _check_entities(off, on)
    if not (changes or off or on):
        raise ConfigurationError("nothing to change: give --every, --nightly-full or another option, see --help")

    def change(before: "TenantSchedule") -> dict[str, Any]:
        if not (off or on):
            return changes
        return changes | {"entities_off": sorted({*(before.entities_off or ()), *off} - {*on}) or None}

    change_schedules(names, "schedule", change)
    if changes.get("poll_minutes") is not None:
        _note_ticks(changes["poll_minutes"])


def _note_ticks(minutes: int) -> None:
    """Say when an interval is not one of the schedule's own: then its polls wait for the next tick."""
    from datetime import UTC, datetime

    from st_pipeline.settings import load_settings
    from st_pipeline.tenants.schedule import Grid

    settings = load_settings()
    grid = Grid.of(settings)
    tick = grid.after(datetime.now(UTC))
    between = (grid.after(tick) - tick).total_seconds() / 60
    if minutes % between:
        click.echo(
            f"Note: polls begin at ticks of {settings.incremental_cron}, {between:g} minutes apart; with --every "
            f"{minutes} each waits for the first tick after its time",
            err=True,
        )


def _changes(
    *,
    every: str | None,
    cron: str | None,
    skip_days: str | None,
    skip_hours: str | None,
    skip_holidays: str | None,
    nightly_full: str | None,
) -> dict[str, Any]:
    """The options as columns of tenant_schedules. Raises ConfigurationError."""
    from st_pipeline.tenants.schedule import checked_cron, checked_holidays

    changes: dict[str, Any] = {}
    if every is not None and cron is not None and DEFAULT_WORD not in (every, cron):
        raise ConfigurationError("--every and --cron contradict each other: give one of them")
    if every is not None or cron is not None:
        minutes = DEFAULT_WORD if every is None else every
        expression = None if cron in (None, DEFAULT_WORD) else checked_cron(str(cron), "--cron")
        changes |= {"poll_minutes": _minutes(minutes), "poll_cron": expression}
    if skip_days is not None:
        changes["skip_days"] = _days(skip_days)
    if skip_hours is not None:
        changes["skip_from"], changes["skip_until"] = _hours(skip_hours)
    if skip_holidays is not None:
        changes["skip_holidays"] = None if skip_holidays == NONE_WORD else checked_holidays(skip_holidays)
    if nightly_full is not None:
        changes["nightly_full"] = NIGHTLY[nightly_full]
    return changes


def _minutes(written: str) -> int | None:
    """A whole number of minutes up to a week; None for the default. Raises ConfigurationError."""
    if written == DEFAULT_WORD:
        return None
    if not (written.isascii() and written.isdigit()) or not 0 < int(written[:6]) <= LONGEST_MINUTES:
        raise ConfigurationError(f"--every {written}: write whole minutes from 1 to 10080, or {DEFAULT_WORD}")
    return int(written)


def _days(written: str) -> list[int] | None:
    if written == NONE_WORD:
        return None
    named = [name.strip().lower() for name in written.split(",")]
    if not set(named) <= set(DAYS):
        raise ConfigurationError(f"--skip-days {written}: write some of {','.join(DAYS)}, or {NONE_WORD}")
    return sorted({DAYS.index(name) + 1 for name in named})


def _hours(written: str) -> tuple[time | None, time | None]:
    if written == NONE_WORD:
        return None, None
    try:
        begins, ends = (_time(part.strip()) for part in written.split("-"))
    except ValueError:
        begins = ends = time()
    if begins == ends or begins.tzinfo or ends.tzinfo:
        raise ConfigurationError(f"--skip-hours {written}: write two times, like 22:00-05:30, or {NONE_WORD}")
    return begins, ends


def _time(written: str) -> time:
    """Raises ValueError."""
    return time.fromisoformat(written.zfill(5 if ":" in written else 2))


def _check_entities(off: tuple[str, ...], on: tuple[str, ...]) -> None:
    from st_pipeline.suggestions import unknown_name
    from st_pipeline.sync.data_types import SYNCED

    for name in (*off, *on):
        if name not in SYNCED:
            raise ConfigurationError(unknown_name("entity", name, SYNCED))
    if set(off) & set(on):
        raise ConfigurationError(f"--entity-off and --entity-on contradict each other: {', '.join(set(off) & set(on))}")
