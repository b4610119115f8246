"""The options by which every command about tenants is told which ones.

Here: the options, their completion in a shell, the Selection made of them. Not here: what a selection means (due.py).
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
                help="A company by its slug, like acme-plumbing; may be repeated.",
            ),
            click.option(
                "--company-id", "intacct_ids", multiple=True, metavar="ID",
                help="A company by its Intacct id, which is column `tenant` of the streams; may be repeated.",
            ),
            click.option(
                "--tenant", "tenants", multiple=True, shell_complete=tenants, metavar="TENANT",
                help="A tenant, like acme-plumbing@integration; may be repeated.",
            ),
            click.option(
                "--credential-id", "credential_ids", multiple=True, type=int, metavar="ID",
                help="A tenant by the number of its credential; may be repeated.",
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def tenants(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Partition keys, for the shell."""
    return _known("partition_key", incomplete)


def companies(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Slugs, for the shell."""
    return _known("company", incomplete)


def entities(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Entities and streams, for the shell."""
    from st_pipeline.sync.data_types import SYNCED

    return [CompletionItem(name) for name in SYNCED if name.startswith(incomplete)]


def _known(column: str, incomplete: str) -> list[CompletionItem]:
    """A shell that asks for names is not told of errors: it then offers none."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.errors import PipelineError
    from st_pipeline.tenants.store import all_tenants

    try:
        with open_database() as (_, engine), engine.connect() as connection:
            names = {getattr(tenant, column): tenant.company_name for tenant in all_tenants(connection)}
    except PipelineError:
        return []
    return [CompletionItem(name, help=of) for name, of in names.items() if name.startswith(incomplete)]
