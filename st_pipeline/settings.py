"""Every setting of st-pipeline: its name, unit, default and reason.

Here: the values and their checks. Not here: what is done with them, and nothing per tenant (that is a credential's).
Read from the environment (`ST_PIPELINE_<NAME>`, and `DATABASE_URL`), then from `.env` in the working folder.
`docs/settings.md` is made from this file; a test fails when it lags.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, PlainValidator, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from st_pipeline.errors import ConfigurationError
from st_pipeline.rates import Rate

Environment = Literal["production", "integration"]
ENVIRONMENTS: tuple[Environment, ...] = ("production", "integration")


def _read_rate(value: object) -> Rate:
    return value if isinstance(value, Rate) else Rate.parse(str(value))


class Settings(BaseSettings):
    """All settings. Raises pydantic's ValidationError on a wrong value; `load_settings` turns it into one line."""

    model_config = SettingsConfigDict(
        env_prefix="ST_PIPELINE_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
    )

    # Where things live
    home: Path = Field(
        default=Path(".st-pipeline"),
        description="Folder of the embedded Postgres and of what `up` keeps. Relative to the working folder.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres to use, `postgresql://user:password@host:port/database`; in the password @ is written "
        "%40, : %3A, / %2F and % %25. Unset: the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Postgres for Dagster's own storage. Unset: a database on the same server, named after the main "
        "one: `st_pipeline_dagster`. No two deployments may share it.",
    )

    # ServiceTitan's addresses. ServiceTitan: each environment has its own API and token address. Secrets go to them, so
    # they begin with https://; http:// is for this machine alone, where a simulator is.
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
        "may carry its own instead.",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keyring for stored secrets: `id:base64` of 32 bytes, comma-separated; the first encrypts, any "
        "opens. `st-pipeline up` makes one.",
    )

    # The client
    token_refresh_threshold_seconds: float = Field(
        default=300,
        gt=0,
        lt=900,
        description="A token is renewed this long before it ends. Tokens live 900 s and a request may take 120 s, so "
        "no page outlives the token it began with.",
    )
    request_timeout_seconds: float = Field(
        default=120,
        gt=0,
        description="Longest time one request may take, from connecting to the last byte of its answer. The vendor's "
        "own limit is 100 s.",
    )
    connect_timeout_seconds: float = Field(default=10, gt=0, description="Longest wait for a connection.")
    rate_limit: Annotated[Rate, NoDecode, PlainValidator(_read_rate)] = Field(
        default=Rate(40, 1),
        description="Requests a tenant may send: `40/second` or `100/minute`. The vendor's limit is 60 a second.",
    )
    rate_limit_burst: int = Field(
        default=10, ge=1, description="Requests that may go at once after a pause, on top of the steady rate."
    )
    max_attempts: int = Field(
        default=8, ge=1, description="Tries of one request before its error is reported: about 1 minute of back-off."
    )
    retry_initial_seconds: float = Field(default=0.5, ge=0, description="First back-off; doubles each try, jittered.")
    retry_max_seconds: float = Field(
        default=60, ge=0, description="Longest back-off, and the longest `Retry-After` obeyed inside a run."
    )
    list_page_size: int = Field(
        default=5000, ge=1, le=5000, description="Records a list page asks for. 5,000 is the vendor's maximum."
    )
    prefetch_pages: int = Field(
        default=1,
        ge=0,
        le=8,
        description="Pages fetched ahead of the writer. A feed's next page needs this page's token, so 1 is all a feed "
        "can use; at 100 ms latency it doubles throughput.",
    )
    max_response_bytes: int = Field(
        default=128 * 1024 * 1024,
        gt=0,
        description="Largest body unpacked; a larger one is refused, not swallowed. A page of 5,000 invoices of 26 KB.",
    )

    # The engine
    rows_per_chunk: int = Field(
        default=2000,
        gt=0,
        description="Rows validated and written in one transaction. Validation costs 6 ms a chunk whatever its size; "
        "above 2,000 nothing is gained.",
    )
    lookback_minutes: float = Field(
        default=60,
        ge=0,
        description="How far before the stored position a list or a restarted feed is read again. Duplicates are "
        "harmless, gaps are not; feeds lag up to 15 minutes.",
    )
    full_data: bool = Field(default=True, description="Keep each record as received in `full_data`.")
    full_data_off: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="Entities whose record is not kept, comma-separated."
    )
    deletion_guard_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A sync that finds a larger share of a tenant's rows gone marks none of them and fails.",
    )
    integration_feeds_streams: bool = Field(
        default=False,
        description="Whether an integration tenant feeds `members_stream` and `invoices_stream`. Only for a company "
        "without a production tenant: both would write the same records.",
    )
    lease_seconds: float = Field(
        default=1200,
        gt=0,
        description="A tenant belongs to one run at a time. A run that died frees its tenant when Postgres notices "
        "that its connection is gone, usually at once; after this long in any case. Extended with every chunk, so it "
        "must outlast a page with all its retries.",
    )
    lease_wait_seconds: float = Field(
        default=120, ge=0, description="How long a sync that a person started waits for a busy tenant."
    )

    # Credentials
    expiry_warning_days: int = Field(
        default=30,
        ge=0,
        description="Days before a credential's stated end date from which it is warned of, once a day.",
    )

    # The schedules
    incremental_cron: str = Field(default="*/5 * * * *", description="When every tenant is polled. UTC.")
    full_cron: str = Field(default="0 8 * * *", description="When every tenant is read in full: night in the US. UTC.")
    tenants_per_run: int = Field(
        default=25,
        ge=1,
        description="Tenants a scheduled run holds. A run costs 2 to 4 CPU seconds whatever it holds, a tenant 0.3.",
    )
    poll_tenant_seconds: float = Field(
        default=150,
        gt=0,
        description="Time a poll gives one tenant; then it is the next one's turn, and the next poll goes on from the "
        "last committed chunk. More than one request may take (120 s), or a tenant with slow pages would never get "
        "anywhere; a tenant with nothing new takes some seconds.",
    )
    reference_poll_minutes: float = Field(
        default=60,
        ge=0,
        description="A poll leaves a list without a feed (job types, call reasons, campaigns, custom fields, "
        "membership types) alone until its last look is this old. `members_stream`, which shows the names of "
        "membership types, is known complete up to that look.",
    )
    report_unchanged_minutes: float = Field(
        default=60,
        ge=0,
        description="A poll that found nothing shows as a materialization and in the sync log this often at most.",
    )
    dagster_host: str = Field(default="127.0.0.1", description="Address the UI listens on. It has no login.")
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of the UI.")
    dagster_host_names: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Further names under which browsers reach the UI, comma-separated and without ports: those of a "
        "proxy in front of it. Under any other name than these, `localhost`, the loopback addresses and "
        "`ST_PIPELINE_DAGSTER_HOST` a request is refused.",
    )

    # Logs
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")

    @field_validator("dagster_host_names")
    @classmethod
    def _names_only(cls, value: frozenset[str]) -> frozenset[str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9a-fA-F:.]+\]?", name):
                raise ValueError(f"{name!r} is not a host name: write dagster.example.com, without http:// and port")
        return value

    @field_validator("full_data_off", "dagster_host_names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    def api_url(self, environment: Environment) -> str:
        """Base address of the API, without a trailing slash."""
        return (self.production_api_url if environment == "production" else self.integration_api_url).rstrip("/")

    def auth_url(self, environment: Environment) -> str:
        """Token address."""
        return self.production_auth_url if environment == "production" else self.integration_auth_url

    def keeps_full_data(self, entity: str) -> bool:
        """Is the record as received kept for this entity?"""
        return self.full_data and entity not in self.full_data_off


def variable_name(field: str) -> str:
    """The environment variable of a setting: `rate_limit` is `ST_PIPELINE_RATE_LIMIT`."""
    return "DATABASE_URL" if field.lower() == "database_url" else f"ST_PIPELINE_{field.upper()}"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings now; `overrides` by field win. Raises ConfigurationError naming each wrong variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = "; ".join(f"{variable_name(str(e['loc'][0]))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(
            f"wrong setting: {wrong}. Mend it in the environment or .env; see docs/settings.md"
        ) from None
