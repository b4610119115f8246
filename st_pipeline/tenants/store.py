"""The credentials: table `servicetitan_credentials`, view `tenants`, and the token that processes share.

Here: finding and decrypting credentials, and their connection status. Not here: adding them (registration), how a value
is encrypted (vault/), whether ServiceTitan accepts it (diagnosis), telling outages from suspensions (suspension).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import transaction
from st_pipeline.servicetitan.tenant_authentication import ClientKeys, TenantAuthentication, Token
from st_pipeline.settings import Environment, Settings
from st_pipeline.tenants.companies import unknown
from st_pipeline.tenants.expiry import warn_once_a_day
from st_pipeline.tenants.secret_text import check_secret
from st_pipeline.vault.encryption import Vault

LONGEST_MESSAGE = 1000  # characters of the stored connection message
FIRST_PAUSE_MINUTES = 15
LONGEST_PAUSE_MINUTES = 12 * 60
SECRET_COLUMNS = ("client_id", "client_secret", "app_key")

ConnectionStatus = Literal["pending", "connected", "error"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A row of view `tenants`: a company in one environment. `tenant_id` is ServiceTitan's number."""

    credential_id: int
    partition_key: str
    company: str
    company_name: str
    intacct_id: str | None
    trade: str | None
    environment: Environment
    tenant_id: int
    connection_status: ConnectionStatus
    connection_message: str | None
    last_tested_at: datetime | None
    last_sync_at: datetime | None
    enabled: bool
    refused_since: datetime | None
    retry_at: datetime | None

    @property
    def is_pollable(self) -> bool:
        """May a schedule poll it now? It must be enabled, read in full before, and not suspended."""
        return self.enabled and self.last_sync_at is not None and not self.is_suspended(datetime.now(UTC))

    def is_suspended(self, now: datetime) -> bool:
        """Do schedules skip it because ServiceTitan refuses it and the pause has not ended?"""
        return self.connection_status == "error" and (self.retry_at is None or self.retry_at > now)


TENANTS = (
    f"SELECT {', '.join(Tenant.__slots__)} FROM tenants JOIN "  # noqa: S608 - names of ours
    "(SELECT id AS credential_id, refused_since, retry_at FROM servicetitan_credentials) c USING (credential_id) "
)
SAVE_TOKEN = text("""
    WITH saved AS (
        UPDATE servicetitan_credentials SET access_token = :value, token_expires_at = :expires_at
        WHERE id = :id RETURNING id
    )
    INSERT INTO token_refreshes AS t (credential_id, day)
    SELECT id, (now() AT TIME ZONE 'UTC')::date FROM saved WHERE CAST(:value AS bytea) IS NOT NULL
    ON CONFLICT (credential_id, day) DO UPDATE SET refreshes = t.refreshes + 1, last_at = excluded.last_at
""")
# The columns of a credential that ServiceTitan accepts, or has not refused yet.
NOT_REFUSED = {"refused_since": None, "refusals": 0, "retry_at": None}


def all_tenants(connection: Connection) -> list[Tenant]:
    """All tenants, enabled or not, by partition key."""
    return [Tenant(*row) for row in connection.execute(text(f"{TENANTS} ORDER BY partition_key"))]


def enabled_tenants(connection: Connection) -> list[Tenant]:
    """The tenants to sync: Dagster's partitions."""
    return [tenant for tenant in all_tenants(connection) if tenant.enabled]


def find_tenant(connection: Connection, tenant: str) -> Tenant:
    """The tenant of a partition key, enabled or not. Raises ConfigurationError that suggests similar names."""
    company, _, environment = tenant.partition("@")  # not the key itself, for which there is no index
    query = text(f"{TENANTS} WHERE company = :company AND environment = :environment AND partition_key = :key")
    bound = {"company": company, "environment": environment or "production", "key": tenant}
    found = connection.execute(query, bound).one_or_none()
    if found is None:
        known = [one.partition_key for one in all_tenants(connection)]
        raise ConfigurationError(unknown("tenant", tenant, known, "credentials"))
    return Tenant(*found)


def load_authentication(connection: Connection, settings: Settings, tenant: str) -> TenantAuthentication:
    """All it takes to make requests for the tenant. Raises ConfigurationError: unknown, no app key, not decryptable."""
    found = find_tenant(connection, tenant)
    return authentication_of(found, open_secrets(connection, Vault.from_settings(settings), found), settings)


def authentication_of(
    found: Tenant, secrets: Mapping[str, SecretStr | None], settings: Settings
) -> TenantAuthentication:
    """The authentication of a tenant whose secrets are open. Raises ConfigurationError: one is missing."""
    tenant, client_id, client_secret = found.partition_key, secrets["client_id"], secrets["client_secret"]
    if client_id is None or client_secret is None:  # the columns are NOT NULL
        raise ConfigurationError(
            f"tenant {tenant} has no client id or secret: enter them with `st-pipeline credentials add --replace`"
        )
    return TenantAuthentication(
        tenant=tenant,
        environment=found.environment,
        servicetitan_tenant_id=found.tenant_id,
        client_id=client_id,
        client_secret=client_secret,
        app_key=secrets["app_key"] or app_key_of(settings, tenant),
        api_url=settings.api_url(found.environment),
        auth_url=settings.auth_url(found.environment),
    )


def mark_connected(connection: Connection, credential_id: int, message: str | None = None) -> None:
    """ServiceTitan accepts the credential. `message`: what it still may not read."""
    sql = text(
        "UPDATE servicetitan_credentials SET connection_status = 'connected', connection_message = :message, "
        "last_tested_at = now(), refused_since = NULL, refusals = 0, retry_at = NULL WHERE id = :id"
    )
    connection.execute(sql, {"id": credential_id, "message": shortened(message)})


def mark_error(connection: Connection, credential_id: int, message: str) -> None:
    """ServiceTitan refuses the credential: schedules skip the tenant for a pause, which doubles with each refusal.

    `message` holds no secret.
    """
    sql = text(
        "UPDATE servicetitan_credentials SET connection_status = 'error', connection_message = :message, "
        "last_tested_at = now(), refusals = refusals + 1, retry_at = clock_timestamp() + least("
        "make_interval(mins => :first) * 2 ^ least(refusals, 20), make_interval(mins => :longest)) WHERE id = :id"
    )
    bound = {"id": credential_id, "message": shortened(message)}
    connection.execute(sql, {**bound, "first": FIRST_PAUSE_MINUTES, "longest": LONGEST_PAUSE_MINUTES})


def mark_inconclusive(connection: Connection, credential_id: int, message: str) -> None:
    """The test said nothing about the credential, as in an outage: the status stays, and no tenant is suspended."""
    sql = text(
        "UPDATE servicetitan_credentials SET connection_message = :message, last_tested_at = now() WHERE id = :id"
    )
    connection.execute(sql, {"id": credential_id, "message": shortened(message)})


def mark_unusable(connection: Connection, credential_id: int, message: str) -> bool:
    """Its secrets cannot be decrypted here, or there is no app key. Returns whether that is new.

    There is no pause: trying again sends no request, and so the first poll after the repair syncs the tenant.
    """
    sql = text(
        "UPDATE servicetitan_credentials c SET connection_status = 'error', connection_message = :message, "
        "retry_at = now() FROM servicetitan_credentials before WHERE c.id = :id AND before.id = c.id "
        "RETURNING (before.connection_status, before.connection_message) IS DISTINCT FROM ('error', :message)"
    )
    return bool(connection.execute(sql, {"id": credential_id, "message": shortened(message)}).scalar())


def mark_synced(
    connection: Connection, credential_id: int, *, entities: Collection[str], refused: str | None = None
) -> None:
    """A sync of the tenant succeeded, so its credential works.

    `refused`: what ServiceTitan did not let it read. A message from before is dropped once each of `entities` has been
    read since.
    """
    sql = """
        UPDATE servicetitan_credentials c SET last_sync_at = now(), connection_status = 'connected',
            refused_since = NULL, refusals = 0, retry_at = NULL,
            connection_message = coalesce(CASE
                WHEN connection_status = 'connected' AND connection_message IS NOT NULL AND (
                    SELECT count(*) FROM sync_cursors
                    WHERE credential_id = c.id AND entity = ANY(:entities) AND last_failed_at IS NULL
                          AND last_polled_at > coalesce(c.last_tested_at, '-infinity')) < cardinality(:entities)
                THEN connection_message END, :refused)
        WHERE id = :id
    """
    short = shortened(refused)
    connection.execute(text(sql), {"id": credential_id, "entities": list(entities), "refused": short})


class PostgresTokenStore:
    """The tenant's token, encrypted in its credential's row, so that other processes need not ask for another.

    Each call is a separate transaction on a separate connection: the token stays when the chunk is rolled back.
    """

    def __init__(self, engine: Engine, settings: Settings, tenant: Tenant) -> None:
        self._engine, self._vault, self._tenant = engine, Vault.from_settings(settings), tenant
        self._warning_days = settings.expiry_warning_days

    def load(self) -> Token | None:
        """The stored token, expired or not. None without one, or when it cannot be decrypted: a new one is fetched."""
        sql = text("SELECT access_token, token_expires_at FROM servicetitan_credentials WHERE id = :id")
        with transaction(self._engine, f"load the token of tenant {self._tenant.partition_key}") as connection:
            row = connection.execute(sql, {"id": self._tenant.credential_id}).one_or_none()
        if row is None or row.access_token is None or row.token_expires_at is None:
            return None
        try:
            value = self._vault.decrypt(self._tenant.partition_key, "access_token", bytes(row.access_token))
        except ConfigurationError:
            return None
        return Token(value, row.token_expires_at)

    def keys(self) -> ClientKeys | None:
        """The client id and secret as stored now. None: removed meanwhile, or they cannot be decrypted."""
        with transaction(self._engine, f"read the keys of tenant {self._tenant.partition_key} again") as connection:
            try:
                opened = open_secrets(connection, self._vault, self._tenant)
            except ConfigurationError:
                return None
        client_id, client_secret = opened["client_id"], opened["client_secret"]
        return None if client_id is None or client_secret is None else ClientKeys(client_id, client_secret)

    def save(self, token: Token | None) -> None:
        """Store the token; None deletes it. A new one is counted: one row a tenant and day."""
        key, column = self._tenant.partition_key, "access_token"
        values = {
            "id": self._tenant.credential_id,
            "value": None if token is None else self._vault.encrypt(key, column, token.value),
            "expires_at": None if token is None else token.expires_at,
        }
        with transaction(self._engine, f"store the token of tenant {key}") as connection:
            # Nothing is counted when the credential was removed meanwhile, or the token is deleted.
            if connection.execute(SAVE_TOKEN, values).rowcount:
                warn_once_a_day(connection, self._tenant.credential_id, key, self._warning_days)


def open_secrets(connection: Connection, vault: Vault, tenant: Tenant) -> dict[str, SecretStr | None]:
    """Client id, client secret and app key by column. Raises ConfigurationError: not decryptable, or removed."""
    sql = text(f"SELECT {', '.join(SECRET_COLUMNS)} FROM servicetitan_credentials WHERE id = :id")  # noqa: S608
    row = connection.execute(sql, {"id": tenant.credential_id}).one_or_none()
    if row is None:
        raise ConfigurationError(f"the credential of tenant {tenant.partition_key} was removed")
    return opened(vault, tenant, row)


def opened(vault: Vault, tenant: Tenant, stored: Iterable[bytes | None]) -> dict[str, SecretStr | None]:
    """The stored values of SECRET_COLUMNS, decrypted. Raises ConfigurationError."""
    return {
        column: None if value is None else vault.decrypt(tenant.partition_key, column, bytes(value))
        for column, value in zip(SECRET_COLUMNS, stored, strict=True)
    }


def app_key_of(settings: Settings, tenant: str) -> SecretStr:
    """The app key from the settings, checked: a line break in it would fail deep inside an HTTP library."""
    if settings.app_key is None:
        raise ConfigurationError(
            f"tenant {tenant} has no app key: set ST_PIPELINE_APP_KEY to the app's (`ak1.…`, My Apps in ServiceTitan's "
            "developer portal), or give the credential its own with --app-key-file"
        )
    return check_secret("app key in ST_PIPELINE_APP_KEY", settings.app_key.get_secret_value())


def shortened(message: str | None) -> str | None:
    """A message, cut to the length that is stored."""
    return None if message is None else message[:LONGEST_MESSAGE]
