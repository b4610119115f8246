"""What a sync is asked to do, and what it reports.

Here: SyncConfiguration, SyncResult and their checks. Not here: doing it (tenant.py).
"""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.postgres.sync_log import SyncType
from st_pipeline.protocol import Counts, Mode
from st_pipeline.streams import STREAMS
from st_pipeline.suggestions import unknown_name
from st_pipeline.sync.context import EntityResult
from st_pipeline.sync.data_types import DATA_TYPES, SYNCED, synced_by


@dataclass(frozen=True, slots=True)
class SyncConfiguration:
    """What to sync and how.

    `data_type`: customers, invoices, both, all, or entities and streams by name, comma-separated. `only`: of these, the
    named ones; `customers` alone is a data type, the entity is `only=("customers",)`. `incremental_only` false reads
    everything. A date range (timezone-aware, start inclusive, end exclusive) reads what was modified in it and moves no
    cursor. `batch_size`: rows a chunk, None for the setting. `rewrite`: write rows even when they did not change.
    `allow_deletions`: a person's word that the deletion guard is wrong. `night`: of a nightly full sync, which reads
    everything only in some nights where ST_PIPELINE_WHOLE_READ_NIGHTS says so.
    Raises ConfigurationError: an unknown data type or entity, a range that ends before it starts, a naive time.
    """

    data_type: str = "all"
    only: tuple[str, ...] = ()
    sync_type: SyncType = "manual"
    incremental_only: bool = True
    modified_from: datetime | None = None
    modified_to: datetime | None = None
    batch_size: int | None = None
    rewrite: bool = False
    allow_deletions: bool = False
    night: date | None = None

    def __post_init__(self) -> None:
        self._check_names()
        for moment in (self.modified_from, self.modified_to):
            if moment is not None and moment.tzinfo is None:
                raise ConfigurationError(f"the time {moment.isoformat()} has no zone: write it with Z or an offset")
        if self.modified_from and self.modified_to and self.modified_to <= self.modified_from:
            raise ConfigurationError(
                f"the window ends ({self.modified_to.isoformat()}) before it starts ({self.modified_from.isoformat()})"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigurationError(f"a batch of {self.batch_size} rows writes nothing: take 1 or more")
        if self.sync_type not in ("manual", "scheduled"):
            raise ConfigurationError(unknown_name("sync type", self.sync_type, ("manual", "scheduled")))

    def _check_names(self) -> None:
        """Raises ConfigurationError."""
        try:
            meant = synced_by(self.data_type)
        except KeyError as error:
            raise ConfigurationError(unknown_name("data type", error.args[0], (*DATA_TYPES, *SYNCED))) from None
        for name in self.only:
            if name not in SYNCED:
                raise ConfigurationError(unknown_name("entity", name, SYNCED))
            if name not in meant:
                raise ConfigurationError(
                    f"entity {name} is not part of data type {self.data_type}, which means {', '.join(meant)}: give "
                    "only one of the two"
                )

    @property
    def entities(self) -> tuple[str, ...]:
        """The entities and streams, each after the ones it depends on."""
        named = synced_by(self.data_type)
        return tuple(name for name in named if name in self.only) if self.only else named

    @property
    def label(self) -> str:
        """The data type as the sync log shows it."""
        return f"only {', '.join(self.entities)}" if self.only else self.data_type

    @property
    def mode(self) -> Mode:
        """Full, incremental, or a window when a date range is given."""
        if self.modified_from or self.modified_to:
            return Mode.WINDOW
        return Mode.INCREMENTAL if self.incremental_only else Mode.FULL

    def as_details(self) -> dict[str, Any]:
        """For the sync log, as JSON: what it takes to do the same again."""
        window = {
            name: moment.isoformat()
            for name, moment in (("modified_from", self.modified_from), ("modified_to", self.modified_to))
            if moment is not None
        }
        flags = {name: True for name in ("rewrite", "allow_deletions") if getattr(self, name)}
        batch = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return {"entities": list(self.entities), **window, **flags, **batch}


def moment(name: str, written: str) -> datetime | None:
    """Read an ISO time; a bare day is its start, UTC. Raises ConfigurationError that names the option."""
    if not written:
        return None
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        raise ConfigurationError(f"{name} is not a valid time: write 2026-01-31 or 2026-01-31T06:00:00Z") from None
    is_bare_day = len(written) == len("2026-01-31")
    return read.replace(tzinfo=UTC) if is_bare_day else read


@dataclass(slots=True)
class EntityOutcome:
    """An entity's result, or why it failed.

    `report`: is it worth an event? In a poll: something changed, failed for the first time, or recovered. Always in any
    other sync.
    """

    entity: str
    result: EntityResult
    error: Exception | None = None
    report: bool = True

    @property
    def records(self) -> Counts:
        """What became of the records that the source sent. A stream is built from those; it reads none."""
        return Counts() if self.entity in STREAMS else self.result.counts

    @property
    def message(self) -> str | None:
        """Why it failed, in words that hold no data."""
        if self.error is None or isinstance(self.error, PipelineError):
            return None if self.error is None else str(self.error)
        return f"unexpected {type(self.error).__name__}; the log of the run has the place"


@dataclass(slots=True)
class SyncResult:
    """What a tenant's sync did. `sync_log_id` None: a poll that found nothing and left no row.

    `stopped`: why it did not begin with what was left of its entities. `paused`: why another run of the same night does
    the rest, which is no failure. `unchanged`: the entities that a poll's look has found as they were; they have no
    outcome.
    """

    tenant: str
    sync_id: uuid.UUID
    sync_log_id: int | None = None
    outcomes: list[EntityOutcome] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stopped: str | None = None
    unchanged: set[str] = field(default_factory=set)
    paused: str | None = None
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Did every entity succeed?"""
        return not self.errors

    @property
    def counts(self) -> Counts:
        """The figures of all entities: processed, successful, failed, created, updated, unchanged, deleted."""
        total = Counts()
        for outcome in self.outcomes:
            total.add(outcome.records)
        return total
