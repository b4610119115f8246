"""What each entity costs: records, requests, CPU seconds of client and Postgres, in three syncs.

Here: a first load, a sync when nothing changed, and one when 1 % of every entity did, entity by entity. Not here: our
load beside a bare program, and where the client's time goes (sync.py).

What a sync does before its first entity and after its last stands in a line of its own: lease, token, log, and in a
full one the count of what it will read, whose requests stand with the entities. Postgres's CPU is told in hundredths of
a second: of an entity with few records it says little.

    make bench-all                                  200,000 records; about 3 minutes
    .venv/bin/python benchmarks/all_entities.py --records 20000
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import structlog
from job import postgres_seconds
from ours import settings_of
from place import Place, made_place
from sqlalchemy import make_url

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.validation.chunk import validate_chunk

# Of all entities together, by how the simulator makes up a company with half as many customers as invoices.
RECORDS_AN_INVOICE = 8.1
LEAST_RECORDS = 1_000  # below that, what a record costs is the fixed cost of a sync
AROUND = "(beginning and end)"
COLUMNS = f"{'':28}{'records':>9}{'requests':>10}{'client, s':>11}{'µs each':>9}{'Postgres, s':>13}{'µs each':>9}"


@dataclass
class Lap:
    """What one entity cost in one sync. CPU in seconds."""

    client: float = 0.0
    postgres: float = 0.0
    records: int = 0
    requests: int = 0

    def line(self, name: str) -> str:
        """A row of the table."""
        dear = self.records >= LEAST_RECORDS
        client, postgres = (
            f"{seconds / self.records * 1e6:.0f}" if dear else "-" for seconds in (self.client, self.postgres)
        )
        figures = f"{self.records:>9,}{self.requests:>10,}{self.client:>11.2f}{client:>9}"
        return f"{name:28}{figures}{self.postgres:>13.2f}{postgres:>9}"


class Bench:
    """A tenant and its database."""

    def __init__(self, place: Place) -> None:
        self.place, self.job = place, place.job("all_entities", full_data=True)
        self.settings = settings_of(self.job)
        self.engine = open_engine(make_url(self.job.database_url).set(drivername=DRIVER))

    def sync(self, name: str, configuration: SyncConfiguration) -> None:
        """Sync, print what each entity cost, and stop if the tables are not equal to the source."""
        self.place.tenant.requests(reset=True)
        started, laps = time.monotonic(), Laps(self.job.postmaster)
        with TenantSync(self.engine, self.settings, "bench", configuration) as sync:
            laps.take_what_comes_before(sync)
            for outcome in sync.entities():
                laps.take(outcome.entity, outcome.result.counts.processed)
        laps.take(AROUND)
        assert sync.result.success, sync.result.errors
        for operation, number in self.place.tenant.requests()["by_operation"].items():
            laps.of[AROUND if operation == "token" else operation.partition(".")[0]].requests += number
        total = laps.total(sync.result.counts.processed)
        print(f"\n{name}: {time.monotonic() - started:.1f} s\n{COLUMNS}")
        for entity, lap in {**laps.of, "all": total}.items():
            print(lap.line(entity), flush=True)
        self._prove()

    def _prove(self) -> None:
        with self.engine.connect() as connection:
            found = prove_tenant(connection, "bench", self.place.tenant.truth()).differences
        assert found == [], found

    def vacuum(self) -> None:
        """What autovacuum, off here, does soon after a load."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")

    def change(self, share: float) -> None:
        """Let a share of every entity's records change, at least one."""
        truth = self.place.tenant.truth()
        self.place.tenant.advance(changed={name: max(1, int(truth[name]["live"] * share)) for name in ENTITIES})


class Laps:
    """The cost of a sync's parts, one after the other. Looking at what Postgres used (7 ms) is no part of any."""

    def __init__(self, postmaster: int) -> None:
        self.of: dict[str, Lap] = {}
        self._postmaster = postmaster
        self._postgres, self._client = postgres_seconds(postmaster), time.process_time()

    def take(self, name: str, records: int = 0) -> None:
        """What was used since the last one belongs to this one."""
        client, postgres = time.process_time(), postgres_seconds(self._postmaster)
        lap = self.of.setdefault(name, Lap())
        lap.client += client - self._client
        lap.postgres += postgres - self._postgres
        lap.records += records
        self._postgres, self._client = postgres, time.process_time()

    def take_what_comes_before(self, sync: TenantSync) -> None:
        """Let what a sync does before its first entity be a part of its own."""
        count = sync._expected  # noqa: SLF001 - nobody is told when it ends

        def counted(skip: Callable[[str], bool]) -> int | None:
            number = count(skip)
            self.take(AROUND)
            return number

        sync._expected = counted  # type: ignore[method-assign]  # noqa: SLF001

    def total(self, records: int) -> Lap:
        """All of them. `records`: what the source sent, without the streams' own."""
        laps = self.of.values()
        client, postgres = sum(lap.client for lap in laps), sum(lap.postgres for lap in laps)
        return Lap(client, postgres, records, sum(lap.requests for lap in laps))


@click.command()
@click.option("--records", default=200_000, show_default=True, help="Of all entities together, about.")
def main(records: int) -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for spec in LISTS.values():
        validate_chunk(spec, [b'{"id":1}'])  # what pandera imports and builds once
    with made_place(int(records / RECORDS_AN_INVOICE)) as place:
        place.tenant.truth()  # the simulator makes up what nobody asked for yet
        bench = Bench(place)
        bench.sync("first load", SyncConfiguration(incremental_only=False))
        bench.vacuum()
        bench.sync("incremental, nothing changed", SyncConfiguration())
        bench.change(0.01)
        bench.sync("incremental, 1 % changed", SyncConfiguration())
        bench.engine.dispose()


if __name__ == "__main__":
    main()
