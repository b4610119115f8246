"""The options that say which tenants a command is about.

Here: the options, and their completion in a shell. Not here: what a selection means (tenants/).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def selection_options(command: Command) -> Command:
    """`--environment`, `--company`, `--company-id`, `--tenant`, `--credential-id`."""
    for option in reversed(
        [
            click.option(
                "--environment", "-e", type=click.Choice(["production", "integration"]), help="Only this environment."
            ),
            click.option(
                "--company", "-c", "companies", multiple=True, shell_complete=companies, metavar="SLUG",
                help="Only this company, by its slug, like acme-plumbing; may be repeated.",
            ),
            click.option(
                "--company-id", "intacct_ids", multiple=True, metavar="ID",
                help="Only this company, by its Intacct id (column `tenant` of the streams); may be repeated.",
            ),
            click.option(
                "--tenant", "tenants", multiple=True, shell_complete=tenants, metavar="TENANT",
                help="The same as naming it as TENANT; may be repeated.",
            ),
            click.option(
                "--credential-id", "credential_ids", multiple=True, type=int, metavar="ID",
                help="Only this tenant, by the id of its credential; may be repeated.",
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def tenants(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes partition keys."""
    return _known("partition_key", incomplete)


def companies(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes slugs."""
    return _known("company", incomplete)


def entities(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes entities and streams."""
    from st_pipeline.sync.data_types import SYNCED

    return [CompletionItem(name) for name in SYNCED if name.startswith(incomplete)]


def _known(column: str, incomplete: str) -> list[CompletionItem]:
    """Completes names from the database; on an error none, as a shell cannot show it."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.errors import PipelineError
    from st_pipeline.tenants.store import all_tenants

    try:
        with open_database() as (_, engine), engine.connect() as connection:
            names = {getattr(tenant, column): tenant.company_name for tenant in all_tenants(connection)}
    except PipelineError:
        return []
    return [CompletionItem(name, help=of) for name, of in names.items() if name.startswith(incomplete)]
