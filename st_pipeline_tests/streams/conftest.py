"""A company whose streams are watched.

Here: the fixture and how a test asks for stream records. Not here: tests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text

from st_pipeline.rates import Rate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.tenants.companies import update_company
from st_pipeline_tests.onboarding import SyncedCompany, onboard


@dataclass
class Watched:
    """A simulated tenant, onboarded as `tenant`, and its stream records."""

    tenant: str
    source: SimulatedTenant
    settings: Settings
    engine: Engine

    def sync(self, **options: Any) -> SyncResult:
        """Sync it and take for granted that all went well."""
        configuration = SyncConfiguration(**options)
        result = synchronize_data(self.tenant, configuration, settings=self.settings, engine=self.engine)
        assert result.success, result.errors
        return result

    def outcome(self, stream: str, **options: Any) -> EntityOutcome:
        """Sync it and return what came of one stream."""
        return next(one for one in self.sync(**options).outcomes if one.entity == stream)

    def records(self, stream: str) -> dict[str, dict[str, Any]]:
        """A stream's records by invoice number or customer id."""
        key = "customer_id" if stream == "members_stream" else "invoice_number"
        with self.engine.connect() as connection:
            rows = connection.execute(text(f"SELECT * FROM {stream}")).mappings().all()  # noqa: S608 - a stream's name
        return {row[key]: dict(row) for row in rows}

    def member(self, customer_id: int) -> dict[str, Any]:
        """One record of members_stream."""
        return self.records("members_stream")[str(customer_id)]

    def invoice(self, invoice_id: int) -> dict[str, Any]:
        """One record of invoices_stream."""
        return self.records("invoices_stream")[str(invoice_id)]

    def customer(self, position: int = 0) -> int:
        """A customer that was not merged, by its place among them."""
        ids = [i for i in self.source.ids("customers") if self.source.record("customers", i)["mergedToId"] is None]
        return ids[position]

    def add(self, entity: str, like: int, **changes: Any) -> int:
        """Put a copy of a record under a new id, with these changes."""
        new_id = 9_000_000_000 + max(self.source.ids(entity)) % 1_000_000_000 + len(self.source.ids(entity))
        return self.source.insert(entity, {**self.source.record(entity, like), "id": new_id, **changes})

    def rows(self, query: str, **bound: Any) -> list[Any]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), bound).all())

    def update(self, **values: Any) -> None:
        """Change what is given about the company."""
        with self.engine.begin() as connection:
            update_company(connection, self.tenant.partition("@")[0], **values)


Watch = Callable[..., Watched]
SIZES = {"customers": 20, "invoices": 40, "seed": 11, "settings": {"rate_limit_per_second": None}}
QUICK = {"rate_limit": Rate(1000, 1)}


@pytest.fixture
def watch(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Watch:
    """Onboard a company in an environment, with 20 customers and 40 invoices; its first sync is the test's."""

    def take_on(environment: str = "production", intacct_id: str | None = "ACME-1", **changes: Any) -> Watched:
        source = servicetitan_tenant(environment, **SIZES)
        own = onboard(source, settings, engine, intacct_id=intacct_id, trade="hvac")
        tenant = "acme" if environment == "production" else f"acme@{environment}"
        return Watched(tenant, source, own.model_copy(update=QUICK | changes), engine)

    return take_on


@pytest.fixture
def acme(synced_company: Callable[..., SyncedCompany]) -> Iterator[Watched]:
    """A company that was synced once."""
    company = synced_company({"intacct_id": "ACME-1", "trade": "hvac"}, **SIZES)
    with company.copied() as (source, settings, engine):
        yield Watched("acme", source, settings.model_copy(update=QUICK), engine)
