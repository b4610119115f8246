"""`st-pipeline credentials update`, `rotate-secret`, `disable` and `enable`: change what is in use.

Here: the commands. Not here: testing new values before they replace working ones (tenants/).
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.errors import AuthError, ConfigurationError, PipelineError, TransientApiError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from st_pipeline.settings import Settings
    from st_pipeline.tenants.store import Tenant

PATH = click.Path(path_type=Path)


def read_day(_ctx: click.Context, param: click.Parameter, value: str | None) -> "date | str | None":
    """A callback: 2027-01-31 as a date, and the word none as it is."""
    if value is None or value == "none":
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("is not a valid date: write it as 2027-01-31, or none", param=param) from None
    if day < datetime.now(UTC).date():
        raise click.BadParameter(f"{value} is in the past: write the last day on which the secret works", param=param)
    return day


@click.command(
    "update",
    short_help="Change tenant id, client id, app key or end date.",
    epilog=examples(
        "st-pipeline credentials update acme-plumbing --expires-on 2027-01-31",
        "st-pipeline credentials update acme-plumbing --tenant-id 123456780",
        "st-pipeline credentials update acme-plumbing --app-key-file acme.key",
    ),
)
@click.argument("tenant")
@click.option("--tenant-id", type=int, help="ServiceTitan's number; only while the tenant has no rows.")
@click.option("--client-id", help="Another client id for the stored secret.")
@click.option("--app-key-file", type=PATH, help="File with an app key of the tenant's own.")
@click.option("--app-key-env", metavar="VARIABLE", help="Environment variable with an app key of the tenant's own.")
@click.option("--no-app-key", is_flag=True, help="Use the settings' app key again.")
@click.option(
    "--expires-on",
    callback=read_day,
    metavar="DATE",
    help="The keys' last day, like 2027-01-31; none deletes it.",
)
@click.option("--test/--no-test", default=True, show_default=True, help="Ask ServiceTitan before storing keys.")
def update(
    tenant: str,
    tenant_id: int | None,
    client_id: str | None,
    app_key_file: Path | None,
    app_key_env: str | None,
    no_app_key: bool,
    expires_on: "date | str | None",
    test: bool,
) -> int:
    """Change the given values of TENANT's credentials; the others stay.

    Keys with which nothing can be read are not stored (exit code 1). A client id and its secret belong together: to
    replace both use `credentials add --replace`, to replace the secret `credentials rotate-secret`. An end date is a
    reminder, shown from 30 days before.
    """
    from st_pipeline.cli.credentials.secret_sources import given_secret
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.secret_text import clean_secret
    from st_pipeline.tenants.store import find_tenant

    app_key = given_secret("app key", "app-key", app_key_file, app_key_env)
    if no_app_key and app_key is not None:
        raise ConfigurationError("--no-app-key and an app key contradict each other: give one of them")
    given = {
        "tenant_id": tenant_id,
        "client_id": None if client_id is None else clean_secret("client id", client_id)[0],
        "app_key": app_key,
        "expires_on": None if expires_on == "none" else expires_on,
    }
    taken_away = ({"app_key"} if no_app_key else set()) | ({"expires_on"} if expires_on == "none" else set())
    changes = {name: value for name, value in given.items() if value is not None or name in taken_away}
    if not changes:
        raise ConfigurationError("nothing to change: `st-pipeline credentials update --help` shows the options")
    with open_database() as (settings, engine):
        with transaction(engine, f"find tenant {tenant}") as connection:
            found = find_tenant(connection, tenant)
        return _update(engine, settings, found, changes, test=test)


def _update(engine: "Engine", settings: "Settings", tenant: "Tenant", changes: dict[str, Any], *, test: bool) -> int:
    from st_pipeline.cli.credentials.test import print_diagnosis
    from st_pipeline.tenants.credential_updates import update_credential

    different, diagnosis = update_credential(engine, settings, tenant, changes, try_first=test)
    names = ", ".join("end date" if name == "expires_on" else name.replace("_", " ") for name in different)
    if diagnosis is not None:
        print_diagnosis(diagnosis)
        if not diagnosis.connected:
            click.echo(f"tenant {tenant.partition_key}: nothing changed; --no-test stores it anyway")
            return 1
    click.echo(f"tenant {tenant.partition_key}: " + (f"{names} updated" if different else "nothing changed"))
    return 0 if diagnosis is None or diagnosis.complete else 1


@click.command(
    "rotate-secret",
    short_help="Replace TENANT's client secret without interruption.",
    epilog=examples(
        "st-pipeline credentials rotate-secret acme-plumbing",
        "st-pipeline credentials rotate-secret acme-plumbing --expires-on 2028-01-31",
        "pass acme/secret | st-pipeline credentials rotate-secret acme-plumbing \\",
        "    --client-secret-stdin",
    ),
)
@click.argument("tenant")
@click.option("--client-secret-file", type=PATH, help="File that contains only the new secret.")
@click.option("--client-secret-env", metavar="VARIABLE", help="Environment variable with the new secret.")
@click.option("--client-secret-stdin", is_flag=True, help="Read the new secret from standard input.")
@click.option("--expires-on", callback=read_day, metavar="DATE", help="The new secret's last day, like 2027-01-31.")
@click.option("--test/--no-test", default=True, show_default=True, help="Store it only if ServiceTitan accepts it.")
def rotate_secret(
    tenant: str,
    client_secret_file: Path | None,
    client_secret_env: str | None,
    client_secret_stdin: bool,
    expires_on: "date | str | None",
    test: bool,
) -> int:
    """Replace TENANT's client secret without interruption.

    The new secret replaces the old one once ServiceTitan has issued a token for it. Syncs continue meanwhile: they have
    a token, and use the new secret when they need another. Without an option you are asked for the secret, and a new
    token is fetched first, so that nothing needs the old secret during the ten minutes in which you generate the new
    one.
    """
    from st_pipeline.cli.credentials.test import test_one
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.credential_updates import rotate_secret as rotate
    from st_pipeline.tenants.store import find_tenant

    ends = expires_on if isinstance(expires_on, date) else None
    from_elsewhere = client_secret_stdin or client_secret_file is not None or client_secret_env is not None
    with open_database() as (settings, engine):
        with transaction(engine, f"find tenant {tenant}") as connection:
            found = find_tenant(connection, tenant)
        if test and not from_elsewhere:
            _fetch_ahead(engine, settings, found)
        secret = _new_secret(client_secret_file, client_secret_env, client_secret_stdin)
        try:
            is_new = rotate(engine, settings, found, secret, expires_on=ends, try_first=test)
        except (AuthError, TransientApiError):
            click.echo(f"tenant {tenant}: the new secret is not stored, the old one stays", err=True)
            raise
        click.echo(f"tenant {tenant}: " + ("secret rotated" if is_new else "this secret is already stored"))
        if not test:
            click.echo(f"not tested yet: `st-pipeline credentials test {tenant}`")
            return 0
        return test_one(tenant, settings, engine, as_json=False)


def _new_secret(file: Path | None, variable: str | None, from_stdin: bool) -> Any:
    from st_pipeline.cli.credentials.secret_sources import required_secret

    return required_secret(file, variable, from_stdin=from_stdin)


def _fetch_ahead(engine: "Engine", settings: "Settings", tenant: "Tenant") -> None:
    """Fetch a token for the time between generating the new secret and storing it: the old one may no longer work."""
    from st_pipeline.cli.output import print_text
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.credential_updates import fetch_token
    from st_pipeline.tenants.store import PostgresTokenStore, load_authentication

    try:
        with transaction(engine, f"load the credentials of tenant {tenant.partition_key}") as connection:
            authentication = load_authentication(connection, settings, tenant.partition_key)
        fetch_token(authentication, settings, PostgresTokenStore(engine, settings, tenant))
    except PipelineError:
        return
    print_text(
        "A new token is stored: for ten minutes no sync needs the old secret. Now generate the new secret in "
        "ServiceTitan and enter it here."
    )


OLD_NAME_OF_BECAUSE = click.option("--reason", hidden=True)


@click.command(
    "disable", epilog=examples('st-pipeline credentials disable acme-plumbing --because "paused until March"')
)
@click.argument("tenant")
@click.option("--because", "because", metavar="TEXT", help="Why; `credentials list` shows it.")
@OLD_NAME_OF_BECAUSE
def disable(tenant: str, because: str | None, reason: str | None) -> None:
    """Stop syncing TENANT; its rows and keys stay. A running sync continues to its end."""
    changed = _set_enabled(tenant, enabled=False, reason=because or reason)
    click.echo(f"tenant {tenant} disabled" if changed else f"tenant {tenant} is already disabled; nothing changed")


@click.command("enable", epilog=examples("st-pipeline credentials enable acme-plumbing"))
@click.argument("tenant")
@click.option("--because", "because", metavar="TEXT", help="Why, for the audit trail.")
@OLD_NAME_OF_BECAUSE
def enable(tenant: str, because: str | None, reason: str | None) -> None:
    """Sync TENANT again, from where it stopped."""
    changed = _set_enabled(tenant, enabled=True, reason=because or reason)
    click.echo(f"tenant {tenant} enabled" if changed else f"tenant {tenant} is already enabled; nothing changed")


def _set_enabled(tenant: str, *, enabled: bool, reason: str | None) -> bool:
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.credential_updates import set_enabled
    from st_pipeline.tenants.store import find_tenant

    with open_database() as (_, engine):
        with transaction(engine, f"find tenant {tenant}") as connection:
            found = find_tenant(connection, tenant)
        changed = set_enabled(engine, found, enabled=enabled, reason=reason)
        with transaction(engine, f"find tenant {tenant}") as connection:
            is_enabled = find_tenant(connection, tenant).enabled
    if enabled and not is_enabled:
        click.echo(f"Note: its company is disabled: `st-pipeline companies update {found.company} --enable`", err=True)
    return changed
