"""What a company's first load, a nightly whole read, and a night between two whole reads cost: bytes, requests, CPU.

Here: the bounds, and a proof after each sync that the tables equal the source. Not here: what a chunk costs (sync.py).

1. The first load of a company with 10 % inactive and 3 % deleted records: at most 1.05 times the bytes of each feed or
   list read once; look-ups by id apart, which may take as many bytes as the inactive records have.
2. A night between two whole reads, nothing changed: at most 1/20 of the first load's CPU, and of its bytes.
3. A whole read, after 30 records were altered without a new date: finds them all.

    make bench-nights                           200,000 records; about 4 minutes; exit code 1 above a bound
    .venv/bin/python benchmarks/nights.py --records 20000
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import click
import httpx
import structlog
from all_entities import RECORDS_AN_INVOICE
from job import Clock
from ours import settings_of
from place import Place, made_place
from sqlalchemy import Engine, make_url, text

from st_pipeline.cli.demo.proof import prove_tenant
from st_pipeline.entities import LISTS
from st_pipeline.entities.spec import DeletionSign
from st_pipeline.postgres import cursors
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import iter_feed, iter_list
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.sync.whole_reads import is_due
from st_pipeline.tenants.night_plan import night_of
from st_pipeline.validation.chunk import validate_chunk

MOST_BYTES = 1.05  # of each feed or list read once
LEAST_SAVED = 20  # times less than a first load, in a night between two whole reads
INACTIVE, DELETED = 0.10, 0.03
ALTERED = 30
NIGHTS = 7
COLUMNS = (
    f"{'':34}{'records':>9}{'changed':>8}{'pages':>7}{'MB':>9}{'by id':>7}{'MB':>9}"
    f"{'client s':>9}{'Postgres s':>11}{'wall s':>7}"
)
FEEDS = [spec for spec in LISTS.values() if spec.feed_path is not None]
# What is altered: a text of the record, which no other record repeats.
WORDS = {"customers": "name", "locations": "name", "invoices": "summary"}


class Weighed(httpx.BaseTransport):
    """Passes requests on, uncompressed, and adds up the bytes of the bodies: those of look-ups by id apart."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.bytes: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the simulator."""
        request.headers["Accept-Encoding"] = "identity"
        kind = "looked up" if "ids" in request.url.params else "read"
        response = self._real.handle_request(request)
        self.requests[kind] += 1
        response.stream = _Counted(response.stream, self.bytes, kind)  # type: ignore[arg-type]
        return response

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


class _Counted(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, counter: Counter[str], kind: str) -> None:
        self._stream, self._counter, self._kind = stream, counter, kind

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._counter[self._kind] += len(part)
            yield part

    def close(self) -> None:
        self._stream.close()


class Bench:
    """A tenant and its database."""

    def __init__(self, place: Place) -> None:
        self.place, self.job = place, place.job("nights", full_data=True)
        self.settings = settings_of(self.job).model_copy(update={"whole_read_nights": NIGHTS})
        self.engine: Engine = open_engine(make_url(self.job.database_url).set(drivername=DRIVER))

    def sync(self, name: str, configuration: SyncConfiguration) -> tuple[Weighed, float, int]:
        """Sync, print a line, prove the tables. What was sent, CPU seconds of both sides, records read."""
        weighed, clock, started = Weighed(), Clock(self.job.postmaster), time.monotonic()
        with TenantSync(self.engine, self.settings, "bench", configuration) as sync:
            sync.client.close()
            sync.client = ServiceTitanClient(sync.client.authentication, sync.settings, transport=weighed)
            for _ in sync.entities():
                pass
        wall, (client, postgres) = time.monotonic() - started, clock.read()
        assert sync.result.success, sync.result.errors
        counts, read, asked = sync.result.counts, weighed.bytes, weighed.requests
        print(
            f"{name:34}{counts.processed:>9,}{counts.updated:>8,}{asked['read']:>7,}{read['read'] / 1e6:>9.1f}"
            f"{asked['looked up']:>7,}{read['looked up'] / 1e6:>9.1f}{client:>9.2f}{postgres:>11.2f}{wall:>7.1f}",
            flush=True,
        )
        return weighed, client + postgres, counts.updated

    def prove(self) -> None:
        """Stop if the tables are not equal to the source."""
        with self.engine.connect() as connection:
            found = prove_tenant(connection, "bench", self.place.tenant.truth()).differences
        assert found == [], found

    def vacuum(self) -> None:
        """What autovacuum, off here, does soon after a load."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")

    def read_once(self) -> int:
        """Bytes of each feed or list read once, by nothing but the client."""
        weighed = Weighed()
        with TenantSync(self.engine, self.settings, "bench", SyncConfiguration()) as sync:
            client = ServiceTitanClient(sync.client.authentication, sync.settings, transport=weighed)
            for spec in LISTS.values():
                pages = (
                    iter_list(client, spec, prefetch=0)
                    if spec.is_read_from_list
                    else iter_feed(client, spec, start=None, prefetch=0)
                )
                for _ in pages:
                    pass
            client.close()
        return weighed.bytes["read"]

    def inactive_bytes(self) -> int:
        """Bytes of the records that feeds show as inactive and that can be looked up."""
        total = 0
        with self.engine.connect() as connection:
            for spec in FEEDS:
                if spec.ids_param:
                    query = f"SELECT sum(octet_length(full_data::text)) FROM {spec.table} WHERE active IS NOT TRUE"  # noqa: S608
                    total += connection.execute(text(query)).scalar() or 0
        return total

    def night_between(self) -> date:
        """A night in which as few entities as can be are due for a whole read."""
        with self.engine.connect() as connection:
            ids = connection.execute(text("SELECT id FROM servicetitan_credentials")).scalars().all()
            held = cursors.load_all(connection, ids)
        tonight = night_of(datetime.now(UTC))
        due = {
            night: sum(is_due("bench", spec, held[ids[0], spec.name], night, NIGHTS) for spec in FEEDS)
            for night in (tonight + timedelta(days=day) for day in range(NIGHTS))
        }
        return min(due, key=lambda night: due[night])


def made_uneven(place: Place) -> None:
    """Let 10 % of the records that have a feed become inactive, and 3 % be deleted.

    Contacts are only deleted: one that is inactive counts as deleted for us, and not in the source's own figures.
    """
    live = {name: figures["live"] for name, figures in place.tenant.truth().items()}
    still_there = [spec.name for spec in FEEDS if spec.deletion_sign is DeletionSign.ABSENT]
    place.tenant.advance(deactivated={name: int(live[name] * INACTIVE) for name in still_there})
    place.tenant.advance(deleted={spec.name: int(live[spec.name] * DELETED) for spec in FEEDS})
    place.tenant.truth()  # the simulator makes up what nobody asked for yet


def altered(place: Place) -> int:
    """Alter records without a new date."""
    number = 0
    for entity, word in WORDS.items():
        for st_id in place.tenant.ids(entity)[: ALTERED // len(WORDS)]:
            place.tenant.patch(entity, st_id, {word: f"altered {st_id}"}, touch=False)
            number += 1
    return number


def bound(what: str, value: float, most: float) -> bool:
    """Print a figure with its bound. Is it within?"""
    verdict = "within" if value <= most else "ABOVE"
    print(f"  {what}: {value:.3f}, {verdict} {most:g}")
    return value <= most


@click.command()
@click.option("--records", default=200_000, show_default=True, help="Of all entities together, about.")
def main(records: int) -> None:
    """Measure and print; exit code 1 above a bound."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for spec in LISTS.values():
        validate_chunk(spec, [b'{"id":1}'])  # what pandera imports and builds once
    with made_place(int(records / RECORDS_AN_INVOICE)) as place:
        made_uneven(place)
        bench = Bench(place)
        print(COLUMNS)
        whole = SyncConfiguration(incremental_only=False, sync_type="scheduled")
        first, first_cpu, _ = bench.sync("first load", whole)
        bench.prove()
        bench.vacuum()
        once, inactive = bench.read_once(), bench.inactive_bytes()
        night = SyncConfiguration(incremental_only=False, sync_type="scheduled", night=bench.night_between())
        between, between_cpu, _ = bench.sync("night between, nothing changed", night)
        bench.prove()
        number = altered(place)
        bench.sync("night between, 30 altered silently", night)
        _, whole_cpu, updated = bench.sync("whole read, 30 altered silently", whole)
        bench.prove()
        bench.engine.dispose()
    print(f"\neach feed or list read once: {once / 1e6:.1f} MB; inactive records: {inactive / 1e6:.1f} MB")
    within = [
        bound("first load, bytes / read once", first.bytes["read"] / once, MOST_BYTES),
        bound("first load, looked up / inactive", first.bytes["looked up"] / max(inactive, 1), 1.0),
        bound("night between, CPU / first load", between_cpu / first_cpu, 1 / LEAST_SAVED),
        bound("night between, bytes / first load", between.bytes.total() / first.bytes.total(), 1 / LEAST_SAVED),
        bound("altered without a date and not found", number - updated, 0),
    ]
    print(f"  whole read, CPU / first load: {whole_cpu / first_cpu:.3f}, no bound")
    print(f"\nverdict: {'within the bounds' if all(within) else 'ABOVE A BOUND, see above'}")
    sys.exit(0 if all(within) else 1)


if __name__ == "__main__":
    main()
