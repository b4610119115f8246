"""Tenants that hold what a test puts there, what their tables then hold, and what is marked as deleted in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.entities.made_records import expected_row, simulated_name, text_field
from st_pipeline_tests.onboarding import database_copied, onboard, settings_for

ROWS_A_PAGE, ROWS_A_CHUNK = 3, 4
LEAST_ROWS = 12
SIZES = {"customers": 12, "invoices": 24, "seed": 7}
BEGINNING = datetime(1990, 1, 1, tzinfo=UTC)
Row = dict[str, Any]
Marks = dict[str, set[int]]


@dataclass
class Tenant:
    """A simulated tenant, onboarded as `name`, that is read in pages of three and written in chunks of four."""

    source: SimulatedTenant
    settings: Settings
    engine: Engine
    name: str

    def sync(self, *only: str, **options: Any) -> SyncResult:
        """Sync these entities, or all."""
        configuration = SyncConfiguration(only=only, batch_size=ROWS_A_CHUNK, **options)
        return synchronize_data(self.name, configuration, settings=self.settings, engine=self.engine)

    @contextmanager
    def syncing(self, transport: httpx.BaseTransport, *only: str, **options: Any) -> Iterator[TenantSync]:
        """A sync with what lies between it and the simulator replaced."""
        configuration = SyncConfiguration(only=only, batch_size=ROWS_A_CHUNK, **options)
        with TenantSync(self.engine, self.settings, self.name, configuration) as sync:
            sync.client.close()
            sync.client = ServiceTitanClient(sync.client.authentication, sync.settings, transport=transport)
            yield sync

    def differences(self, *entities: str) -> list[str]:
        """What differs between the tables and the source, in these entities or in any."""
        with self.engine.connect() as connection:
            found = prove_tenant(connection, self.name, self.source.truth()).differences
        return [one for one in found if not entities or one.partition(":")[0] in entities]

    def marks(self) -> Marks:
        """Ids of the rows marked as deleted, by list."""
        marked = " UNION ALL ".join(
            f"SELECT '{one.name}' AS list, st_id FROM {one.table} JOIN tenants USING (credential_id) "  # noqa: S608
            "WHERE partition_key = :tenant AND deleted_at IS NOT NULL"
            for one in LISTS.values()
        )
        found: Marks = {name: set() for name in LISTS}
        for row in self.rows(marked, tenant=self.name):
            found[row["list"]].add(row["st_id"])
        return found

    def ids(self, spec: EntitySpec) -> list[int]:
        """Ids of the records the source has of a list."""
        return self.source.ids(simulated_name(spec.name))

    def change(self, spec: EntitySpec, st_id: int, word: str) -> None:
        """Put a word into a record of a list; the source gives it a new time."""
        self.source.patch(simulated_name(spec.name), st_id, {text_field(spec): word})

    def add(self, spec: EntitySpec) -> int:
        """Put an active copy of a list's last record under an id above all others. Returns that."""
        name, last = simulated_name(spec.name), max(self.ids(spec))
        record = self.source.record(name, last)
        self.source.insert(name, {**record, "id": last + 1})
        self.source.patch(name, last + 1, {"active": True} if "active" in record else {})  # gives it a time of its own
        return last + 1

    def word(self, spec: EntitySpec, st_id: int) -> Any:
        """What the table has where `change` puts a word."""
        column = next(column.name for column in spec.columns if column.source == text_field(spec))
        query = f"SELECT {column} AS word FROM {spec.table} JOIN tenants USING (credential_id) "  # noqa: S608
        (row,) = self.rows(f"{query} WHERE partition_key = :tenant AND st_id = :id", tenant=self.name, id=st_id)
        return row["word"]

    def expected(self, spec: EntitySpec) -> list[Row]:
        """What the table must hold of a list, by the source's own records."""
        name = simulated_name(spec.name)
        return [expected_row(spec, self.source.record(name, st_id)) for st_id in self.ids(spec)]

    def held(self, spec: EntitySpec) -> list[Row]:
        """What the table holds of a list, without rows marked as deleted."""
        columns = ", ".join(column.name for column in spec.columns)
        return self.rows(f"SELECT {columns} FROM {spec.table} WHERE deleted_at IS NULL ORDER BY st_id")  # noqa: S608

    def rows(self, query: str, **bound: Any) -> list[Row]:
        """What Postgres answers."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), bound).mappings()]

    def execute(self, statement: str, **bound: Any) -> int:
        """Change the database by hand; how many rows that touched."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement), bound).rowcount

    def asked(self) -> dict[str, int]:
        """Requests since this was last asked, by what they were for."""
        by_operation = self.source.requests()["by_operation"]
        self.source.requests(reset=True)
        return dict(by_operation)


@pytest.fixture
def tenant(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Tenant:
    """An empty one."""
    return take_on(servicetitan_tenant(), settings, engine)


def take_on(source: SimulatedTenant, settings: Settings, engine: Engine, name: str = "acme") -> Tenant:
    """Take a simulated tenant under a name."""
    source.settings(export_page_size=ROWS_A_PAGE, rate_limit_per_second=None)
    own = onboard(source, settings, engine, name)
    changes = {"list_page_size": ROWS_A_PAGE, "rate_limit": Rate(1000, 1), "max_attempts": 3}
    return Tenant(source, own.model_copy(update=changes), engine, name)


def worked_on(spec: EntitySpec) -> tuple[EntitySpec, ...]:
    """The lists of an entity that tests of all entities work on: of several, the first and the last, which is odd."""
    return tuple(dict.fromkeys((spec.read_as[0], spec.read_as[-1])))


@pytest.fixture(scope="session")
def shared_engine(postgres_server: EmbeddedServer) -> Iterator[Engine]:
    """A migrated database for the tests of this folder."""
    with database_copied(postgres_server, TEMPLATE) as engine:
        yield engine


@pytest.fixture(scope="session")
def shared_settings(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for it, with retries that do not wait."""
    return settings_for(shared_engine, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def twins(
    servicetitan_simulator: SimulatorControl, shared_settings: Settings, shared_engine: Engine
) -> Iterator[tuple[Tenant, Tenant]]:
    """Two tenants of one database whose records have the same ids, twelve or more of each entity; not synced yet.

    One pair for this folder: each test leaves its entity equal to the source.
    """
    made = []
    for name in ("acme", "twin"):
        source = servicetitan_simulator.create_tenant(**SIZES)
        made.append(take_on(source, shared_settings, shared_engine, name))
        for one in chain.from_iterable(map(worked_on, ENTITIES.values())):
            while len(made[-1].ids(one)) < LEAST_ROWS:
                made[-1].add(one)
    yield made[0], made[1]
    for tenant in made:
        tenant.source.remove()


@pytest.fixture
def company(loaded: tuple[Tenant, Tenant]) -> Iterator[Tenant]:
    """One of the loaded twins; its tests spare the other, and leave no fault behind."""
    company, twin = loaded
    marked = twin.marks()
    yield company
    company.source.clear_faults()
    assert twin.marks() == marked, "another tenant's rows were marked or unmarked"


@pytest.fixture(scope="session")
def loaded(twins: tuple[Tenant, Tenant]) -> tuple[Tenant, Tenant]:
    """The twins, loaded: one by its first sync, the other by a window alone."""
    company, twin = twins
    assert company.sync().errors == []
    assert twin.sync(modified_from=BEGINNING).errors == []
    return company, twin
