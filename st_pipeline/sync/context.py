"""What it takes to sync one tenant and entity, or to build one of its streams, and what came of it.

Here: the values. Not here: doing it (entity.py, stream.py), a whole tenant (tenant.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Counts, Drift, Mode
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import BegunRead
from st_pipeline.settings import Settings
from st_pipeline.streams.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class Window:
    """A range of modification times: `start` inclusive, `end` exclusive, None open. Timezone-aware."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(slots=True)
class EntityResult:
    """What a sync of one tenant and entity did. `began_at`: by Postgres's clock.

    `withheld`: rows gone at the source that the guard kept its chunks from marking.
    """

    entity: str
    mode: Mode
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    began_at: datetime | None = None
    cursor_before: str | None = None
    cursor_after: str | None = None
    warnings: Counter[str] = field(default_factory=Counter)
    drift: Counter[Drift] = field(default_factory=Counter)
    nul_records: int = 0
    withheld: int = 0
    notes: list[str] = field(default_factory=list)

    def drift_by_field(self) -> dict[str, int]:
        """Records by what differs from the documents, for people: without the values."""
        by_field: Counter[str] = Counter()
        for one, records in self.drift.items():
            by_field[str(one)] += records
        return dict(by_field)

    def add(self, part: "EntityResult") -> None:
        """Add what one of the entity's lists did."""
        self.mode = part.mode
        self.counts.add(part.counts)
        self.warnings += part.warnings
        self.drift += part.drift
        self.nul_records += part.nul_records
        self.notes += [f"{part.entity}: {note}" for note in part.notes]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a poll's look saw of an entity, or of one of its lists, before the tenant was entered.

    `cursor`: the one it was asked with; `began_at`: a time before it was asked, by Postgres's clock. `begun`: the read
    whose first page it fetched; None: that failed with `error`, or what was wrong is found out when it is read.
    """

    cursor: Cursor
    began_at: datetime
    begun: BegunRead | None = None
    error: Exception | None = None
    has_news: bool = True


@dataclass(slots=True, kw_only=True)
class SyncContext:
    """A tenant, and what it takes to bring any of its tables up to date. `after_chunk` hears of each committed chunk.

    `clock`: seconds that never go back.
    """

    tenant: str
    credential_id: int
    connection: Connection
    lease: Lease
    log: SyncLog
    settings: Settings
    mode: Mode
    rewrite: bool = False
    quiet: bool = False
    after_chunk: Callable[[str, Counts], None] = lambda _entity, _counts: None
    clock: Callable[[], float] = time.monotonic

    def hold(self) -> None:
        """Extend the lease, in a transaction of its own. Raises LeaseLost and SyncStopped."""
        with self.connection.begin():
            self.lease.extend(self.connection)


@dataclass(slots=True, kw_only=True)
class StreamContext(SyncContext):
    """One of the tenant's streams to build. `night`: as that of an entity."""

    stream: StreamSpec
    night: date | None = None
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    result: EntityResult = field(init=False)

    def __post_init__(self) -> None:
        self.result = EntityResult(self.stream.name, self.mode)

    @property
    def doing(self) -> str:
        """For error messages."""
        return f"build of {self.stream.name} for tenant {self.tenant}"


@dataclass(slots=True, kw_only=True)
class EntityContext(SyncContext):
    """One of the tenant's entities to sync, or one of its lists: then `whole` is what the others before it did.

    `night`: of a full sync that need not read everything, as whole reads are spread over several nights. `looked`: what
    a look has seen, by entity or list.
    """

    spec: EntitySpec
    client: ServiceTitanClient
    window: Window = Window()
    allow_deletions: bool = False
    night: date | None = None
    whole: EntityResult | None = None
    looked: Mapping[str, Looked] = field(default_factory=dict)
    result: EntityResult = field(init=False)

    def __post_init__(self) -> None:
        self.result = EntityResult(self.spec.name, self.mode)

    @property
    def doing(self) -> str:
        """For error messages."""
        return f"{self.mode} sync of {self.spec.name} for tenant {self.tenant}"

    @property
    def entity(self) -> str:
        """What a person calls it: the entity, also while one of its lists is read."""
        return self.spec.name if self.whole is None else self.whole.entity

    def looked_at(self, cursor: Cursor) -> Looked | None:
        """What a look has seen. It counts only if no other sync has moved the cursor since."""
        looked = self.looked.get(self.spec.name)
        return looked if looked is not None and looked.cursor == cursor else None

    def counts_so_far(self) -> Counts:
        """The entity's figures, with those of its lists that were read before."""
        return Counts().plus(self.result.counts) if self.whole is None else self.whole.counts.plus(self.result.counts)
