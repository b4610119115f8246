"""Whole syncs of a tenant, every entity and stream: what a first load, a full sync and a poll cost. Used by sync.py."""

import logging
import time
from collections.abc import Callable

import structlog
from job import Clock
from ours import settings_of
from place import Place
from sqlalchemy import make_url

from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
from st_pipeline.sync.functions import synchronize_data

LEAST_ROWS = 5_000


def measure(place: Place) -> None:
    """Print a line for each kind of sync."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    job = place.job("whole", full_data=True)
    settings, engine = settings_of(job), open_engine(make_url(job.database_url).set(drivername=DRIVER))
    everything = SyncConfiguration(incremental_only=False)

    def line(name: str, configuration: SyncConfiguration) -> None:
        _line(name, job.postmaster, lambda: synchronize_data("bench", configuration, settings=settings, engine=engine))

    print("\nwhole syncs of every entity, with full_data and the search for deletions")
    print(f"{'':28}{'rows':>9}{'client CPU':>12}{'µs/row':>8}{'Postgres':>10}{'µs/row':>8}{'pages':>8}{'wall s':>8}")
    line("first load", everything)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")  # what autovacuum, off here, does soon after a load
    line("full sync, nothing changed", everything)
    line("incremental, nothing changed", SyncConfiguration())
    place.tenant.advance(changed=place.tenant.truth("invoices")["invoices"]["live"] // 100)
    line("incremental, 1 % changed", SyncConfiguration())
    engine.dispose()


def _line(name: str, postmaster: int, sync: Callable[[], SyncResult]) -> None:
    clock, started = Clock(postmaster), time.monotonic()
    result = sync()
    wall, (client, postgres) = time.monotonic() - started, clock.read()
    assert result.success, result.errors
    rows, pages = result.counts.processed, result.counts.pages
    # Below some thousand rows the fixed cost of a sync is all there is to see.
    per_row = [f"{seconds / rows * 1e6:.1f}" if rows >= LEAST_ROWS else "-" for seconds in (client, postgres)]
    print(
        f"{name:28}{rows:>9,}{client:>12.2f}{per_row[0]:>8}{postgres:>10.2f}{per_row[1]:>8}{pages:>8}{wall:>8.1f}",
        flush=True,
    )
