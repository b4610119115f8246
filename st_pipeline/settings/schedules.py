"""Settings of what runs when.

Here: schedules, workers, their threads. Not here: what a tenant's own schedule says (tenants/).
"""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, PlainValidator
from pydantic_settings import NoDecode


def read_zone(value: object) -> ZoneInfo:
    """The zone of this name. Raises ValueError."""
    try:
        return value if isinstance(value, ZoneInfo) else ZoneInfo(str(value))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError, and its text quotes paths
        raise ValueError(f"{value!r} is not a time zone: write one such as America/Chicago or UTC") from None


class Schedules(BaseModel):
    """The schedules."""

    time_zone: Annotated[ZoneInfo, NoDecode, PlainValidator(read_zone)] = Field(
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
