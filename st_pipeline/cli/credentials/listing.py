"""`st-pipeline credentials list` and `show`: what is stored, and how it does. Never a secret.

Here: the commands and their two forms. Not here: reading it (credentials/store.py, details.py, expiry.py).
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples

if TYPE_CHECKING:
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.store import Tenant
    from st_pipeline.tenants.tenant_details import CredentialDetails


@click.command(
    "list",
    epilog=examples(
        "st-pipeline credentials list",
        "st-pipeline credentials list --expiring 30",
        "st-pipeline credentials list --json | jq -r '.[].connection_status'",
    ),
)
@click.option("--expiring", type=click.IntRange(min=0), metavar="DAYS", help="Only those that end within so many days.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_(expiring: int | None, as_json: bool) -> None:
    """Show all tenants with the state of their connection.

    Warns of credentials that end soon: their end date is stated with `credentials update --expires-on`.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.expiry import expiring as ending
    from st_pipeline.tenants.store import all_tenants
    from st_pipeline.tenants.tenant_details import credential_details
    from st_pipeline.vault.encryption import Vault

    with open_database() as (settings, engine), transaction(engine, "list the credentials") as connection:
        tenants = all_tenants(connection)
        known = credential_details(connection, Vault.from_settings(settings), tenants) if tenants else {}
        days = settings.expiry_warning_days if expiring is None else expiring
        warnings = [expiry.message for expiry in ending(connection, days)]
    found = [(t, known[t.credential_id]) for t in tenants if t.credential_id in known]
    if expiring is not None:
        found = [
            (t, fact) for t, fact in found if fact.expires_in_days is not None and fact.expires_in_days <= expiring
        ]
    if as_json:
        print_json([_as_dict(*one) for one in found])
    elif found:
        _print_list(found, warnings)
    elif tenants:
        click.echo(f"no credential is known to end within {expiring} days")
    else:
        click.echo("no credentials yet: add some with `st-pipeline credentials add`")


def _print_list(found: "list[tuple[Tenant, CredentialDetails]]", warnings: list[str]) -> None:
    from st_pipeline.cli.output import print_table, print_text

    columns = ["tenant", "tenant id", "client id", "status", "synced (UTC)"]
    rows: list[list[object]] = [
        [t.partition_key, str(t.tenant_id), fact.client_id or "does not open", _state(t), t.last_sync_at]
        for t, fact in found
    ]
    if any(fact.expires_on for _, fact in found):
        columns.append("ends")
        for row, (_, fact) in zip(rows, found, strict=True):
            row.append(fact.expires_on)
    print_table(columns, rows)
    for tenant, fact in found:
        if tenant.connection_message:
            print_text(f"{tenant.partition_key}: {tenant.connection_message}")
        if fact.disabled_reason:
            print_text(f"{tenant.partition_key}: disabled: {fact.disabled_reason}")
    for warning in warnings:
        print_text(f"Warning: {warning}")


def _state(tenant: "Tenant") -> str:
    return tenant.connection_status if tenant.enabled else "disabled"


def _as_dict(tenant: "Tenant", fact: "CredentialDetails") -> dict[str, Any]:
    values = asdict(tenant)
    more = asdict(fact)
    more["expires_on"] = None if fact.expires_on is None else fact.expires_on.isoformat()
    return {"tenant": values.pop("partition_key"), **values, **more}


@click.command(
    "show",
    epilog=examples(
        "st-pipeline credentials show acme-plumbing", "st-pipeline credentials show acme-plumbing@integration --json"
    ),
)
@click.argument("tenant")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def show(tenant: str, as_json: bool) -> None:
    """Show everything about TENANT but its secrets.

    Dates, the state of the connection, scopes, who works on it now, its last sync and where it stands.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants import tenant_details
    from st_pipeline.tenants.store import find_tenant
    from st_pipeline.vault.encryption import Vault

    with open_database() as (settings, engine), transaction(engine, f"show tenant {tenant}") as connection:
        found = find_tenant(connection, tenant)
        vault = Vault.from_settings(settings)
        values = {
            **_as_dict(found, tenant_details.credential_details(connection, vault, [found])[found.credential_id]),
            "scopes": tenant_details.scopes(connection, vault, found),
            "lease": tenant_details.lease(connection, found.credential_id),
            "last_sync": tenant_details.last_sync(connection, found.credential_id),
            "positions": tenant_details.cursor_summary(connection, found.credential_id),
        }
    if as_json:
        print_json(values)
    else:
        _print_all(values, settings)


def _print_all(values: dict[str, Any], settings: "Settings") -> None:
    """Name and value, line by line; what is not there is said, so that nobody looks for it."""
    from rich.table import Table
    from rich.text import Text

    from st_pipeline.cli.output import shown
    from st_pipeline.cli.terminal import terminal

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(values, settings).items():
        table.add_row(Text(name), Text(shown(value)))
    terminal().print(table)


def _lines(values: dict[str, Any], settings: "Settings") -> dict[str, object]:
    v = values
    return {
        "tenant": v["tenant"],
        "company": f"{v['company_name']} ({v['company']}), Intacct id {v['intacct_id'] or 'none'}",
        "environment": v["environment"],
        "ServiceTitan tenant": str(v["tenant_id"]),
        "client id": v["client_id"] or "does not open with the keyring",
        "app key": "its own" if v["own_app_key"] else "the settings'" if settings.app_key else "none",
        "state": _state_line(v),
        "connection": v["connection_status"] + (f": {v['connection_message']}" if v["connection_message"] else ""),
        "tested (UTC)": v["last_tested_at"] or "never",
        "scopes": ", ".join(v["scopes"]) if v["scopes"] else "not known: no token is stored, or it names none",
        "token until (UTC)": v["token_expires_at"] or "none",
        "keys end": _ends(v),
        "now": _lease_line(v["lease"]),
        "last success (UTC)": v["last_sync_at"] or "never",
        "last sync": _sync_line(v["last_sync"]),
        "positions": _positions_line(v["positions"]),
        "added (UTC)": v["created_at"],
        "changed (UTC)": v["updated_at"],
    }


def _state_line(v: dict[str, Any]) -> str:
    if v["enabled"]:
        return "enabled"
    if v["credential_enabled"]:
        return f"disabled with its company: `st-pipeline companies update {v['company']} --enable`"
    return f"disabled: {v['disabled_reason'] or 'no reason was given'}"


def _ends(v: dict[str, Any]) -> str:
    if v["expires_on"] is None:
        return "no date was stated"
    days = v["expires_in_days"]
    return f"{v['expires_on']} ({f'in {days} days' if days >= 0 else f'{-days} days ago'})"


def _lease_line(lease: dict[str, Any] | None) -> str:
    from st_pipeline.cli.output import shown

    if lease is None:
        return "nobody works on it"
    return f"{lease['holder_name']} since {shown(lease['taken_at'])}"


def _sync_line(sync: dict[str, Any] | None) -> str:
    from st_pipeline.cli.output import shown

    if sync is None:
        return "none"
    written = f"{sync['records_created']:,} created, {sync['records_updated']:,} updated"
    line = (
        f"{sync['sync_type']} {sync['mode']} sync of {sync['data_type']}, {sync['status']}, began "
        f"{shown(sync['started_at'])}: {sync['records_processed']:,} records, {written}, "
        f"{sync['records_failed']:,} rejected"
    )
    return f"{line}. {sync['message']}" if sync["message"] else line


def _positions_line(at: dict[str, Any]) -> str:
    from st_pipeline.cli.output import shown

    if not at["begun"]:
        return "never synced"
    parts = [
        f"{at['begun']} lists and streams begun, {at['read_in_full']} read in full",
        f"complete up to {shown(at['complete_through']) or 'no moment yet'}",
        f"all looked at since {shown(at['last_polled_at']) or 'never'}",
        f"{at['open_rejects']:,} open rejects",
    ]
    if at["full_under_way"]:
        parts.append(f"{at['full_under_way']} full passes under way")
    if at["stream_records_waiting"]:
        parts.append(f"{at['stream_records_waiting']:,} stream records wait to be built")
    if at["failing"]:
        parts.append(f"failing: {', '.join(at['failing'])}")
    return "; ".join(parts)
