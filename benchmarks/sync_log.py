"""How quickly the sync log answers with 1,000,000 syncs of 10,000 tenants in it, and what deleting old ones costs.

Made-up rows in a Postgres of its own. Milliseconds of CPU of Python and of Postgres together, which take turns: on an
idle machine that is the time until the last row is in Python. The wall time, the quickest of nine, stands beside it and
depends on what else runs. Exit code 1 when the last sync of each tenant, or the failures of a day, take more than
100 ms of CPU.

    make bench-log                          a few minutes, most of them for making the rows
    .venv/bin/python benchmarks/sync_log.py --syncs 100000 --tenants 1000
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from job import Clock
from sqlalchemy import Connection, Engine, make_url, text

from st_pipeline.embedded_postgres import embedded
from st_pipeline.operations.failed_syncs import failed_since
from st_pipeline.operations.history import SyncFilter, last_sync_of_each, last_syncs, totals
from st_pipeline.operations.retention import delete_old_rows
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings

BOUND_MS = 100.0
DAYS = 10
ROUNDS = 9
TENANTS = """
INSERT INTO companies (slug, name) SELECT 'company-' || n, 'Company ' || n FROM generate_series(1, :tenants) n;
INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret)
SELECT id, 'production', id, 'x', 'x' FROM companies;
"""
# One in 50 fails; ids are in the order of time, as in life.
SYNCS = """
INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, started_at,
    completed_at, duration_seconds, records_processed, records_updated, message, details)
SELECT 1 + (n * 7919) % :tenants, gen_random_uuid(), 'scheduled', 'incremental', 'all',
       CASE WHEN hashint8(n) % 50 = 0 THEN 'failed' ELSE 'completed' END, at, at + interval '2 seconds', 2, 30, 3,
       CASE WHEN hashint8(n) % 50 = 0 THEN 'invoices: ServiceTitan answered 503' END, CAST(:details AS jsonb)
FROM generate_series(1, CAST(:syncs AS bigint)) n,
     LATERAL (SELECT now() - make_interval(secs => (:syncs - n) * (86400.0 * :days / :syncs)) AS at) moment;
INSERT INTO sync_log_entities (sync_log_id, entity, mode, status, started_at, completed_at, records_processed,
    records_updated, message, error_kind)
SELECT l.id, entity, 'incremental', l.status, l.started_at, l.completed_at, 15, 1, l.message, 'ServiceUnavailable'
FROM servicetitan_sync_logs l CROSS JOIN (VALUES ('invoices'), ('jobs')) e (entity);
ANALYZE;
"""
DETAILS = (
    '{"asked": {"entities": ["customers", "locations", "jobs", "invoices"]}, "api": {"requests": 20, "retries": 0, '
    '"rate_limited": 0, "token_requests": 1, "bytes": 40960, "p50_ms": 64.0, "p95_ms": 128.0, "longest_ms": 143.2, '
    '"buckets": {"24": 12, "26": 5, "28": 3}}, "notes": {}, "warnings": {}, "drift": {}, "records_with_nul": {}}'
)
FAILED_ENTITIES = text("""
    SELECT t.partition_key, e.entity, e.mode, e.completed_at, e.message
    FROM sync_log_entities e
    JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id
    JOIN tenants t USING (credential_id)
    WHERE e.status = 'failed' AND e.started_at > now() - interval '1 day'
    ORDER BY e.completed_at DESC
""")


@click.command()
@click.option("--syncs", default=1_000_000, show_default=True, help="Rows in the log, over ten days.")
@click.option("--tenants", default=10_000, show_default=True)
def main(syncs: int, tenants: int) -> None:
    """Measure and print; exit code 1 when a bound is broken."""
    with filled(syncs, tenants) as (engine, postmaster):
        print(f"\n{syncs:,} syncs of {tenants:,} tenants over {DAYS} days")
        print(f"  {'':36}{'CPU ms':>9}{'wall':>9}")
        day = SyncFilter(status="failed", since=datetime.now(UTC) - timedelta(days=1))
        bounded: dict[str, Callable[[Connection], object]] = {
            "the last sync of each tenant": lambda c: last_sync_of_each(c, SyncFilter()),
            "the failures of a day": lambda c: last_syncs(c, day, syncs),
            "the entities that failed in a day": lambda c: c.execute(FAILED_ENTITIES).all(),
        }
        within = [measured(engine, postmaster, name, ask) <= BOUND_MS for name, ask in bounded.items()]
        print("without a bound:")
        measured(engine, postmaster, "what to retry, of an hour", lambda c: failed_since(c, timedelta(hours=1)))
        measured(engine, postmaster, "figures of a day", lambda c: totals(c, SyncFilter(since=day.since)))
        shorten(engine)
    print(f"\nverdict: {'within the bounds' if all(within) else f'more than {BOUND_MS:g} ms, see above'}")
    sys.exit(0 if all(within) else 1)


@contextmanager
def filled(syncs: int, tenants: int) -> Iterator[tuple[Engine, int]]:
    """A Postgres of its own with the rows; gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="st-pipeline-bench-"))
    folder.chmod(0o755)  # the server's account must get in
    try:
        server = embedded.start(
            folder / "postgres", options={"fsync": "off", "synchronous_commit": "off", "autovacuum": "off"}
        )
        embedded.ensure_database(server, "bench")
        engine = open_engine(make_url(server.url("bench")).set(drivername=DRIVER))
        migrate(engine)
        values = {"syncs": syncs, "tenants": tenants, "days": DAYS, "details": DETAILS}
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # no checks of keys we make up
            for statement in (*TENANTS.split(";")[:-1], *SYNCS.split(";")[:-1]):
                bound = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(text(statement), bound)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))  # not in the middle of what is measured
        yield engine, server.pid
        engine.dispose()
    finally:
        embedded.remove(folder / "postgres")
        shutil.rmtree(folder)


def measured(engine: Engine, postmaster: int, name: str, ask: Callable[[Connection], object]) -> float:
    """Ask once, then some times; print, and return the milliseconds of CPU."""
    times = []
    with engine.connect() as connection:
        found = ask(connection)
        clock = Clock(postmaster)
        for _ in range(ROUNDS):
            started = time.perf_counter()
            ask(connection)
            times.append((time.perf_counter() - started) * 1000)
        cpu = sum(clock.read()) / ROUNDS * 1000
    rows = f"{len(found):,} rows" if isinstance(found, list) else ""
    print(f"  {name:36}{cpu:>9.1f}{min(times):>9.1f}   {rows}", flush=True)
    return cpu


def shorten(engine: Engine) -> None:
    """Delete what is older than three days, and print what a sync costs."""
    started = time.perf_counter()
    report = delete_old_rows(engine, Settings(sync_log_days=3))
    seconds, rows = time.perf_counter() - started, report.deleted["sync_log"]
    name = f"deleting {rows:,} old syncs"
    print(f"  {name:36}{seconds * 1000:>9.0f}   {seconds / rows * 1e6:.0f} µs each")


if __name__ == "__main__":
    main()
