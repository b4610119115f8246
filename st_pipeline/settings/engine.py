"""Settings of a sync.

Here: chunks, cursors, deletions, leases, warnings about credentials. Not here: when syncs run.
"""

from typing import Annotated

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import NoDecode

from st_pipeline.settings.names import split_names


class Engine(BaseModel):
    """The engine."""

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

    @field_validator("full_data_off", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_names(value)

    def keeps_full_data(self, entity: str) -> bool:
        """Is the record as received kept for this entity?"""
        return self.full_data and entity not in self.full_data_off


class Credentials(BaseModel):
    """Credentials."""

    expiry_warning_days: int = Field(
        default=30,
        ge=0,
        description="How many days before a credential's stated end date warnings begin, one a day.",
    )
