"""`st-pipeline checks`: list, show, run, acknowledge, set thresholds.

Here: the commands. Not here: the questions (operations/checks.py), how verdicts are printed (verdicts.py).
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import entities as entity_names
from st_pipeline.cli.selection_options import selection_options
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.tenants.selection import Selection

LONGEST_ACKNOWLEDGEMENT_DAYS = 3650


def check_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes checks."""
    from st_pipeline.checks.registry import BY_NAME

    return [CompletionItem(name, help=one.description) for name, one in BY_NAME.items() if name.startswith(incomplete)]


@click.group(cls=InOrder, short_help="Checks of each tenant's data: what fails, and since when.")
def checks() -> None:
    """Checks of each tenant's data: what fails and since when, what each check is, acknowledging, thresholds.

    Exit code 1: a check of severity error fails, and nobody has acknowledged that.
    """


only_checks = click.option("--check", "names", multiple=True, shell_complete=check_names, metavar="CHECK",
                           help="Only this check; may be repeated.")  # fmt: skip


@checks.command(
    "list",
    epilog=examples(
        "st-pipeline checks list",
        "st-pipeline checks list acme-plumbing --all",
        "st-pipeline checks list --check freshness --json",
    ),
)
@click.argument("named", nargs=-1, metavar="[TENANT]...", shell_complete=tenant_keys)
@selection_options
@only_checks
@click.option("--all", "everything", is_flag=True, help="Also those that passed or cannot be checked.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True,
              help="Verdicts to show, without --json; what needs somebody comes first.")  # fmt: skip
@json_option()
def list_(
    *,
    named: tuple[str, ...],
    names: tuple[str, ...],
    everything: bool,
    limit: int,
    as_json: bool,
    **selected: Any,
) -> int:
    """Show the checks that fail, each with its figures and since when."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.operations import checks
    from st_pipeline.postgres.database import transaction

    with open_database() as (settings, engine), transaction(engine, "list the checks") as connection:
        found = checks.listed(connection, settings, _selection(named, selected), names, status=None)
    shown = found if everything else [one for one in found if one.status == "failed"]
    return _told(found, shown, limit, as_json=as_json)


@checks.command(
    short_help="Explain CHECK: thresholds, and who fails it.",
    epilog=examples(
        "st-pipeline checks show",
        "st-pipeline checks show freshness",
        "st-pipeline checks show freshness --tenant acme-plumbing",
    ),
)
@click.argument("check", required=False, shell_complete=check_names)
@click.option("--tenant", shell_complete=tenant_keys, metavar="TENANT",
              help="Also this tenant's verdicts, their history and its thresholds.")  # fmt: skip
@json_option()
def show(*, check: str | None, tenant: str | None, as_json: bool) -> None:
    """Show what CHECK says and does, its thresholds, and who fails it; without CHECK, all checks."""
    from st_pipeline.cli.checks.verdicts import print_check, print_checks
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations import checks
    from st_pipeline.postgres.database import transaction

    if check is None and tenant is not None:
        raise ConfigurationError("--tenant needs a check: `st-pipeline checks list TENANT --all` shows all of them")
    with open_database() as (settings, engine), transaction(engine, "read the checks") as connection:
        if check is None:
            every = checks.described(connection, settings)
            (print_json if as_json else print_checks)(every)
        else:
            one = checks.shown(connection, settings, check, tenant)
            (print_json if as_json else print_check)(one)


@checks.command(
    short_help="Evaluate checks now.",
    epilog=examples(
        "st-pipeline checks run acme-plumbing",
        "st-pipeline checks run --check completeness --check money -c acme-plumbing",
    ),
)
@click.argument("named", nargs=-1, metavar="[TENANT]...", shell_complete=tenant_keys)
@selection_options
@only_checks
@json_option()
def run(*, named: tuple[str, ...], names: tuple[str, ...], as_json: bool, **selected: Any) -> int:
    """Evaluate checks now, of all tenants or those that you name, and show what fails.

    Dagster shows the new verdicts after the tenant's next sync.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.operations import checks

    with open_database() as (settings, engine):
        batches = checks.evaluated(engine, settings, _selection(named, selected), names, datetime.now(UTC))
        found = [verdict for batch in batches for verdict in batch]
    return _told(found, [one for one in found if one.status == "failed"], None, as_json=as_json)


def _selection(named: tuple[str, ...], selected: dict[str, Any]) -> "Selection":
    from st_pipeline.tenants.selection import Selection

    return Selection(**{**selected, "tenants": (*selected["tenants"], *named)})


def _told(found: list[Any], shown: list[Any], limit: int | None, *, as_json: bool) -> int:
    from st_pipeline.cli.checks.verdicts import print_verdicts
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.operations import checks

    if as_json:
        print_json([checks.as_json(one) for one in shown])
    else:
        print_verdicts(shown, limit)
        if limit is not None and len(shown) > limit:
            print_text(f"{limit:,} of {len(shown):,}; --limit shows more")
        print_text(checks.summary(found) if found else "nothing was checked yet")
    return int(any(checks.needs_somebody(one) for one in found))


@checks.command(
    short_help="Acknowledge that CHECK fails for TENANT.",
    epilog=examples(
        'st-pipeline checks ack acme-plumbing freshness --because "they move to a new account"',
        'st-pipeline checks ack acme-plumbing money --asset invoices --days 7 --because "asked their bookkeeper"',
    ),
)
@click.argument("tenant", shell_complete=tenant_keys)
@click.argument("check", shell_complete=check_names)
@click.option("--asset", shell_complete=entity_names, metavar="NAME", help="Only on this entity or stream.")
@click.option("--because", required=True, metavar="TEXT", help="Why it may fail; shown wherever the check is.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True, max=LONGEST_ACKNOWLEDGEMENT_DAYS), metavar="N",
              help="Until so many days have passed; otherwise until it recovers.")  # fmt: skip
def ack(*, tenant: str, check: str, asset: str | None, because: str, days: float | None) -> None:
    """Acknowledge that CHECK fails for TENANT: until it recovers or becomes worse, it counts in no exit code or alert.

    Drift that is acknowledged stays so: the check passes, and fails again when something further differs.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.terminal import say
    from st_pipeline.operations import checks

    if not because.strip() or not because.isprintable():
        raise ConfigurationError("--because is empty or has characters that cannot be printed: write it as plain text")
    until = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_database() as (settings, engine):
        done = checks.acknowledge(engine, settings, tenant, check, asset=asset, because=because, until=until)
    for one in done:
        on = "" if one.asset == "tenant" else f" on {one.asset}"
        say(f"{one.tenant}: {one.check}{on} {'is acknowledged' if one.status == 'failed' else 'passes from now on'}")


@checks.command(
    "set",
    short_help="Set a threshold of TENANT.",
    epilog=examples(
        "st-pipeline checks set acme-plumbing freshness.late_minutes 120",
        "st-pipeline checks set acme-plumbing invoices.rejected.share 0.05",
        "st-pipeline checks set acme-plumbing freshness.late_minutes default",
    ),
)
@click.argument("tenant", shell_complete=tenant_keys)
@click.argument("name")
@click.argument("value")
def set_(*, tenant: str, name: str, value: str) -> None:
    """Set threshold NAME of TENANT to VALUE, a number, or to `default`: the value that holds for all.

    NAME is CHECK.THRESHOLD or ENTITY.CHECK.THRESHOLD, as `st-pipeline checks show` lists them.
    ST_PIPELINE_CHECK_THRESHOLDS sets them for all tenants.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.terminal import say
    from st_pipeline.operations import checks

    try:
        number = None if value == "default" else float(value)
    except ValueError:
        raise ConfigurationError(f"{name}: {value!r} is not a number; 2 % is 0.02") from None
    with open_database() as (settings, engine):
        holds = checks.set_threshold(engine, settings, tenant, name, number)
    say(f"tenant {tenant}: {name} is {holds:g}")
