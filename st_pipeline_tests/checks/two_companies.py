"""Two companies at the simulator after their first sync, in one of which a test plants what is wrong.

Here: planting, syncing, evaluating all checks. Not here: what must be true of them.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from st_pipeline.checks.evaluate import after_sync, evaluate, every_tenant
from st_pipeline.checks.spec import CheckedTenant, Status, Verdict
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data

Failing = set[tuple[str, str, str]]
SIZES = {"customers": 20, "invoices": 60, "settings": {"rate_limit_per_second": None}}


@dataclass
class TwoCompanies:
    """`acme` and `bolt`. `later`: how far the checks' clock is ahead."""

    sources: dict[str, SimulatedTenant]
    settings: Settings
    engine: Engine
    later: timedelta = field(default=timedelta(0))

    @property
    def tenants(self) -> dict[str, CheckedTenant]:
        """By company."""
        with self.engine.connect() as connection:
            return {one.partition_key: one for one in every_tenant(connection)}

    def execute(self, statement: str, **bound: Any) -> int:
        """What a person does in psql; how many rows it touched. `:acme`, `:bolt`: their credentials."""
        ids = {name: one.credential_id for name, one in self.tenants.items() if f":{name}" in statement}
        with self.engine.begin() as connection:
            return connection.execute(text(statement), {**ids, **bound}).rowcount

    def value(self, query: str) -> Any:
        """The first value that Postgres answers."""
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar()

    def verdicts(self, *only: str) -> list[Verdict]:
        """The verdicts of these checks, or of all, on both."""
        tenants = list(self.tenants.values())
        return evaluate(self.engine, self.settings, tenants, only=only or None, now=datetime.now(UTC) + self.later)

    def failing(self, *only: str) -> Failing:
        """Tenant, asset and check of what fails."""
        return {(v.tenant, v.asset, v.check) for v in self.verdicts(*only) if v.status is Status.FAILED}

    def verdict(self, tenant: str, asset: str, check: str) -> Verdict:
        """One verdict, evaluated now."""
        return next(v for v in self.verdicts(check) if (v.tenant, v.asset) == (tenant, asset))

    def sync(self, tenant: str, **options: Any) -> SyncResult:
        """A sync, without checks."""
        result = synchronize_data(tenant, SyncConfiguration(**options), settings=self.settings, engine=self.engine)
        assert result.success, result.errors
        return result

    def after_poll(self, tenant: str, *changed: str) -> list[Verdict]:
        """What a poll evaluates that changed these entities."""
        now = datetime.now(UTC) + self.later
        return after_sync(self.engine, self.settings, self.tenants[tenant], changed, is_full=False, now=now)
