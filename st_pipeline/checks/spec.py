"""What a check is.

Here: the values that rules are written with. Not here: the list of checks (registry), running them (evaluate), verdicts
that are stored (postgres/check_verdicts.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, Row, text

from st_pipeline.checks.thresholds import Thresholds
from st_pipeline.postgres.check_verdicts import Finding, Severity, Status, Verdict
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings

__all__ = [
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
            bound = {"ids": self.credential_ids, "now": self.now, **values}
            return connection.execute(text(query), bound).all()


Rule = Callable[[CheckInput], Iterable[Finding]]
"""Finds for each tenant and asset it was asked about. Without a finding, there is nothing to check there (yet).

It is about many tenants at once: one query for all of them. It sends no request while a transaction is open.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `assets`: entities or streams; `(TENANT,)` for what concerns a tenant as a whole.

    `description`: what is true when it passes. `advice`: what to do when it fails. `is_time_driven`: time alone can
    make it fail, so it is evaluated with every tick. `reads`: the entities whose changes a check of `TENANT` depends
    on; empty: any.
    """

    name: str
    assets: tuple[str, ...]
    severity: Severity
    description: str
    advice: str
    thresholds: tuple[Threshold, ...]
    rule: Rule
    is_time_driven: bool = False
    reads: tuple[str, ...] = ()

    def is_about(self, changed: frozenset[str]) -> frozenset[str]:
        """The assets to check again after these entities and streams changed."""
        about = frozenset(self.assets) & changed
        if TENANT in self.assets and (not self.reads or not changed.isdisjoint(self.reads)):
            about |= {TENANT}
        return about
