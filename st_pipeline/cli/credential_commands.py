"""`st-pipeline credentials`: the keys with which a company's ServiceTitan data is read.

Here: the commands. Not here: where secrets come from (secret_sources.py), storing (credentials/registration.py), asking
ServiceTitan (credentials/diagnosis.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import ENVIRONMENTS, Environment

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from st_pipeline.credentials.diagnosis import Diagnosis
    from st_pipeline.credentials.registration import NewCredential
    from st_pipeline.credentials.store import Tenant
    from st_pipeline.settings import Settings

PATH = click.Path(path_type=Path)


@click.group()
def credentials() -> None:
    """Credentials: one per company and environment."""


@credentials.command("add")
@click.argument("company")
@click.option("--environment", "-e", type=click.Choice(ENVIRONMENTS), default="production", show_default=True)
@click.option("--tenant-id", type=int, help="The number in ServiceTitan's API paths.")
@click.option("--client-id", help="`cid.…`; belongs to this tenant in this environment.")
@click.option("--client-secret-file", type=PATH, help="File that holds the secret alone.")
@click.option("--client-secret-env", metavar="VARIABLE", help="Variable that holds the secret.")
@click.option("--client-secret-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--app-key-file", type=PATH, help="File that holds the app key, where it is not the settings'.")
@click.option("--app-key-env", metavar="VARIABLE", help="Variable that holds the app key.")
@click.option("--file", type=PATH, help="JSON instead: tenant_id, client_id, client_secret, perhaps app_key.")
@click.option("--replace", is_flag=True, help="Put these values in the place of others.")
@click.option("--test/--no-test", default=True, show_default=True, help="Ask ServiceTitan whether they work.")
def add(company: str, environment: Environment, replace: bool, test: bool, **sources: Any) -> int:
    """Store COMPANY's credentials for one environment, encrypted.

    The client secret comes from a file, a variable, standard input or a hidden prompt, never from an argument: those
    stand in the process list. Safe to repeat: the same values again change nothing.
    """
    from st_pipeline.cli.session import open_database
    from st_pipeline.credentials.companies import check_slug

    check_slug(company)
    new = _read(company, environment, **sources)
    with open_database() as (settings, engine):
        outcome = _store(engine, settings, new, replace=replace)
        click.echo(f"tenant {new.partition_key}: credentials {outcome} (ServiceTitan tenant {new.tenant_id})")
        if not test:
            click.echo(f"not tested yet: `st-pipeline credentials test {new.partition_key}`")
            return 0
        return _test(new.partition_key, settings, engine, as_json=False)


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
    from st_pipeline.cli.secret_sources import entered_secret, given_secret, warn_of_readers
    from st_pipeline.credentials.registration import NewCredential
    from st_pipeline.credentials.secret_text import clean_secret, read_credential_file

    singly = (tenant_id, client_id, client_secret_file, client_secret_env, app_key_file, app_key_env)
    if file is not None:
        if client_secret_stdin or any(value is not None for value in singly):
            raise ConfigurationError("--file holds everything: leave out --tenant-id and the options for keys")
        warn_of_readers(file, str(file))
        held = read_credential_file(file)
        return NewCredential(company, environment, held.tenant_id, held.client_id, held.client_secret, held.app_key)
    if tenant_id is None or client_id is None:
        raise ConfigurationError("--tenant-id and --client-id are needed, or --file with everything")
    if client_secret_stdin and (client_secret_file is not None or client_secret_env is not None):
        raise ConfigurationError("two sources for the client secret: give one of --client-secret-file, -env and -stdin")
    app_key = given_secret("app key", "app-key", app_key_file, app_key_env)
    secret = given_secret("client secret", "client-secret", client_secret_file, client_secret_env)
    return NewCredential(
        company,
        environment,
        tenant_id,
        clean_secret("client id", client_id)[0],
        secret if secret is not None else entered_secret("client secret"),
        app_key,
    )


def _store(engine: "Engine", settings: "Settings", new: "NewCredential", *, replace: bool) -> str:
    """Returns added, unchanged or replaced; a refusal leaves a row in the audit trail too."""
    from st_pipeline.credentials.audit import Plain, record
    from st_pipeline.credentials.registration import add_credential
    from st_pipeline.credentials.vault import Vault
    from st_pipeline.postgres.database import transaction

    doing = f"add the credentials of tenant {new.partition_key}"
    facts: dict[str, Plain] = {
        "servicetitan_tenant_id": new.tenant_id,
        "own_app_key": new.app_key is not None,
        "replace": replace,
    }
    vault = Vault.from_settings(settings)
    try:
        with transaction(engine, doing) as connection:
            outcome, credential_id = add_credential(connection, vault, new, replace=replace)
            details = {**facts, "outcome": outcome}
            record(connection, "credentials.add", tenant=new.partition_key, credential_id=credential_id,
                   result="done", details=details)  # fmt: skip
    except ConfigurationError as error:
        with transaction(engine, doing) as connection:
            details = {**facts, "reason": str(error)}
            record(connection, "credentials.add", tenant=new.partition_key, credential_id=None,
                   result="refused", details=details)  # fmt: skip
        raise
    return outcome


@credentials.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_(as_json: bool) -> None:
    """Show all tenants with the state of their connection. Never a secret."""
    from st_pipeline.cli.session import open_database
    from st_pipeline.cli.tables import print_json, print_table, print_text
    from st_pipeline.credentials.store import all_tenants
    from st_pipeline.postgres.database import transaction

    with open_database() as (settings, engine), transaction(engine, "list the credentials") as connection:
        found = all_tenants(connection)
        client_ids = _masked_client_ids(connection, settings, found) if found else {}
    if as_json:
        print_json([_as_dict(tenant, client_ids[tenant.credential_id]) for tenant in found])
    elif found:
        rows = ((t, client_ids[t.credential_id] or "does not open") for t in found)
        print_table(
            ("tenant", "tenant id", "client id", "status", "synced (UTC)"),
            ((t.partition_key, str(t.tenant_id), client_id, _state(t), t.last_sync_at) for t, client_id in rows),
        )
        for tenant in found:
            if tenant.connection_message:
                print_text(f"{tenant.partition_key}: {tenant.connection_message}")
    else:
        click.echo("no credentials yet: add some with `st-pipeline credentials add`")


def _state(tenant: "Tenant") -> str:
    return tenant.connection_status if tenant.enabled else "disabled"


def _masked_client_ids(
    connection: "Connection", settings: "Settings", tenants: "list[Tenant]"
) -> dict[int, str | None]:
    """By credential id; None where the stored value does not open."""
    from st_pipeline.credentials.secret_text import mask
    from st_pipeline.credentials.store import encrypted_client_ids
    from st_pipeline.credentials.vault import Vault

    vault = Vault.from_settings(settings)
    values = encrypted_client_ids(connection)
    masked: dict[int, str | None] = {}
    for tenant in tenants:
        try:
            opened = vault.decrypt(tenant.partition_key, "client_id", values[tenant.credential_id])
            masked[tenant.credential_id] = mask(opened)
        except ConfigurationError:
            masked[tenant.credential_id] = None
    return masked


def _as_dict(tenant: "Tenant", client_id: str | None) -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(tenant)
    return {"tenant": values.pop("partition_key"), **values, "client_id": client_id}


@credentials.command("test")
@click.argument("tenant")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def test(tenant: str, as_json: bool) -> int:
    """Ask ServiceTitan what TENANT's credentials may read, and say what is wrong.

    TENANT is a company's slug, or slug@integration. Exit code 1 unless every entity can be read.
    """
    from st_pipeline.cli.session import open_database

    with open_database() as (settings, engine):
        return _test(tenant, settings, engine, as_json=as_json)


def _test(tenant: str, settings: "Settings", engine: "Engine", *, as_json: bool) -> int:
    from st_pipeline.cli.tables import print_json
    from st_pipeline.credentials.diagnosis import test_credentials

    diagnosis = test_credentials(tenant, settings=settings, engine=engine)
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        _print_diagnosis(diagnosis)
    return 0 if diagnosis.complete else 1


def _print_diagnosis(diagnosis: "Diagnosis") -> None:
    from st_pipeline.cli.tables import print_table, print_text

    print_table(
        ("entity", "scope", "readable", "rows", "status"),
        ((e.entity, e.scope, e.granted, e.rows, e.status) for e in diagnosis.entities),
    )
    state = "connected" if diagnosis.connected else "NOT connected"
    print_text(f"{diagnosis.tenant}: {state}. {diagnosis.message}.")
