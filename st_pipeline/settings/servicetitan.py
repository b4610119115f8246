"""Settings of the client of ServiceTitan's API.

Here: addresses, keys, limits of requests. Not here: a company's own credentials (tenants/).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainValidator, SecretStr
from pydantic_settings import NoDecode

from st_pipeline.rates import Rate

Environment = Literal["production", "integration"]
ENVIRONMENTS: tuple[Environment, ...] = ("production", "integration")


def _read_rate(value: object) -> Rate:
    return value if isinstance(value, Rate) else Rate.parse(str(value))


class Api(BaseModel):
    """ServiceTitan.

    Each environment has its own API and token address. Secrets are sent to them, so they must begin with https://;
    http:// is only for a simulator on this machine.
    """

    production_api_url: str = Field(default="https://api.servicetitan.io", description="API, production.")
    production_auth_url: str = Field(
        default="https://auth.servicetitan.io/connect/token", description="Token address, production."
    )
    integration_api_url: str = Field(
        default="https://api-integration.servicetitan.io", description="API, integration environment."
    )
    integration_auth_url: str = Field(
        default="https://auth-integration.servicetitan.io/connect/token",
        description="Token address, integration environment.",
    )
    app_key: SecretStr | None = Field(
        default=None,
        description="The app's key (`ak1.…`), sent as ST-App-Key. It belongs to the app, not to a tenant; a credential "
        "may have its own instead.",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keys for stored secrets: `id:base64` of 32 bytes each, comma-separated; the first encrypts, all "
        "of them decrypt. `st-pipeline up` generates one.",
    )

    def api_url(self, environment: Environment) -> str:
        """Base address of the API, without a trailing slash."""
        return (self.production_api_url if environment == "production" else self.integration_api_url).rstrip("/")

    def auth_url(self, environment: Environment) -> str:
        """Token address."""
        return self.production_auth_url if environment == "production" else self.integration_auth_url


class Client(BaseModel):
    """The client."""

    token_refresh_threshold_seconds: float = Field(
        default=240,
        gt=0,
        lt=900,
        description="A token is renewed this long before it expires. Tokens live 900 s and a request may take 120 s, "
        "so no token expires during a request; with polls every 300 s each third one renews it, and with 300 s here it "
        "would be each second one.",
    )
    request_timeout_seconds: float = Field(
        default=120,
        gt=0,
        description="Longest time one request may take, from connecting to the last byte of the response. "
        "ServiceTitan's own limit is 100 s.",
    )
    connect_timeout_seconds: float = Field(default=10, gt=0, description="Longest wait for a connection.")
    rate_limit: Annotated[Rate, NoDecode, PlainValidator(_read_rate)] = Field(
        default=Rate(40, 1),
        description="Most requests sent for one tenant: `40/second` or `100/minute`. ServiceTitan's limit is 60 a "
        "second.",
    )
    rate_limit_burst: int = Field(
        default=10, ge=1, description="Requests that may be sent at once after a pause, on top of the steady rate."
    )
    max_attempts: int = Field(
        default=8, ge=1, description="Tries of a request before its error is reported: about 1 minute of back-off."
    )
    retry_initial_seconds: float = Field(
        default=0.5, ge=0, description="First back-off; it doubles with each try, with jitter."
    )
    retry_max_seconds: float = Field(
        default=60, ge=0, description="Longest back-off, and the longest `Retry-After` that a run waits for."
    )
    list_page_size: int = Field(
        default=5000, ge=1, le=5000, description="Records requested per list page. 5,000 is ServiceTitan's maximum."
    )
    prefetch_pages: int = Field(
        default=1,
        ge=0,
        le=8,
        description="Pages fetched ahead while one is written. A feed's next page needs the token in this one, so a "
        "feed cannot use more than 1; at 100 ms latency 1 doubles throughput.",
    )
    max_response_bytes: int = Field(
        default=128 * 1024 * 1024,
        gt=0,
        description="Largest response body, decompressed; a larger one is refused. The default fits a page of 5,000 "
        "invoices of 26 KB.",
    )
