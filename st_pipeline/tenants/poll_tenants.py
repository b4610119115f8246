"""What polls must know of many tenants before they ask ServiceTitan anything, in one query.

Here: their authentication and stored token, and what makes a poll enter a tenant whatever its feeds show. Not here:
their cursors and streams (postgres/, sync/), one tenant's authentication (store).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication, Token
from st_pipeline.settings import Settings
from st_pipeline.tenants.store import SECRET_COLUMNS, TENANTS, Tenant, authentication_of, opened
from st_pipeline.vault.encryption import Vault


@dataclass(frozen=True, slots=True)
class PollTenant:
    """A tenant to poll.

    `authentication` None: its secrets do not open, or there is no app key. `token`: the stored one, expired or not.
    `busy_with`: who holds its lease. `was_cut_off`: did a dead process leave a sync `running`?
    """

    tenant: Tenant
    authentication: TenantAuthentication | None
    token: Token | None
    busy_with: str | None
    was_cut_off: bool

    def is_in_order(self, polled_at: datetime | None) -> bool:
        """Is it connected, with nothing said of the connection since the last poll in which every feed answered?

        What was said earlier stays until every entity was read since, as the nightly full sync does.
        """
        tenant = self.tenant
        is_connected = tenant.connection_status == "connected" and tenant.refused_since is None
        tested_at, has_message = tenant.last_tested_at, tenant.connection_message is not None
        is_news = has_message and tested_at is not None and (polled_at is None or tested_at > polled_at)
        return is_connected and not is_news


_POLL_TENANTS = f"""
    SELECT t.*, s.{", s.".join(SECRET_COLUMNS)}, s.access_token, s.token_expires_at,
        (SELECT l.holder_name FROM tenant_leases l WHERE l.credential_id = s.id AND l.expires_at > clock_timestamp()
         AND session_lives(l.holder)),
        EXISTS (SELECT FROM servicetitan_sync_logs g WHERE g.credential_id = s.id AND g.status = 'running')
    FROM ({TENANTS} WHERE credential_id = ANY(:ids)) t JOIN servicetitan_credentials s ON s.id = t.credential_id
"""  # noqa: S608 - names of ours


def load_poll_tenants(
    connection: Connection, settings: Settings, credential_ids: Collection[int]
) -> dict[int, PollTenant]:
    """The tenants by credential; one that was removed is missing. Raises ConfigurationError: there is no keyring."""
    vault, found = Vault.from_settings(settings), {}
    width = len(Tenant.__slots__)
    for row in connection.execute(text(_POLL_TENANTS), {"ids": list(credential_ids)}):
        tenant, stored = Tenant(*row[:width]), row[width : width + len(SECRET_COLUMNS)]
        sealed, expires_at, busy_with, was_cut_off = row[width + len(SECRET_COLUMNS) :]
        authentication, token = None, None
        try:
            authentication = authentication_of(tenant, opened(vault, tenant, stored), settings)
            if sealed is not None and expires_at is not None:
                token = Token(vault.decrypt(tenant.partition_key, "access_token", bytes(sealed)), expires_at)
        except ConfigurationError:
            pass  # its sync says which, and a token that does not open is fetched again
        found[tenant.credential_id] = PollTenant(tenant, authentication, token, busy_with, was_cut_off)
    return found
