"""Store a company's credential, or replace it.

Here: what is new, what is stored already, what may be replaced. Not here: reading credentials (store).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import ENVIRONMENTS, Environment
from st_pipeline.tenants.companies import constraint_of, get_company
from st_pipeline.tenants.secret_text import LARGEST_TENANT_ID, check_secret
from st_pipeline.tenants.store import SECRET_COLUMNS, find_tenant, open_secrets
from st_pipeline.vault.encryption import Vault

TENANT_ID_TAKEN = "one_credential_per_servicetitan_tenant"

Outcome = Literal["added", "unchanged", "replaced"]


class OtherCredentials(ConfigurationError):
    """The tenant already has other credentials."""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What `add_credential` stores; `app_key` None: not given. Raises ConfigurationError on an invalid value."""

    company: str
    environment: Environment
    tenant_id: int
    client_id: SecretStr
    client_secret: SecretStr
    app_key: SecretStr | None = None

    def __post_init__(self) -> None:
        if self.environment not in ENVIRONMENTS:
            raise ConfigurationError(f"unknown environment: use {' or '.join(ENVIRONMENTS)}")
        check_tenant_id(self.tenant_id)
        for column, secret in self.secrets().items():
            check_secret(column.replace("_", " "), secret.get_secret_value())

    @property
    def partition_key(self) -> str:
        """The tenant's name, as in the view `tenants`."""
        return self.company if self.environment == "production" else f"{self.company}@{self.environment}"

    def secrets(self) -> dict[str, SecretStr]:
        """The secrets that are given, by column."""
        return {column: getattr(self, column) for column in SECRET_COLUMNS if getattr(self, column) is not None}


def check_tenant_id(tenant_id: int) -> int:
    """The number. Raises ConfigurationError unless ServiceTitan could have given it."""
    if not 0 < tenant_id <= LARGEST_TENANT_ID:
        raise ConfigurationError(f"{tenant_id} is not a valid ServiceTitan tenant id: write a positive number")
    return tenant_id


def add_credential(
    connection: Connection, vault: Vault, new: NewCredential, *, replace: bool = False
) -> tuple[Outcome, int]:
    """Store a company's credential for one environment. Returns what happened and the credential's id.

    The same values again change nothing. Other values need `replace`, which also deletes the token and the status; an
    app key that is not given stays. Raises ConfigurationError: an unknown company, other values without `replace`, a
    ServiceTitan tenant that is another company's, or another tenant id for a credential that has rows already.
    """
    company = get_company(connection, new.company)
    # Two processes that add at once take turns.
    connection.execute(text("SELECT FROM companies WHERE id = :id FOR NO KEY UPDATE"), {"id": company.id})
    sql = text(
        "SELECT id, tenant_id FROM servicetitan_credentials WHERE company_id = :id AND environment = :environment"
    )
    row = connection.execute(sql, {"id": company.id, "environment": new.environment}).one_or_none()
    with one_company_per_tenant(connection, new.environment, new.tenant_id):
        if row is None:
            return "added", _insert(connection, vault, new, company.id)
        if _is_stored(connection, vault, new, row.tenant_id, forgiving=replace):
            return "unchanged", row.id
        if not replace:
            raise OtherCredentials(
                f"tenant {new.partition_key} already has other credentials: to replace them with these, repeat the "
                "command with --replace"
            )
        _replace(connection, vault, new, row.id, row.tenant_id)
        return "replaced", row.id


@contextmanager
def one_company_per_tenant(connection: Connection, environment: Environment, tenant_id: int) -> Iterator[None]:
    """Run the block in a savepoint. Raises ConfigurationError when another company has the ServiceTitan tenant."""
    try:
        with connection.begin_nested():
            yield
    except IntegrityError as error:
        if constraint_of(error) != TENANT_ID_TAKEN:
            raise
        raise ConfigurationError(
            f"ServiceTitan tenant {tenant_id} ({environment}) already belongs to another company: "
            "`st-pipeline credentials list` shows which"
        ) from None


def _insert(connection: Connection, vault: Vault, new: NewCredential, company_id: int) -> int:
    sql = text("""
        INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret, app_key)
        VALUES (:company_id, :environment, :tenant_id, :client_id, :client_secret, :app_key) RETURNING id
    """)
    values = {"company_id": company_id, "environment": new.environment, **_encrypted(vault, new)}
    credential_id: int = connection.execute(sql, values).scalar_one()
    return credential_id


def _replace(connection: Connection, vault: Vault, new: NewCredential, credential_id: int, tenant_id: int) -> None:
    check_no_rows(connection, new.partition_key, credential_id, tenant_id, new.tenant_id)
    sql = text("""
        UPDATE servicetitan_credentials
        SET tenant_id = :tenant_id, client_id = :client_id, client_secret = :client_secret,
            app_key = coalesce(:app_key, app_key), access_token = NULL, token_expires_at = NULL,
            connection_status = 'pending', connection_message = NULL, refused_since = NULL, refusals = 0,
            retry_at = NULL, updated_at = now()
        WHERE id = :id
    """)
    connection.execute(sql, {"id": credential_id, **_encrypted(vault, new)})


def check_no_rows(connection: Connection, tenant: str, credential_id: int, tenant_id: int, wanted: int) -> None:
    """Raise ConfigurationError when `wanted` is another tenant id and rows of `tenant_id` are stored.

    A credential's rows belong to one ServiceTitan tenant for good; a typing error can be corrected until there are any.
    """
    if wanted != tenant_id and _has_rows(connection, credential_id):
        raise ConfigurationError(
            f"tenant {tenant} holds data of ServiceTitan tenant {tenant_id}, so its tenant id cannot become {wanted}: "
            f"add ServiceTitan tenant {wanted} as a separate company"
        )


def _has_rows(connection: Connection, credential_id: int) -> bool:
    """Was a page ever written? Cursors and figures are committed together with their rows."""
    sql = text("""
        SELECT EXISTS (SELECT FROM sync_cursors WHERE credential_id = :id AND (
            continue_from IS NOT NULL OR newest_modified_on IS NOT NULL OR full_continue_from IS NOT NULL
            OR last_full_at IS NOT NULL))
        OR EXISTS (SELECT FROM sync_history WHERE credential_id = :id AND records_processed > 0)
    """)
    return bool(connection.execute(sql, {"id": credential_id}).scalar_one())


def _encrypted(vault: Vault, new: NewCredential) -> dict[str, Any]:
    secrets = {column: vault.encrypt(new.partition_key, column, secret) for column, secret in new.secrets().items()}
    return {"tenant_id": new.tenant_id, "app_key": None, **secrets}


def _is_stored(connection: Connection, vault: Vault, new: NewCredential, tenant_id: int, *, forgiving: bool) -> bool:
    """Are these the stored values? `forgiving`: one that cannot be decrypted counts as different, not as an error."""
    try:
        stored = open_secrets(connection, vault, find_tenant(connection, new.partition_key))
    except ConfigurationError:
        if not forgiving:
            raise
        return False
    return tenant_id == new.tenant_id and all(stored[column] == secret for column, secret in new.secrets().items())
