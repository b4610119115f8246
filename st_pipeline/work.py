"""The order to sync one tenant and entity, and what came of it.

Here: the two values. Not here: doing it (sync.py), orders for a whole tenant (tenant_sync.py).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.records import Counts, Mode
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Window:
    """A range of modification times: `start` inclusive, `end` exclusive, None open. Timezone-aware."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(slots=True)
class EntityResult:
    """What a sync of one tenant and entity did."""

    entity: str
    mode: Mode
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    cursor_before: str | None = None
    cursor_after: str | None = None
    warnings: Counter[str] = field(default_factory=Counter)
    nul_records: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class EntityWork:
    """One tenant and entity to sync, and everything it takes. `after_chunk` hears of each committed chunk."""

    spec: EntitySpec
    tenant: str
    credential_id: int
    client: ServiceTitanClient
    connection: Connection
    lease: Lease
    log: SyncLog
    settings: Settings
    mode: Mode
    window: Window = Window()
    rewrite: bool = False
    allow_deletions: bool = False
    quiet: bool = False
    after_chunk: Callable[[str, Counts], None] = lambda _entity, _counts: None
    result: EntityResult = field(init=False)

    def __post_init__(self) -> None:
        self.result = EntityResult(self.spec.name, self.mode)

    @property
    def doing(self) -> str:
        """For error messages."""
        return f"{self.mode} sync of {self.spec.name} for tenant {self.tenant}"
