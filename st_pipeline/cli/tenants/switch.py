"""`st-pipeline switch`: stop scheduled work for a company, an environment, an entity, or altogether.

Here: the commands. Not here: what a switch does (postgres/switches.py and whoever asks it), one tenant's own schedule.
"""

from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import ENVIRONMENTS

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCOPES = ("everything", "environment", "company", "entity")


@click.group(cls=InOrder, short_help="Stop scheduled work: everything, an environment, a company, an entity.")
def switch() -> None:
    """Stop scheduled work and start it again: for everything, an environment, a company, or an entity.

    Polls, nightly full syncs and first syncs look at the switches whenever they are about to begin with a tenant; what
    is being synced at the moment ends as usual. A person's `st-pipeline sync` of tenants that it names still works.
    """


@switch.command(
    epilog=examples(
        'st-pipeline switch off everything --because "ServiceTitan asked us to"      the emergency stop',
        "st-pipeline switch off environment integration",
        "st-pipeline switch off company acme-plumbing",
        "st-pipeline switch off entity estimates",
    )
)
@click.argument("scope", type=click.Choice(SCOPES))
@click.argument("name", required=False, default="")
@click.option("--because", metavar="TEXT", help="Why; shown wherever work is skipped.")
def off(*, scope: str, name: str, because: str | None) -> None:
    """Switch SCOPE off, from the next claim on."""
    if because is not None and (not because.strip() or not because.isprintable()):
        raise ConfigurationError("--because is empty or has characters that cannot be printed: write it as plain text")
    _turn(scope, name, because, is_on=False)


@switch.command(epilog=examples("st-pipeline switch on everything", "st-pipeline switch on company acme-plumbing"))
@click.argument("scope", type=click.Choice(SCOPES))
@click.argument("name", required=False, default="")
def on(*, scope: str, name: str) -> None:
    """Switch SCOPE on again. What became due meanwhile is done first."""
    _turn(scope, name, None, is_on=True)


@switch.command("list", epilog=examples("st-pipeline switch list --json"))
@json_option()
def list_(*, as_json: bool) -> None:
    """Show what is switched off."""
    from dataclasses import asdict

    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.postgres import switches
    from st_pipeline.postgres.database import transaction

    with open_database() as (_, engine), transaction(engine, "read the switches") as connection:
        found = switches.load(connection).off
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        print_text(f"{one}, since {one.off_since:%Y-%m-%d %H:%M} UTC")
    if not found:
        print_text("nothing is switched off")


def _turn(scope: str, name: str, because: str | None, *, is_on: bool) -> None:
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres import switches
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import Action, record

    word = "on" if is_on else "off"
    with open_database() as (_, engine), transaction(engine, f"switch {scope} {word}") as connection:
        if is_on:
            changed = switches.turn_on(connection, scope, name)  # type: ignore[arg-type]
        else:
            _check(connection, scope, name)
            changed = switches.turn_off(connection, scope, name, because)  # type: ignore[arg-type]
        if changed:
            details = {"scope": scope, "name": name} | ({} if because is None else {"because": because})
            action: Action = "switch.on" if is_on else "switch.off"
            record(connection, action, tenant=None, credential_id=None, result="done", details=details)
    what = scope if scope == "everything" else f"{scope} {name}"
    click.echo(f"{what}: switched {word}" if changed else f"{what}: nothing changed")


def _check(connection: "Connection", scope: str, name: str) -> None:
    """Raise ConfigurationError for an unknown name: its switch would stop nothing."""
    from st_pipeline.suggestions import unknown_name
    from st_pipeline.sync.data_types import SYNCED
    from st_pipeline.tenants.companies import unknown
    from st_pipeline.tenants.store import all_tenants

    if scope == "everything":
        if name:
            raise ConfigurationError(f"everything has no name: omit {name}")
        return
    if not name:
        raise ConfigurationError(f"which {scope}? Write its name: st-pipeline switch off {scope} NAME")
    if scope == "company":
        companies = {tenant.company for tenant in all_tenants(connection)}
        if name not in companies:
            raise ConfigurationError(unknown("company", name, companies, "credentials"))
        return
    known = ENVIRONMENTS if scope == "environment" else tuple(SYNCED)
    if name not in known:
        raise ConfigurationError(unknown_name(scope, name, known))
