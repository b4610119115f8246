"""Every setting of st-pipeline: its name, unit, default and reason.

Here: the values and their checks. Not here: what is done with them, nor what differs by tenant (tenants/).
Read from the environment (`ST_PIPELINE_<NAME>`, and `DATABASE_URL`), then from `.env` in the working folder.
`docs/settings.md` is generated from this file; a test fails when the two differ.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, Field, PlainValidator, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from st_pipeline.errors import ConfigurationError
from st_pipeline.rates import Rate

Environment = Literal["production", "integration"]
ENVIRONMENTS: tuple[Environment, ...] = ("production", "integration")


def _read_rate(value: object) -> Rate:
    return value if isinstance(value, Rate) else Rate.parse(str(value))


def _read_zone(value: object) -> ZoneInfo:
    try:
        return value if isinstance(value, ZoneInfo) else ZoneInfo(str(value))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError, and its text quotes paths
        raise ValueError(f"{value!r} is not a time zone: write one such as America/Chicago or UTC") from None


class Settings(BaseSettings):
    """All settings. Raises pydantic's ValidationError on an invalid value; `load_settings` turns it into one line."""

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
        description="Folder of the embedded Postgres and of the files `up` writes. Relative to the working folder.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres to use, `postgresql://user:password@host:port/database`; in the password, write @ as "
        "%40, : as %3A, / as %2F and % as %25. Unset: the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Postgres for Dagster's own storage. Unset: a database on the same server, named after the main "
        "one: `st_pipeline_dagster`. Two deployments must not share it.",
    )

    # ServiceTitan: each environment has its own API and token address. Secrets are sent to them, so they must begin
    # with https://; http:// is only for a simulator on this machine.
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

    # The client
    token_refresh_threshold_seconds: float = Field(
        default=300,
        gt=0,
        lt=900,
        description="A token is renewed this long before it expires. Tokens live 900 s and a request may take 120 s, "
        "so no token expires during a request.",
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
        description="How far before the stored cursor a list, or a feed that starts again, is read once more. "
        "Duplicates are harmless, gaps are not; feeds lag up to 15 minutes.",
    )
    full_data: bool = Field(default=True, description="Keep each record as received in `full_data`.")
    full_data_off: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="Entities whose records are not kept in `full_data`, comma-separated."
    )
    deletion_guard_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="The deletion guard: a sync that would mark a larger share of a tenant's rows of an entity as "
        "deleted marks none of them and fails.",
    )
    integration_feeds_streams: bool = Field(
        default=False,
        description="Whether an integration tenant feeds `members_stream` and `invoices_stream`. Only for a company "
        "without a production tenant: both would write the same records.",
    )
    lease_seconds: float = Field(
        default=1200,
        gt=0,
        description="One run at a time works on a tenant. When a run dies, its tenant is free as soon as Postgres "
        "notices that the connection is gone, usually at once, and after this long in any case. Every chunk extends "
        "the lease, so it must be longer than a page with all its retries takes.",
    )
    lease_wait_seconds: float = Field(
        default=120, ge=0, description="How long a sync that a person started waits for a busy tenant."
    )

    # Credentials
    expiry_warning_days: int = Field(
        default=30,
        ge=0,
        description="How many days before a credential's stated end date warnings begin, one a day.",
    )

    # The schedules
    time_zone: Annotated[ZoneInfo, NoDecode, PlainValidator(_read_zone)] = Field(
        default=ZoneInfo("America/Chicago"),
        description="Time zone of all schedules, of each tenant's days and holidays, too. The middle of the US.",
    )
    incremental_cron: str = Field(default="*/5 * * * *", description="When every tenant is polled.")
    second_half_cron: str = Field(
        default="",
        description="When half of the tenants, always the same, are polled instead, at schedule ticks: for "
        "`st-pipeline tenants compare`. Empty: all are polled alike.",
    )
    full_cron: str = Field(default="0 2 * * *", description="When every tenant is read in full: at night.")
    whole_read_nights: int = Field(
        default=1,
        ge=1,
        le=7,
        description="Over how many nights whole reads are spread. 1: each feed and list is read whole every night. "
        "With 3, each tenant's entity is read whole every third night; in the nights between, what changed is read, "
        "and the list's total is compared with what is held: one small request, and a whole read where they differ. "
        "A record altered without a new date is found by the next whole read.",
    )
    night_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Runs of the nightly full sync at the same time, each of at most 15 minutes. One keeps up to one "
        "core busy, and polls go on beside it. `st-pipeline plan` shows when the night is expected to end.",
    )
    poll_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Runs that poll at the same time, each a process on one core; each more costs 2 to 4 CPU seconds a "
        "tick. Raise it when tenants wait although cores are idle.",
    )
    poll_threads: int = Field(
        default=32,
        ge=1,
        le=256,
        description="Tenants that a worker polls at once: a thread mostly waits for the API. At 200 ms a request, 32 "
        "threads poll 730 tenants a minute.",
    )
    poll_tenant_seconds: float = Field(
        default=150,
        gt=0,
        description="Longest time a poll spends on one tenant before it turns to the next; the next poll continues "
        "from the last committed chunk. Keep it longer than one request may take (120 s), or a tenant with slow pages "
        "never gets ahead. A tenant with nothing new takes a few seconds.",
    )
    reference_poll_minutes: float = Field(
        default=60,
        ge=0,
        description="A poll skips a list without a feed (job types, call reasons, campaigns, custom fields, "
        "membership types) until its last poll is this old. `members_stream`, which shows the names of membership "
        "types, is known to be complete up to that poll.",
    )
    dagster_host: str = Field(default="127.0.0.1", description="Address the UI listens on. It has no login.")
    dagster_port: int = Field(default=3000, ge=1, le=65535, description="Port of the UI.")
    dagster_host_names: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Further names under which browsers reach the UI, comma-separated and without ports: those of a "
        "proxy in front of it. A request under any other name is refused, except `localhost`, the loopback addresses "
        "and `ST_PIPELINE_DAGSTER_HOST`.",
    )

    # Retention. What is older is deleted once a day, in small batches; 0 keeps it for ever.
    sync_log_days: float = Field(
        default=30, ge=0, description="Syncs in the log. Their figures stay, and so does each tenant's newest sync."
    )
    hourly_figures_days: float = Field(
        default=90, ge=0, description="Figures of syncs by hour; older ones are added up by day and stay."
    )
    dagster_history_days: float = Field(
        default=14,
        ge=0,
        description="Dagster's ended runs, their events and output, and check evaluations. What the UI takes a "
        "partition's state from stays. 10,000 tenants, a third of them changing, add up to 4 GB of events a day.",
    )
    dismissed_rejects_days: float = Field(
        default=90, ge=0, description="Dismissed rejects, counted from when ServiceTitan last sent the record."
    )
    archive_folder: Path | None = Field(
        default=None,
        description="Folder in which deleted rows are kept, as gzip files with a JSON document a line. They hold what "
        "the rows held; those of rejects hold customers' data. Not set: they are not kept.",
    )
    retention_cron: str = Field(default="30 12 * * *", description="When old rows are deleted.")

    # Logs
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Lowest level logged.")

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

    @field_validator("home", "archive_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

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
            f"cannot read the settings: {wrong}. Fix this in the environment or .env; see docs/settings.md"
        ) from None
