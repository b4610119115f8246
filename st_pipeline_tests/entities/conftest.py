"""A tenant that holds what a test puts there, and what its tables then hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.credentials.companies import add_company
from st_pipeline.credentials.registration import NewCredential, add_credential
from st_pipeline.credentials.vault import Vault
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.rates import Rate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync_configuration import SyncConfiguration, SyncResult
from st_pipeline.synchronize import synchronize_data
from st_pipeline_tests.entities.made_records import expected_row, simulated_name

ROWS_A_PAGE = 2
Row = dict[str, Any]


@dataclass
class Tenant:
    """A simulated tenant, onboarded as `acme`, that is read in pages and chunks of two."""

    source: SimulatedTenant
    settings: Settings
    engine: Engine

    def sync(self, *only: str, **options: Any) -> SyncResult:
        """Sync these entities, or all."""
        configuration = SyncConfiguration(only=only, batch_size=ROWS_A_PAGE, **options)
        return synchronize_data("acme", configuration, settings=self.settings, engine=self.engine)

    def ids(self, spec: EntitySpec) -> list[int]:
        """Ids of the records the source has of a list."""
        return self.source.ids(simulated_name(spec.name))

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

    def execute(self, statement: str) -> None:
        """Change the database by hand."""
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def asked(self) -> dict[str, int]:
        """Requests since this was last asked, by what they were for."""
        by_operation = self.source.requests()["by_operation"]
        self.source.requests(reset=True)
        return dict(by_operation)


@pytest.fixture
def tenant(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Tenant:
    """An empty one."""
    return onboard(servicetitan_tenant(), settings, engine)


def onboard(source: SimulatedTenant, settings: Settings, engine: Engine) -> Tenant:
    """Take a simulated tenant under the name `acme`."""
    source.settings(export_page_size=ROWS_A_PAGE, rate_limit_per_second=None)
    own = settings.model_copy(
        update={
            "production_api_url": source.url,
            "production_auth_url": f"{source.url}/connect/token",
            "app_key": SecretStr(source.app_key),
            "list_page_size": ROWS_A_PAGE,
            "rate_limit": Rate(1000, 1),
        }
    )
    keys = SecretStr(source.client_id), SecretStr(source.client_secret)
    with engine.begin() as connection:
        add_company(connection, "acme", name="Acme", intacct_id="INT-acme")
        new = NewCredential("acme", "production", source.tenant_id, *keys)
        add_credential(connection, Vault.from_settings(own), new)
    return Tenant(source, own, engine)
