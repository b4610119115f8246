"""What it takes to speak for one tenant.

Here: the values and the one interface the client needs from whoever keeps tokens. Not here: where they are stored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr

from st_pipeline.settings import Environment


@dataclass(frozen=True, slots=True)
class TenantAccess:
    """One tenant's addresses and keys. `tenant` is the partition key (`acme-plumbing@integration`).

    `tenant_id` is the number in ServiceTitan's paths. Secrets are masked in repr; unwrap them only to send them.
    """

    tenant: str
    environment: Environment
    tenant_id: int
    client_id: SecretStr
    client_secret: SecretStr
    app_key: SecretStr
    api_url: str
    auth_url: str


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the moment it ends (timezone-aware). ServiceTitan: 900 s, no refresh token."""

    value: SecretStr
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a token is asked for with."""

    client_id: SecretStr
    client_secret: SecretStr


class TokenStore(Protocol):
    """Where processes share a tenant's token. `save(None)` forgets it."""

    def load(self) -> Token | None:
        """The stored token, whether or not it still lives."""
        ...

    def save(self, token: Token | None) -> None:
        """Keep the token for the next process."""
        ...

    def keys(self) -> ClientKeys | None:
        """The client id and secret that hold now: a secret may be rotated while a sync runs. None: not known."""
        ...
