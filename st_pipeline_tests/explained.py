"""A company whose records end in every state there is.

Here: its syncs, and what is asked about its records. Not here: tests; taking it on (onboarding.py).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from st_pipeline.operations.explain import explain
from st_pipeline.operations.verdict import Asked, Explanation
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data

UNREADABLE = {"balance": "plenty"}  # a customer with it does not decode


@dataclass
class Company:
    """A simulated tenant, onboarded as `acme`."""

    source: SimulatedTenant
    settings: Settings
    engine: Engine

    def sync(self, **options: Any) -> SyncResult:
        """Sync it, whatever comes of it."""
        return synchronize_data("acme", SyncConfiguration(**options), settings=self.settings, engine=self.engine)

    def explain(self, name: str, st_id: int, asked: Asked | None = None) -> Explanation:
        """What became of a record."""
        with self.engine.connect() as connection:
            return explain(connection, "acme", name, st_id, asked)

    def customer(self, position: int = 0) -> int:
        """An active customer, by its place among them."""
        ids = [one for one in self.source.ids("customers") if self.source.record("customers", one)["active"]]
        return ids[position]

    def add(self, entity: str, like: int, **changes: Any) -> int:
        """Put a copy of a record under an id above all others."""
        new_id = max(self.source.ids(entity)) + 1
        return self.source.insert(entity, {**self.source.record(entity, like), "id": new_id, **changes})

    def execute(self, statement: str, **bound: Any) -> None:
        """What a person does in psql."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), bound)
