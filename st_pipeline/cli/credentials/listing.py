"""`st-pipeline credentials list` and `show`: stored credentials and the state of their tenants. Never a secret.

Here: the commands and their output. Not here: reading it (tenants/).
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

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
@click.option("--expiring", type=click.IntRange(min=0), metavar="DAYS", help="Only those that expire within this time.")
@json_option()
def list_(expiring: int | None, as_json: bool) -> None:
    """Show all tenants with the state of their connection.

    Warns of credentials that expire soon: `credentials update --expires-on` sets their end date.
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
        click.echo(f"no credential is known to expire within {expiring} day{'' if expiring == 1 else 's'}")
    else:
        click.echo("no credentials yet: add some with `st-pipeline credentials add`")


def _print_list(found: "list[tuple[Tenant, CredentialDetails]]", warnings: list[str]) -> None:
    from st_pipeline.cli.output import print_table, print_text

    columns = ["tenant", "tenant id", "client id", "status", "synced (UTC)"]
    rows: list[list[object]] = [
        [t.partition_key, str(t.tenant_id), fact.client_id or "cannot be decrypted", _state(t), t.last_sync_at]
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
@json_option()
def show(tenant: str, as_json: bool) -> None:
    """Show everything about TENANT except its secrets.

    Dates, the state of the connection, scopes, which sync works on it now, its last sync and its cursors.
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
        cursors = tenant_details.cursor_summary(connection, found.credential_id)
        values = {
            **_as_dict(found, tenant_details.credential_details(connection, vault, [found])[found.credential_id]),
            "scopes": tenant_details.scopes(connection, vault, found),
            "lease": tenant_details.lease(connection, found.credential_id),
            "last_sync": tenant_details.last_sync(connection, found.credential_id),
            "cursors": cursors,
            "positions": cursors,  # the old name of `cursors`, until 0.2
        }
    if as_json:
        print_json(values)
    else:
        _print_all(values, settings)


def _print_all(values: dict[str, Any], settings: "Settings") -> None:
    """Print name and value, line by line, also where there is no value."""
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
        "client id": v["client_id"] or "cannot be decrypted with the keyring",
        "app key": "its own" if v["own_app_key"] else "the settings'" if settings.app_key else "none",
        "state": _state_line(v),
        "connection": v["connection_status"] + (f": {v['connection_message']}" if v["connection_message"] else ""),
        "tested (UTC)": v["last_tested_at"] or "never",
        "scopes": ", ".join(v["scopes"]) if v["scopes"] else "unknown: no token is stored, or it names none",
        "token until (UTC)": v["token_expires_at"] or "none",
        "keys end": _ends(v),
        "now": _lease_line(v["lease"]),
        "last success (UTC)": v["last_sync_at"] or "never",
        "last sync": _sync_line(v["last_sync"]),
        "cursors": _cursors_line(v["cursors"]),
        "added (UTC)": v["created_at"],
        "changed (UTC)": v["updated_at"],
    }


def _state_line(v: dict[str, Any]) -> str:
    if v["enabled"]:
        return "enabled"
    if v["credential_enabled"]:
        return f"disabled with its company: `st-pipeline companies update {v['company']} --enable`"
    return f"disabled: {v['disabled_reason'] or 'no reason given'}"


def _ends(v: dict[str, Any]) -> str:
    from st_pipeline.cli.output import number_of

    if v["expires_on"] is None:
        return "no date given"
    days = v["expires_in_days"]
    count = number_of(abs(days), "day")
    return f"{v['expires_on']} ({f'in {count}' if days >= 0 else f'{count} ago'})"


def _lease_line(lease: dict[str, Any] | None) -> str:
    from st_pipeline.cli.output import shown

    if lease is None:
        return "no sync is running"
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


def _cursors_line(at: dict[str, Any]) -> str:
    from st_pipeline.cli.output import number_of, shown
    from st_pipeline.sync.closing import some_of

    if not at["begun"]:
        return "never synced"
    parts = [
        f"{number_of(at['begun'], 'list or stream', 'lists and streams')} begun, {at['read_in_full']} read in full",
        f"complete through {shown(at['complete_through']) or 'no time yet'}",
        f"all polled since {shown(at['last_polled_at']) or 'never'}",
        number_of(at["open_rejects"], "open reject"),
    ]
    if at["full_under_way"]:
        parts.append(f"{number_of(at['full_under_way'], 'full sync')} not ended yet")
    if at["stream_records_waiting"]:
        parts.append(f"{number_of(at['stream_records_waiting'], 'stream record')} waiting to be built")
    if at["failing"]:
        parts.append(f"failing: {some_of(at['failing'])}")
    return "; ".join(parts)
