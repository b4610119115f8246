"""`st-pipeline credentials add`: a company's credentials for one environment, stored and tested.

Here: the command. Not here: where secrets come from, storing them (tenants/).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import ENVIRONMENTS, Environment

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from st_pipeline.settings import Settings
    from st_pipeline.tenants.registration import NewCredential

PATH = click.Path(path_type=Path)


@click.command(
    "add",
    epilog=examples(
        "st-pipeline credentials add acme --tenant-id 123456789 --client-id cid.abc",
        "st-pipeline credentials add acme --file acme.json",
        "pass acme/secret | st-pipeline credentials add acme -e integration \\",
        "    --tenant-id 987654321 --client-id cid.def --client-secret-stdin",
    ),
)
@click.argument("company")
@click.option("--environment", "-e", type=click.Choice(ENVIRONMENTS), default="production", show_default=True)
@click.option("--tenant-id", type=int, help="The number in ServiceTitan's API paths.")
@click.option("--client-id", help="`cid.…`; belongs to this tenant in this environment.")
@click.option("--client-secret-file", type=PATH, help="File that contains only the secret.")
@click.option("--client-secret-env", metavar="VARIABLE", help="Environment variable with the secret.")
@click.option("--client-secret-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--app-key-file", type=PATH, help="File with an app key of its own, instead of the settings' app key.")
@click.option("--app-key-env", metavar="VARIABLE", help="Environment variable with an app key of its own.")
@click.option("--file", type=PATH, help="JSON file with tenant_id, client_id, client_secret and optionally app_key.")
@click.option("--replace", is_flag=True, help="Replace the stored credentials.")
@click.option("--test/--no-test", default=True, show_default=True, help="Ask ServiceTitan whether they work.")
def add(company: str, environment: Environment, replace: bool, test: bool, **sources: Any) -> int:
    """Store COMPANY's credentials for one environment, encrypted.

    The client secret comes from a file, a variable, standard input or a hidden prompt, never from an argument: the
    process list shows those. Safe to repeat: the same values change nothing.
    """
    from st_pipeline.cli.credentials.test import test_one
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.tenants.companies import check_slug

    check_slug(company)
    new = _read(company, environment, **sources)
    with open_database() as (settings, engine):
        outcome = _store(engine, settings, new, replace=replace)
        click.echo(f"tenant {new.partition_key}: credentials {outcome} (ServiceTitan tenant {new.tenant_id})")
        if not test:
            click.echo(f"not tested yet: `st-pipeline credentials test {new.partition_key}`")
            return 0
        return test_one(new.partition_key, settings, engine, as_json=False)


def _read(
    company: str,
    environment: Environment,
    *,
    file: Path | None,
    tenant_id: int | None,
    client_id: str | None,
    client_secret_file: Path | None,
    client_secret_env: str | None,
    client_secret_stdin: bool,
    app_key_file: Path | None,
    app_key_env: str | None,
) -> "NewCredential":
    """Read and check every source before the database is asked. Raises ConfigurationError."""
    from st_pipeline.cli.credentials.secret_sources import given_secret, required_secret, warn_of_readers
    from st_pipeline.tenants.registration import NewCredential
    from st_pipeline.tenants.secret_text import clean_secret, read_credential_file

    singly = (tenant_id, client_id, client_secret_file, client_secret_env, app_key_file, app_key_env)
    if file is not None:
        if client_secret_stdin or any(value is not None for value in singly):
            raise ConfigurationError("--file contains everything: omit --tenant-id and the options for keys")
        warn_of_readers(file, str(file))
        held = read_credential_file(file)
        return NewCredential(company, environment, held.tenant_id, held.client_id, held.client_secret, held.app_key)
    if tenant_id is None or client_id is None:
        raise ConfigurationError("give --tenant-id and --client-id, or --file with everything")
    app_key = given_secret("app key", "app-key", app_key_file, app_key_env)
    client = clean_secret("client id", client_id)[0]
    secret = required_secret(client_secret_file, client_secret_env, from_stdin=client_secret_stdin)
    return NewCredential(company, environment, tenant_id, client, secret, app_key)


def _store(engine: "Engine", settings: "Settings", new: "NewCredential", *, replace: bool) -> str:
    """Returns added, unchanged or replaced; a refusal leaves a row in the audit trail too."""
    from st_pipeline.tenants.audit import Entry, audited
    from st_pipeline.tenants.registration import add_credential
    from st_pipeline.vault.encryption import Vault

    details = {"servicetitan_tenant_id": new.tenant_id, "own_app_key": new.app_key is not None, "replace": replace}
    entry = Entry("credentials.add", new.partition_key, details={**details})
    vault = Vault.from_settings(settings)
    with audited(engine, f"add the credentials of tenant {new.partition_key}", entry) as connection:
        outcome, entry.credential_id = add_credential(connection, vault, new, replace=replace)
        entry.details["outcome"] = outcome
    return outcome
