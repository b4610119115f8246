"""What a check is.

Here: the values that rules are written with. Not here: the list of checks (registry), running them (evaluate), verdicts
that are stored (postgres/check_verdicts.py).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, text

from st_pipeline.checks.thresholds import Thresholds
from st_pipeline.postgres.check_verdicts import Finding, Severity, Status, Verdict, load
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings

__all__ = [
    "ALL_TENANTS",
    "AWAITS",
    "TENANT",
    "Check",
    "CheckInput",
    "CheckedTenant",
    "Finding",
    "Rule",
    "Severity",
    "Status",
    "Threshold",
    "Verdict",
]

TENANT = "tenant"  # the asset of what concerns a tenant as a whole
ALL_TENANTS = "all_tenants"  # beside an asset's checks in Dagster: how many tenants fail one. No check is called so
# A key of figures: since when a difference waits to be confirmed, by an evaluation that a later poll makes.
AWAITS = "awaits_confirmation_since"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that a person may set. Its unit is in its name: `share`, `late_minutes`."""

    name: str
    default: float
    description: str


class CheckedTenant(NamedTuple):
    """A tenant to check."""

    credential_id: int
    partition_key: str


@dataclass(frozen=True, slots=True)
class CheckInput:
    """What a rule is asked: about these tenants, and about those of the check's assets that are in `assets`."""

    engine: Engine
    settings: Settings
    tenants: Sequence[CheckedTenant]
    assets: frozenset[str]
    now: datetime
    thresholds: Thresholds

    @property
    def credential_ids(self) -> list[int]:
        """Those of the tenants."""
        return [tenant.credential_id for tenant in self.tenants]

    def rows(self, query: str, **values: Any) -> Sequence[Row[Any]]:
        """The rows of a query in a short transaction of its own. `:ids`, the tenants, and `:now` are given."""
        with transaction(self.engine, "read what a check compares") as connection:
            return self._rows(connection, query, values)

    def joined_rows(self, query: str, **values: Any) -> Sequence[Row[Any]]:
        """The same for a query that joins whole tables: no nested loop is taken.

        Freshly loaded tables have no statistics yet, and Postgres would read one of them again for each row of another.
        """
        with transaction(self.engine, "read what a check compares") as connection:
            connection.execute(text("SET LOCAL enable_nestloop = off"))
            return self._rows(connection, query, values)

    def _rows(self, connection: Connection, query: str, values: dict[str, Any]) -> Sequence[Row[Any]]:
        bound = {"ids": self.credential_ids, "now": self.now, **values}
        return connection.execute(text(query), bound).all()

    def stored(self, check: str) -> dict[tuple[int, str], Verdict]:
        """The stored verdicts of a check on these tenants and assets, by both: what it found the last time."""
        with transaction(self.engine, "read what a check found before") as connection:
            found = load(connection, credential_ids=self.credential_ids, assets=self.assets, checks=[check])
        return {(one.credential_id, one.asset): one for one in found}


Rule = Callable[[CheckInput], Iterable[Finding]]
"""Finds for each tenant and asset it was asked about. Without a finding, there is nothing to check there (yet).

It is about many tenants at once: one query for all of them. It sends no request while a transaction is open.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `assets`: entities or streams; `(TENANT,)` for what concerns a tenant as a whole.

    `description`: what is true when it passes. `advice`: what to do when it fails. `is_time_driven`: time alone can
    make it fail, so it is evaluated with every tick. `at_tick`: the credentials for which that is worth its cost; None:
    all. `reads`: the entities whose changes a check of `TENANT` depends on; empty: any. `reads_all_rows`: it takes CPU
    time in proportion to the tenant's tables, so polls evaluate it only every ST_PIPELINE_CHECKS_PAUSE_MINUTES while it
    passes.
    """

    name: str
    assets: tuple[str, ...]
    severity: Severity
    description: str
    advice: str
    thresholds: tuple[Threshold, ...]
    rule: Rule
    is_time_driven: bool = False
    at_tick: Callable[[CheckInput], Collection[int]] | None = None
    reads: tuple[str, ...] = ()
    reads_all_rows: bool = False

    @property
    def is_asked_with_every_tick(self) -> bool:
        """Is it evaluated for all tenants with every tick, so that polls need not?"""
        return self.is_time_driven and self.at_tick is None

    def is_about(self, changed: frozenset[str]) -> frozenset[str]:
        """The assets to check again after these entities and streams changed."""
        about = frozenset(self.assets) & changed
        if TENANT in self.assets and (not self.reads or not changed.isdisjoint(self.reads)):
            about |= {TENANT}
        return about
