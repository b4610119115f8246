"""A platform small enough for a test: our database, tenants at the simulator, and runs of our jobs in this process.

Here: what a test does to it and how it asks what became of it. Not here: tests, and opening anything (conftest.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from sqlalchemy import Engine, text

from st_pipeline.checks.spec import TENANT
from st_pipeline.defs.assets import build_assets
from st_pipeline.defs.changed_checks import changed_checks
from st_pipeline.defs.jobs import full_sync, incremental_poll, incremental_sync, nightly_full_sync
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import TENANTS, register_tenants
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.postgres import poll_claims
from st_pipeline.settings import Settings, load_settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.streams import STREAMS
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.night_plan import plan_night
from st_pipeline_tests.onboarding import onboard

ALL = tuple(SYNCED)
WRONG_SECRET = "cs.wrong"
# The simulator's tenants are small: one page of each entity, all of them synced in a second.
SIZES = {"customers": 30, "invoices": 60, "settings": {"rate_limit_per_second": None}}

# Ours but for the minute between in-run retries.
QUICK = dg.Definitions(
    assets=[build_assets(retry_delay_seconds=0)],
    jobs=[incremental_sync, full_sync, incremental_poll, nightly_full_sync, changed_checks],
    resources={"postgres": Postgres(), "servicetitan": ServiceTitan()},
)


def incremental_sync_job() -> dg.JobDefinition:
    """For `dagster.reconstructable`, which wants a function of a module."""
    return QUICK.resolve_job_def("incremental_sync")


@dataclass
class Platform:
    """Our database, a Dagster instance and the simulator's tenants by partition key."""

    engine: Engine
    settings: Settings
    instance: dg.DagsterInstance
    make: Callable[..., SimulatedTenant]
    simulated: dict[str, SimulatedTenant] = field(default_factory=dict)

    def add(self, *tenants: str, secret: str | None = None, register: bool = True, **spec: object) -> None:
        """Simulate tenants, store their credentials (with another secret: broken ones) and register the partitions."""
        for tenant in tenants:
            environment = tenant.partition("@")[2] or "production"
            self.simulated[tenant] = self.make(environment, **SIZES | spec)
            self.store_secret(tenant, secret or self.simulated[tenant].client_secret)
        if register:
            register_tenants(self.instance, self.engine)

    def store_secret(self, tenant: str, secret: str) -> None:
        """Store a tenant's credential, in place of the one there."""
        onboard(self.simulated[tenant], self.settings, self.engine, tenant.partition("@")[0], secret=secret)

    def settings_of_runs(self) -> Settings:
        """The settings as a run reads them: with the simulator in ServiceTitan's place."""
        return load_settings()

    def run(
        self,
        job: str,
        first: str,
        last: str | None = None,
        *,
        only: str | tuple[str, ...] | None = None,
        tags: dict[str, str] | None = None,
        **options: object,
    ) -> dg.ExecuteInProcessResult:
        """Run a job over one partition or a range, as the launchpad would with these options."""
        ends = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
        config = {"ops": {"sync_tenants": {"config": options}}} if options else None
        return QUICK.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=first if last is None else None,
            tags=(tags or {}) | (ends if last is not None else {}),
            asset_selection=None if only is None else [asset_key(name) for name in _names(only)],
            run_config=config,
            raise_on_error=False,
        )

    def poll(self, *tenants: str, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Run a worker when exactly these tenants are due, those named first for the longest."""
        with self.engine.begin() as connection:
            poll_claims.include_loaded(connection)
        self.change(
            "UPDATE tenant_polls p SET claimed_by = NULL, claimed_until = NULL, "
            "due_at = coalesce(now() - make_interval(mins => 60 - array_position(:named, t.partition_key)), "
            "now() + interval '1 day') FROM tenants t WHERE t.credential_id = p.credential_id",
            named=list(tenants),
        )
        return self.work(tags)

    def work(self, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Run a worker: it polls what is due."""
        return QUICK.resolve_job_def("incremental_poll").execute_in_process(
            instance=self.instance,
            run_config={"ops": {"poll_tenants": {"config": {"worker": 1}}}},
            tags=tags,
            raise_on_error=False,
        )

    def night(self, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Plan a night, and run its worker."""
        with self.engine.begin() as connection:
            plan_night(connection, load_settings(), datetime.now(UTC))
        return QUICK.resolve_job_def("nightly_full_sync").execute_in_process(
            instance=self.instance,
            run_config={"ops": {"sync_planned_tenants": {"config": {"worker": 1}}}},
            tags=tags,
            raise_on_error=False,
        )

    def partitions(self, entity: str) -> tuple[set[str], set[str]]:
        """Materialized and failed partitions of an entity's asset, from the cache that the UI reads."""
        value = get_and_update_asset_status_cache_value(self.instance, asset_key(entity), TENANTS)
        if value is None:
            return set(), set()
        failed = set(value.deserialize_failed_partition_subsets(TENANTS).get_partition_keys())
        return set(value.deserialize_materialized_partition_subsets(TENANTS).get_partition_keys()) - failed, failed

    def failed(self) -> set[tuple[str, str]]:
        """Every pair of tenant and entity that the UI shows as failed."""
        return {(tenant, entity) for entity in ALL for tenant in self.partitions(entity)[1]}

    @contextmanager
    def held(self, tenant: str) -> Iterator[None]:
        """For the block, another run works on the tenant."""
        with TenantSync(self.engine, self.settings, tenant, SyncConfiguration()):
            yield

    def tags(self, run: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> dict[str, str]:
        """The run's tags, ours only, without their prefix."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return {name.partition("/")[2]: v for name, v in found.tags.items() if name.startswith("st_pipeline/")}

    def figures(self, run: dg.ExecuteInProcessResult) -> dict[str, int]:
        """The run's figures, from the tag that shows them in the list of runs."""
        written = dict(part.rsplit(" ", 1) for part in self.tags(run)["result"].split(", "))
        return {name: int(value) for name, value in written.items()}

    def rows(self, sql: str, **values: object) -> list[tuple]:
        """What our database says."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]

    def value(self, sql: str, **values: object) -> Any:
        """The one value of the one row."""
        ((value,),) = self.rows(sql, **values)
        return value

    def change(self, sql: str, **values: object) -> None:
        """Change something in our database."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), values)


def _names(only: str | tuple[str, ...]) -> tuple[str, ...]:
    return (only,) if isinstance(only, str) else only


def materialized(run: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> dict[tuple[str, str], dict[str, Any]]:
    """The metadata of a run's materializations by tenant and entity; each pair at most once. Without asset `tenant`."""
    made = [e.step_materialization_data.materialization for e in run.all_events if e.is_step_materialization]
    events = [event for event in made if event.asset_key != asset_key(TENANT)]
    pairs = [(str(event.partition), event.asset_key.path[-1]) for event in events]
    assert len(pairs) == len(set(pairs))
    return {
        pair: {name: value.value for name, value in event.metadata.items()}
        for pair, event in zip(pairs, events, strict=True)
    }


def of_entities(run: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    """The pairs a run materialized, streams left out: which of them a change reaches is another test's matter."""
    return {pair for pair in materialized(run) if pair[1] not in STREAMS}


def failures(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What the run's Failure says of each failed tenant or pair."""
    data = [event.step_failure_data for event in run.all_events if event.is_step_failure]
    assert len(data) == 1
    assert data[0].user_failure_data is not None
    return dict(data[0].user_failure_data.metadata["failed"].value)  # type: ignore[arg-type]


def pairs(*tenants: str, entities: tuple[str, ...] = ALL) -> set[tuple[str, str]]:
    """All pairs of these tenants and entities."""
    return {(tenant, entity) for tenant in tenants for entity in entities}
