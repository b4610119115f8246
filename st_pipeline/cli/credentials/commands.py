"""`st-pipeline credentials`: the credentials with which a company's ServiceTitan data is read.

Here: the group. Not here: its commands, storing and testing credentials (tenants/).
"""

import click

from st_pipeline.cli.credentials.add import add
from st_pipeline.cli.credentials.listing import list_, show
from st_pipeline.cli.credentials.removal import purge, remove
from st_pipeline.cli.credentials.test import test
from st_pipeline.cli.credentials.update import disable, enable, rotate_secret, update
from st_pipeline.cli.help_text import InOrder, examples


@click.group(
    cls=InOrder,
    epilog=examples(
        "st-pipeline credentials add acme --tenant-id 123456789 --client-id cid.abc",
        "st-pipeline credentials test --all",
        "st-pipeline credentials list --expiring 30",
        "st-pipeline credentials rotate-secret acme-plumbing",
    ),
)
def credentials() -> None:
    """Credentials: one for each company and environment.

    TENANT is a company's slug for its production (acme-plumbing), or slug@integration. No command shows a secret, and
    none takes one as an argument.
    """


for command in (add, list_, show, test, update, rotate_secret, disable, enable, remove, purge):
    credentials.add_command(command)
