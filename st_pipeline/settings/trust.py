"""Settings of what tells whether the data can be trusted.

Here: thresholds of checks, where alerts go, when tenants are reconciled. Not here: a tenant's own thresholds (checks/).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import NoDecode


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
    """Alerts."""


class Reconciliation(BaseModel):
    """Reconciliation."""
