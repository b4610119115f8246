"""A company at the simulator, and what a test of whole syncs does to it.

Here: onboarding it, its syncs, what its tables hold. Not here: tests; the fixture `acme` stands in conftest.py.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import Engine, text

from st_pipeline.cli.demo.proof import prove_streams, prove_tenant
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import KEY
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.onboarding import onboard

ROWS_A_PAGE = 20
ROWS_A_CHUNK = 25
LONGEST_SYNC_SECONDS = 60
SIZES = {"customers": 30, "invoices": 100, "seed": 7}
IN_A_PROCESS = """
import sys
from st_pipeline import SyncConfiguration, synchronize_data
from st_pipeline.logs import configure_logs
from st_pipeline.settings import load_settings
configure_logs(load_settings())
result = synchronize_data("acme", SyncConfiguration(incremental_only=sys.argv[1] == "incremental", batch_size=25))
sys.exit(0 if result.success else 1)
"""


@dataclass
class Acme:
    """A simulated tenant, onboarded as `acme`."""

    source: SimulatedTenant
    settings: Settings
    engine: Engine

    def sync(self, **options: Any) -> SyncResult:
        """Sync it in chunks of 25 rows."""
        configuration = SyncConfiguration(**{"batch_size": ROWS_A_CHUNK, **options})
        return synchronize_data("acme", configuration, settings=self.settings, engine=self.engine)

    @contextmanager
    def syncing(self, transport: httpx.BaseTransport | None = None, **options: Any) -> Iterator[TenantSync]:
        """A sync whose entities the test takes one by one, with what lies between it and the simulator replaced."""
        settings = self.settings.model_copy(update={"rows_per_chunk": ROWS_A_CHUNK})
        with TenantSync(self.engine, settings, "acme", SyncConfiguration(**options)) as sync:
            if transport is not None:
                sync.client.close()
                sync.client = ServiceTitanClient(sync.client.authentication, sync.settings, transport=transport)
            yield sync

    def differences(self, *entities: str) -> list[str]:
        """What differs between the tables and the source: in these entities, or in all and in the streams."""
        truth = self.source.truth()
        with self.engine.connect() as connection:
            found = prove_tenant(connection, "acme", truth).differences
            if not entities:
                return found + prove_streams(connection, "acme", truth)
        return [one for one in found if one.partition(":")[0] in entities]

    def list_path(self, entity: str) -> str:
        """The address of an entity's list, for faults that spare its feed."""
        return ENTITIES[entity].list_path.replace("{tenant}", str(self.source.tenant_id))

    def environment(self, log_level: str = "ERROR") -> dict[str, str]:
        """The variables with which a process of its own syncs this tenant."""
        assert self.settings.database_url is not None
        assert self.settings.encryption_keys is not None
        return os.environ | {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "ST_PIPELINE_ENCRYPTION_KEYS": self.settings.encryption_keys.get_secret_value(),
            "ST_PIPELINE_APP_KEY": self.source.app_key,
            "ST_PIPELINE_PRODUCTION_API_URL": self.source.url,
            "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{self.source.url}/connect/token",
            "ST_PIPELINE_LIST_PAGE_SIZE": str(ROWS_A_PAGE),
            "ST_PIPELINE_RETRY_INITIAL_SECONDS": "0.001",
            "ST_PIPELINE_LOG_LEVEL": log_level,
        }

    def start_process(self, mode: str, log_level: str = "ERROR") -> "subprocess.Popen[str]":
        """The same sync in a process of its own. Its log comes through a pipe, which at DEBUG must be read."""
        return subprocess.Popen(
            [sys.executable, "-c", IN_A_PROCESS, mode],
            env=self.environment(log_level),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until(self, process: "subprocess.Popen[str]", query: str, at_least: int) -> None:
        """Wait while the process runs and Postgres answers the query with less than that."""
        give_up_at = time.monotonic() + LONGEST_SYNC_SECONDS
        while process.poll() is None and int(self.value(query) or 0) < at_least:
            assert time.monotonic() < give_up_at, f"no sync reached {at_least} in {LONGEST_SYNC_SECONDS} s"
            time.sleep(0.002)

    def rows(self, query: str, **bound: Any) -> list[tuple[Any, ...]]:
        """What Postgres answers."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), bound)]

    def value(self, query: str, **bound: Any) -> Any:
        """The first value of the first row, None where there is no row."""
        return next(iter(self.rows(query, **bound)), (None,))[0]

    def execute(self, statement: str, **bound: Any) -> int:
        """What a person does in psql; how many rows it touched."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement), bound).rowcount

    def end_the_session_that_syncs(self) -> None:
        """End the database session that holds the tenant's lease."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_locks, tenant_leases WHERE locktype = 'advisory' "
                     "AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = session_key(holder)")  # fmt: skip

    def typed_rows(self) -> dict[str, list[str]]:
        """Every row of every entity by its typed columns, without `full_data` and the pipeline's own columns."""
        return {
            spec.name: [
                row
                for (row,) in self.rows(
                    f"SELECT to_jsonb(t) - '{{full_data,record_hash,spec_version,local_synced_at}}'::text[] "  # noqa: S608
                    f"FROM {spec.table} t ORDER BY {KEY}"
                )
            ]
            for spec in ENTITIES.values()
        }

    def doubled(self) -> list[str]:
        """Tables in which a key stands twice, read without the index that forbids it."""
        keys = {spec.table: ", ".join(("credential_id", *spec.key)) for spec in ENTITIES.values()}
        keys |= {"members_stream": "tenant, customer_id", "invoices_stream": "tenant, invoice_number"}
        query = "SELECT count(*) - count(DISTINCT ({key})) FROM {table}"
        return [table for table, key in keys.items() if self.value(query.format(table=table, key=key))]

    def add(self, entity: str, **changes: Any) -> int:
        """Put a copy of the entity's newest record, changed, under an id above all others."""
        last = max(self.source.ids(entity))
        return self.source.insert(entity, {**self.source.record(entity, last), "id": last + 1, **changes})


def take_on(source: SimulatedTenant, settings: Settings, engine: Engine) -> Acme:
    """The company, not synced yet, in pages of 20 records."""
    return in_small_pages(source, onboard(source, settings, engine, own_app_key=False, name="Acme"), engine)


def in_small_pages(source: SimulatedTenant, settings: Settings, engine: Engine) -> Acme:
    """A company that is taken on already, in pages of 20 records."""
    source.settings(export_page_size=ROWS_A_PAGE, rate_limit_per_second=None)
    changes = {"retry_max_seconds": 1.5, "list_page_size": ROWS_A_PAGE, "rate_limit": Rate(1000, 1)}
    return Acme(source, settings.model_copy(update=changes), engine)
