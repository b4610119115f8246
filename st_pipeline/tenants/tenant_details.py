"""Everything about one tenant except its secrets: what `credentials show` prints.

Here: reading it. Not here: printing it (cli/).
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.tenants.secret_text import mask
from st_pipeline.tenants.store import Tenant
from st_pipeline.vault.encryption import Vault


@dataclass(frozen=True, slots=True)
class CredentialDetails:
    """The fields of a credential that view `tenants` lacks. `client_id` is masked; None if it cannot be decrypted."""

    client_id: str | None
    own_app_key: bool
    credential_enabled: bool
    disabled_reason: str | None
    expires_on: date | None
    expires_in_days: int | None
    token_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


def credential_details(connection: Connection, vault: Vault, tenants: list[Tenant]) -> dict[int, CredentialDetails]:
    """By credential id."""
    sql = text("""
        SELECT id, client_id, app_key IS NOT NULL, enabled, disabled_reason, expires_on, expires_on - current_date,
               token_expires_at, created_at, updated_at
        FROM servicetitan_credentials WHERE id = ANY(:ids)
    """)
    by_id = {tenant.credential_id: tenant for tenant in tenants}
    rows = connection.execute(sql, {"ids": list(by_id)})
    return {
        credential_id: CredentialDetails(_masked(vault, by_id[credential_id], bytes(client_id)), *rest)
        for credential_id, client_id, *rest in rows
    }


def _masked(vault: Vault, tenant: Tenant, value: bytes) -> str | None:
    try:
        return mask(vault.decrypt(tenant.partition_key, "client_id", value))
    except ConfigurationError:
        return None


def scopes(connection: Connection, vault: Vault, tenant: Tenant) -> list[str] | None:
    """The scopes that the stored token names; None without a token, or when it names none.

    Seen live but not documented, so it is only a hint; `credentials test` asks ServiceTitan.
    """
    sql = text("SELECT access_token FROM servicetitan_credentials WHERE id = :id")
    value = connection.execute(sql, {"id": tenant.credential_id}).scalar()
    if value is None:
        return None
    try:
        token = vault.decrypt(tenant.partition_key, "access_token", bytes(value)).get_secret_value()
        body = token.split(".")[1]
        named = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["scope"]
    except (ConfigurationError, IndexError, KeyError, TypeError, ValueError, binascii.Error, RecursionError):
        return None
    found = named.split() if isinstance(named, str) else named
    return sorted(str(scope) for scope in found) if isinstance(found, list) else None


def lease(connection: Connection, credential_id: int) -> dict[str, Any] | None:
    """Who works on the tenant now; None when nobody does."""
    sql = text("""
        SELECT holder_name, taken_at, expires_at FROM tenant_leases
        WHERE credential_id = :id AND expires_at > now() AND session_lives(holder)
    """)
    row = connection.execute(sql, {"id": credential_id}).mappings().one_or_none()
    return None if row is None else dict(row)


def last_sync(connection: Connection, credential_id: int) -> dict[str, Any] | None:
    """The newest row of the sync log; polls that found nothing leave one an hour."""
    sql = text("""
        SELECT id, sync_type, mode, data_type, status, started_at, completed_at, records_processed, records_created,
               records_updated, records_deleted, records_failed, message
        FROM servicetitan_sync_logs WHERE credential_id = :id ORDER BY id DESC LIMIT 1
    """)
    row = connection.execute(sql, {"id": credential_id}).mappings().one_or_none()
    return None if row is None else dict(row)


def cursor_summary(connection: Connection, credential_id: int) -> dict[str, Any]:
    """Where its entities and streams stand, in a few figures; times are those of the entity that is most behind."""
    sql = text("""
        SELECT count(*) AS begun, count(last_full_at) AS read_in_full, min(m.complete_through) AS complete_through,
               min(m.last_polled_at) AS last_polled_at,
               count(*) FILTER (WHERE full_started_at IS NOT NULL) AS full_under_way,
               array_agg(entity ORDER BY entity) FILTER (WHERE last_failed_at IS NOT NULL) AS failing,
               (SELECT count(*) FROM sync_rejects WHERE credential_id = :id AND dismissed_at IS NULL) AS open_rejects,
               (SELECT count(*) FROM stream_pending WHERE credential_id = :id) AS stream_records_waiting
        FROM sync_cursors JOIN completeness m USING (credential_id, entity) WHERE credential_id = :id
    """)
    row = dict(connection.execute(sql, {"id": credential_id}).mappings().one())
    return {**row, "failing": row["failing"] or []}
