"""What a request for one tenant is authenticated with.

Here: keys, addresses, tokens, and the interface of a token store. Not here: where any of them is stored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr

from st_pipeline.settings import Environment


@dataclass(frozen=True, slots=True)
class TenantAuthentication:
    """One tenant's addresses and keys. `tenant` is the partition key (`acme-plumbing@integration`).

    `servicetitan_tenant_id` is the number in ServiceTitan's paths. Secrets are masked in repr; unwrap them only to send
    them.
    """

    tenant: str
    environment: Environment
    servicetitan_tenant_id: int
    client_id: SecretStr
    client_secret: SecretStr
    app_key: SecretStr
    api_url: str
    auth_url: str


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and when it expires (timezone-aware). ServiceTitan: after 900 s; there is no refresh token."""

    value: SecretStr
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """The client id and secret that a token is requested with."""

    client_id: SecretStr
    client_secret: SecretStr


class TokenStore(Protocol):
    """Where processes share a tenant's token."""

    def load(self) -> Token | None:
        """The stored token, which may have expired."""
        ...

    def save(self, token: Token | None) -> None:
        """Store the token for the next process; None removes it."""
        ...

    def keys(self) -> ClientKeys | None:
        """The stored client id and secret: a secret may be rotated while a sync runs. None: not known."""
        ...
