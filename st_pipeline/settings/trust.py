"""Settings of what tells whether the data can be trusted.

Here: thresholds of checks, where alerts go, when tenants are reconciled. Not here: a tenant's own thresholds (checks/).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, PlainValidator, SecretStr, field_validator
from pydantic_settings import NoDecode

from st_pipeline.settings.schedules import read_zone

HOUR = r"(?:[01]\d|2[0-3]):[0-5]\d"


class Checks(BaseModel):
    """Checks."""

    checks_pause_minutes: float = Field(
        default=60,
        ge=0,
        description="A poll that found changes evaluates a check that reads whole tables (completeness, references, "
        "money, streams, volume) again when its last evaluation is this old; at once while it fails. 200,000 invoices "
        "take 3 CPU seconds.",
    )
    check_thresholds: Annotated[Mapping[str, float], NoDecode] = Field(
        default={},
        description="Thresholds of checks that differ from their defaults, for all tenants: `rejected.share=0.02, "
        "invoices.rejected.share=0.05`. `st-pipeline checks show` lists their names; `st-pipeline checks set` sets one "
        "for a single tenant.",
    )
    own_checks_folder: Path | None = Field(
        default=None,
        description="Folder of your own checks: each file `NAME.sql` becomes a check of every tenant. Not set: none.",
    )
    own_checks_timeout_seconds: float = Field(
        default=30, gt=0, description="Longest time that one of your own checks may take for one tenant."
    )

    @field_validator("check_thresholds", mode="before")
    @classmethod
    def _read_thresholds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        read = {}
        for part in filter(None, (part.strip() for part in value.split(","))):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not name or not equals:
                raise ValueError(f"{part!r} is not a threshold: write one such as rejected.share=0.02")
            try:
                read[name] = float(number)
            except ValueError:
                raise ValueError(f"{name}: {number!r} is not a number") from None
        return read

    @field_validator("own_checks_folder")
    @classmethod
    def _absolute_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()


class Alerts(BaseModel):
    """Alerts. docs/trust.md shows channels by example, and what each alert means."""

    alert_channels: SecretStr | None = Field(
        default=None,
        description="Where alerts go, separated by spaces: `name=address`, or `name:error=address` for errors only, "
        "with `:digest` for the daily digest, too. The address is one of apprise's: `mailtos://…`, `slack://…`, "
        "`workflows://…` (Teams), `pagerduty://…`, `jsons://…`. Not set: problems are recorded, nobody is told.",
    )
    alert_ui_url: str | None = Field(
        default=None,
        description="Address of the UI in messages, as those who read them reach it. Not set: `http://` with "
        "`ST_PIPELINE_DAGSTER_HOST` and its port.",
    )
    alert_quiet_hours: str = Field(
        default="",
        description="Hours without messages, such as `22:00-07:00`; they may pass midnight. What happens meanwhile is "
        "told afterwards, unless it is over by then. Empty: none.",
    )
    alert_quiet_errors_pass: bool = Field(
        default=True, description="Whether messages about errors are sent in quiet hours, too; about warnings none is."
    )
    alert_digest_time: str = Field(
        default="",
        description="When the daily digest is sent to the channels with `:digest`, such as `08:00`. Empty: never.",
    )
    alert_time_zone: Annotated[ZoneInfo | None, NoDecode, PlainValidator(lambda value: value and read_zone(value))] = (
        Field(
            default=None,
            description="Time zone of quiet hours, of the digest and of times in messages. Not set: "
            "`ST_PIPELINE_TIME_ZONE`.",
        )
    )
    alert_group_tenants: int = Field(
        default=5,
        ge=2,
        description="When so many tenants have a problem of the same cause within an hour, it becomes one alert that "
        "names the worst.",
    )
    alert_late_poll_minutes: float = Field(
        default=20,
        gt=0,
        description="A tenant whose poll is due for longer than this is a problem: four polls of five minutes were "
        "missed.",
    )
    alert_least_free_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="Free space on the disks of this machine that hold data, the embedded Postgres or the archive; "
        "less is a warning, an eighth of it an error.",
    )
    alert_send_timeout_seconds: float = Field(
        default=15,
        gt=0,
        le=20,
        description="Longest time a channel may take for one message; then it counts as failed and is tried again.",
    )
    heartbeat_url: SecretStr | None = Field(
        default=None,
        description="An address called each minute while `st-pipeline health` finds nothing wrong: a service that "
        "expects the calls tells you when they stop, as a dead machine alerts nobody.",
    )

    @field_validator("alert_quiet_hours")
    @classmethod
    def _two_hours(cls, value: str) -> str:
        begin, _, end = value.partition("-")
        if value and (not re.fullmatch(f"{HOUR}-{HOUR}", value) or begin == end):
            raise ValueError(f"{value!r} is not a range of hours: write one such as 22:00-07:00")
        return value

    @field_validator("alert_digest_time")
    @classmethod
    def _one_hour(cls, value: str) -> str:
        if value and not re.fullmatch(HOUR, value):
            raise ValueError(f"{value!r} is not a time of day: write one such as 08:00")
        return value

    @field_validator("alert_ui_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s@]+", value):
            raise ValueError("not a web address: write one such as https://dagster.example.com")
        return None if value is None else value.rstrip("/")


class Reconciliation(BaseModel):
    """Reconciliation. docs/trust.md says what it finds."""

    reconciliation_every_days: int = Field(
        default=7,
        ge=0,
        description="After how many days a tenant is compared with ServiceTitan again: some 70 small requests where "
        "nothing differs. 0: only by hand.",
    )
    reconciliation_cron: str = Field(
        default="30 5 * * *", description="From when, each day, tenants are compared: after the nightly full syncs."
    )
    reconciliation_hours: float = Field(
        default=3,
        gt=0,
        le=24,
        description="For how long a day. One run at a time, of at most 15 minutes, compares tenant after tenant; who "
        "has waited longest comes first, and who is not reached waits for the next day.",
    )
    reconciliation_repairs: bool = Field(
        default=False,
        description="Does the scheduled comparison fetch again what differs? Otherwise it only reports it.",
    )
