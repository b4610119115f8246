"""Settings of what is kept where, and for how long.

Here: databases, folders, retention, logs. Not here: what is done with them.
"""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator


class Places(BaseModel):
    """Where things live."""

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

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


class Retention(BaseModel):
    """Retention.

    What is older is deleted once a day, in small batches; 0 keeps it for ever.
    """

    sync_log_days: float = Field(
        default=30, ge=0, description="Syncs in the log. Their figures stay, and so does each tenant's newest sync."
    )
    hourly_figures_days: float = Field(
        default=90,
        ge=0,
        description="Figures of syncs by hour; older ones are added up by day and stay. Also how many "
        "access tokens each tenant got on each day.",
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
    check_history_days: float = Field(
        default=180, ge=0, description="Changes of checks' verdicts. The latest verdicts stay."
    )
    reconciliations_days: float = Field(
        default=400, ge=0, description="Reconciliations with what they found. Each tenant's newest stays."
    )
    alert_history_days: float = Field(default=180, ge=0, description="Alerts that are over, with their messages.")
    archive_folder: Path | None = Field(
        default=None,
        description="Folder in which deleted rows are kept, as gzip files with a JSON document a line. They hold what "
        "the rows held; those of rejects hold customers' data. Not set: they are not kept.",
    )
    retention_cron: str = Field(default="30 12 * * *", description="When old rows are deleted.")

    @field_validator("archive_folder")
    @classmethod
    def _absolute_archive(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()


class Logs(BaseModel):
    """Logs."""

    log_format: Literal["console", "json"] = Field(default="console", description="How log lines are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Lowest level logged.")
