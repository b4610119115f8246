"""Change a credential that is in use: its secret, client id, app key, tenant id or end date; disable and enable it.

Here: testing new keys before they replace those that work, storing them, the audit trail. Not here: adding
(registration), removing (removal). A running sync is not disturbed: it has a token, and reads the keys from the
database again when ServiceTitan refuses its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import ConfigurationError, TenantBusy
from st_pipeline.postgres import leases
from st_pipeline.postgres.database import transaction
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication, Token
from st_pipeline.settings import Settings
from st_pipeline.tenants import store
from st_pipeline.tenants.audit import Action, Entry, audit_failures
from st_pipeline.tenants.diagnosis import Diagnosis, NewTokens, diagnose, note
from st_pipeline.tenants.refusal import http_client, token_source
from st_pipeline.tenants.registration import check_no_rows, check_tenant_id, one_company_per_tenant
from st_pipeline.tenants.secret_text import check_secret
from st_pipeline.vault.encryption import Vault

# What `update_credential` changes; None removes the value where the column may be null.
CHANGEABLE = frozenset({"tenant_id", "client_id", "app_key", "expires_on"})
TRIED = CHANGEABLE - {"expires_on"}
LONGEST_REASON = 200
CHANGE_SECONDS = 60.0  # a lease for the change of a tenant id, which takes milliseconds

Changes = Mapping[str, SecretStr | int | date | None]


def rotate_secret(
    engine: Engine,
    settings: Settings,
    tenant: store.Tenant,
    secret: SecretStr,
    *,
    expires_on: date | None = None,
    try_first: bool = True,
) -> bool:
    """Replace the client secret, after ServiceTitan gave a token for the new one. False: it is stored already.

    The token is shared, so that syncs continue with it. The old secret's end date is dropped, and `expires_on`, if any,
    takes its place. Raises ConfigurationError, AuthError and TransientApiError; the old secret then stays.
    """
    doing = f"rotate the client secret of tenant {tenant.partition_key}"
    entry = Entry("credentials.rotate_secret", tenant.partition_key, tenant.credential_id, {"tried": try_first})
    with audit_failures(engine, doing, entry):
        check_secret("client secret", secret.get_secret_value())
        with transaction(engine, doing) as connection:
            authentication = store.load_authentication(connection, settings, tenant.partition_key)
        token = fetch_token(replace(authentication, client_secret=secret), settings) if try_first else None
        is_new = secret != authentication.client_secret
        with transaction(engine, doing) as connection:
            values: dict[str, Any] = {"expires_on": expires_on} if is_new or expires_on is not None else {}
            if is_new:
                values |= _no_longer_refused(tenant)
                vault = Vault.from_settings(settings)
                values["client_secret"] = vault.encrypt(tenant.partition_key, "client_secret", secret)
            _write(connection, tenant, values)
            entry.write(
                connection, "done", outcome="replaced" if is_new else "unchanged", expires_on=_plain(expires_on)
            )
    if token is not None:
        store.PostgresTokenStore(engine, settings, tenant).save(token)
    return is_new


def fetch_token(
    authentication: TenantAuthentication, settings: Settings, shared: store.PostgresTokenStore | None = None
) -> Token:
    """A new token for these keys, shared if a store is given. Raises AuthError and TransientApiError."""
    with http_client(settings) as http:
        return token_source(authentication, settings, http, store=NewTokens(shared)).token()


def update_credential(
    engine: Engine, settings: Settings, tenant: store.Tenant, changes: Changes, *, try_first: bool = True
) -> tuple[list[str], Diagnosis | None]:
    """Change some of CHANGEABLE. Returns the columns that were different, and the test of the new keys.

    Keys that can read nothing are not stored: nothing is changed then, and the diagnosis says why. Raises
    ConfigurationError (an invalid value, or another tenant id although rows are stored) and TenantBusy.
    """
    doing = f"update the credentials of tenant {tenant.partition_key}"
    entry = Entry("credentials.update", tenant.partition_key, tenant.credential_id, {"tried": try_first})
    with audit_failures(engine, doing, entry):
        with transaction(engine, doing) as connection:
            different = _different(connection, settings, tenant, changes)
            authentication = (
                store.load_authentication(connection, settings, tenant.partition_key)
                if TRIED & set(different)
                else None
            )
        entry.details["changed"] = ", ".join(different)
        tokens, diagnosis = NewTokens(), None
        if try_first and authentication is not None:
            diagnosis = diagnose(_with(authentication, settings, different), settings, tokens)
            if not diagnosis.connected:
                with transaction(engine, doing) as connection:
                    entry.write(connection, "refused", verdict=diagnosis.verdict.value)
                return list(different), diagnosis
        with transaction(engine, doing) as connection:
            _store(connection, settings, tenant, different)
            entry.write(connection, "done", **{name: _plain(different[name]) for name in _shown(different)})
            if diagnosis is not None:
                note(connection, tenant.credential_id, diagnosis)
    if tokens.token is not None:
        store.PostgresTokenStore(engine, settings, tenant).save(tokens.token)
    return list(different), diagnosis


def set_enabled(engine: Engine, tenant: store.Tenant, *, enabled: bool, reason: str | None = None) -> bool:
    """Enable or disable a tenant; its rows stay. False: it was so already. A running sync continues to its end."""
    action: Action = "credentials.enable" if enabled else "credentials.disable"
    doing = f"{'enable' if enabled else 'disable'} tenant {tenant.partition_key}"
    entry = Entry(action, tenant.partition_key, tenant.credential_id, {"reason": reason})
    with audit_failures(engine, doing, entry), transaction(engine, doing) as connection:
        if reason is not None and (not reason.strip() or not reason.isprintable() or len(reason) > LONGEST_REASON):
            raise ConfigurationError(
                f"the reason is empty, longer than {LONGEST_REASON} characters, or contains characters that cannot be "
                "printed: write it without those, on one line"
            )
        sql = text("""
            UPDATE servicetitan_credentials c SET enabled = :enabled, disabled_reason = new.reason, updated_at = now()
            FROM (SELECT id, CASE WHEN NOT :enabled THEN coalesce(CAST(:reason AS text), disabled_reason) END AS reason
                  FROM servicetitan_credentials) new
            WHERE c.id = :id AND new.id = c.id
                  AND (c.enabled, c.disabled_reason) IS DISTINCT FROM (CAST(:enabled AS boolean), new.reason)
        """)
        values = {"id": tenant.credential_id, "enabled": enabled, "reason": reason}
        changed = connection.execute(sql, values).rowcount > 0
        entry.write(connection, "done", outcome="changed" if changed else "unchanged")
    return changed


def _different(
    connection: Connection, settings: Settings, tenant: store.Tenant, changes: Changes
) -> dict[str, SecretStr | int | date | None]:
    """The checked changes, without those that are stored already."""
    opened = store.open_secrets(connection, Vault.from_settings(settings), tenant)
    sql = text("SELECT tenant_id, expires_on FROM servicetitan_credentials WHERE id = :id")
    held = {**opened, **connection.execute(sql, {"id": tenant.credential_id}).mappings().one()}
    for column, value in changes.items():
        if isinstance(value, SecretStr):
            check_secret(column.replace("_", " "), value.get_secret_value())
        elif column == "tenant_id" and isinstance(value, int):
            check_tenant_id(value)
            check_no_rows(connection, tenant.partition_key, tenant.credential_id, tenant.tenant_id, value)
    return {column: value for column, value in changes.items() if value != held[column]}


def _with(authentication: TenantAuthentication, settings: Settings, changes: Changes) -> TenantAuthentication:
    """The authentication with the changes. Raises ConfigurationError: it would have no app key."""
    values: dict[str, Any] = {name: value for name, value in changes.items() if name in TRIED and value is not None}
    if "tenant_id" in values:
        values["servicetitan_tenant_id"] = values.pop("tenant_id")
    if "app_key" in changes and changes["app_key"] is None:
        values["app_key"] = store.app_key_of(settings, authentication.tenant)
    return replace(authentication, **values)


def _store(connection: Connection, settings: Settings, tenant: store.Tenant, changes: Changes) -> None:
    key, vault = tenant.partition_key, Vault.from_settings(settings)
    values = {
        column: vault.encrypt(key, column, value) if isinstance(value, SecretStr) else value
        for column, value in changes.items()
    }
    if TRIED & set(changes):
        values |= _no_longer_refused(tenant)
    if "client_id" in changes:  # the stored token is another client's
        values |= {"access_token": None, "token_expires_at": None}
    if "tenant_id" not in changes:
        _write(connection, tenant, values)
        return
    # A running sync would continue to write rows of the old tenant id.
    lease = leases.take(connection, tenant.credential_id, key, "change of its tenant id", CHANGE_SECONDS)
    if lease is None:
        raise TenantBusy(f"tenant {key} is being synced: change its tenant id when the sync has ended")
    wanted = changes["tenant_id"]
    assert isinstance(wanted, int)  # noqa: S101 - the column is NOT NULL
    check_no_rows(connection, key, tenant.credential_id, tenant.tenant_id, wanted)
    with one_company_per_tenant(connection, tenant.environment, wanted):
        _write(connection, tenant, values)
    lease.release(connection)


def _no_longer_refused(tenant: store.Tenant) -> dict[str, Any]:
    """What ends a suspension: nobody has refused the new keys yet."""
    is_refused = tenant.connection_status == "error"
    return {"connection_status": "pending", "connection_message": None, **store.NOT_REFUSED} if is_refused else {}


def _write(connection: Connection, tenant: store.Tenant, values: Mapping[str, Any]) -> None:
    """Store the values. Raises ConfigurationError: the credential was removed meanwhile."""
    assignments = "".join(f"{column} = :{column}, " for column in values)
    sql = text(f"UPDATE servicetitan_credentials SET {assignments}updated_at = now() WHERE id = :id")  # noqa: S608
    if not connection.execute(sql, {**values, "id": tenant.credential_id}).rowcount:
        raise ConfigurationError(f"the credential of tenant {tenant.partition_key} was removed meanwhile")


def _shown(changes: Changes) -> list[str]:
    """The columns whose values may be shown in the trail."""
    return [column for column in changes if column in ("tenant_id", "expires_on")]


def _plain(value: object) -> str | int | None:
    return value if value is None or isinstance(value, int) else str(value)
