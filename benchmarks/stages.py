"""Where the client's time goes: µs of CPU a row for each stage of ours, and for the same stage of the baseline.

One page of each entity, a chunk of 2,000 of its records, each stage alone and the lowest of some runs, so with warm
caches: the stages add up to less than a whole load, which sync.py measures. Run by sync.py.
"""

import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import baseline
import httpx
from job import ENTITIES, Job
from sqlalchemy import Connection, make_url

from st_pipeline.entities import ENTITIES as SPECS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres import chunks
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.protocol import record_hash
from st_pipeline.servicetitan.envelope import read_envelope
from st_pipeline.servicetitan.network import TimeLimits
from st_pipeline.servicetitan.transport import send_request
from st_pipeline.validation.chunk import newest_of_each_key
from st_pipeline.validation.decode import decode_records
from st_pipeline.validation.drift import drift_of
from st_pipeline.validation.frame import build_columns, checked_table
from st_pipeline.validation.schema import failing_rows, warnings

ROWS, RUNS = 2_000, 7
LIMIT_BYTES = 2**30
LIMITS = TimeLimits(request_seconds=120, connect_seconds=10)
Stages = dict[str, float]


def main() -> None:
    """Print the table."""
    job = Job.read()
    gc.disable()  # as while a chunk is worked on; for both sides
    engine = open_engine(make_url(job.database_url).set(drivername=DRIVER))
    with baseline.signed_in(job) as http, engine.connect() as connection:
        for entity in ENTITIES:
            spec = SPECS[entity]
            body, fetched = fetch(http, job, spec)
            print(f"\n{entity}: µs of client CPU a row, stage by stage, lowest of {RUNS}")
            for name, stages in (("ours", ours), ("baseline", theirs)):
                print(f"  {name}\n    {'fetch and unpack':44}{fetched * 1e6:7.1f}")
                for stage, seconds in stages(connection, spec, body).items():
                    print(f"    {stage:44}{seconds * 1e6:7.1f}")


def lowest(work: Callable[[], Any], rows: int = ROWS) -> tuple[Any, float]:
    """What `work` returns, and its CPU seconds a row."""
    best = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        result = work()
        best = min(best, time.process_time() - started)
    return result, best / rows


def fetch(http: httpx.Client, job: Job, spec: EntitySpec) -> tuple[bytes, float]:
    """The first page of a feed, and what fetching and unpacking it costs a row."""
    assert spec.feed_path is not None
    request = http.build_request("GET", spec.feed_path.replace("{tenant}", str(job.tenant_id)))
    answer, seconds = lowest(lambda: send_request(http, request, "fetch", limit_bytes=LIMIT_BYTES, limits=LIMITS), 1)
    return answer.body, seconds / len(read_envelope(answer.body, "split").data)


def ours(connection: Connection, spec: EntitySpec, body: bytes) -> Stages:
    """Our stages."""
    stages: Stages = {}
    envelope, seconds = lowest(lambda: read_envelope(body, "split"), 1)
    stages["split the page"] = seconds / len(envelope.data)
    raw = envelope.data[:ROWS]
    records, stages["copy each record's bytes"] = lowest(lambda: [bytes(record) for record in raw])
    decoded, stages["decode, look for NUL and bad UTF-8"] = lowest(lambda: decode_records(spec, records))
    _, stages["find repeated keys"] = lowest(lambda: newest_of_each_key(decoded.rows))
    (columns, _), stages["rows to columns"] = lowest(lambda: build_columns(spec, decoded.rows))
    table, stages["Arrow table of what is checked"] = lowest(lambda: checked_table(spec, columns))
    _, stages["pandera, warnings"] = lowest(lambda: (failing_rows(spec, table), warnings(spec, table)))
    _, stages["drift"] = lowest(lambda: drift_of(spec, columns, records))
    hashes, stages["hash"] = lowest(lambda: [record_hash(record) for record in records])
    for name, kept in (("COPY with full_data", records), ("COPY without", None)):
        _, stages[name] = lowest(partial(written, connection, spec, chunks.with_bookkeeping(columns, hashes, kept)))
    return stages


def written(connection: Connection, spec: EntitySpec, table: Any) -> None:
    """Copy into the empty table, and leave it empty."""
    with connection.begin() as transaction:
        chunks.copy_first_rows(connection, spec, 1, table)
        transaction.rollback()


def theirs(connection: Connection, spec: EntitySpec, body: bytes) -> Stages:
    """The baseline's stages."""
    stages: Stages = {}
    now = datetime.now(UTC)
    driver: Any = connection.connection.driver_connection
    for full_data, name in ((True, "with full_data"), (False, "without")):
        read_page = baseline.page_reader(spec, full_data=full_data)
        page, seconds = lowest(lambda read_page=read_page: read_page(body), 1)  # type: ignore[misc]
        stages[f"read the page {name}"] = seconds / len(page.data)
        page.data = page.data[:ROWS]
        typed = baseline.typed_rows(spec, full_data=full_data)
        rows, stages[f"rows {name}"] = lowest(lambda page=page, typed=typed: list(typed(page, now)))  # type: ignore[misc]

        def copy(rows: list[tuple[Any, ...]] = rows, full_data: bool = full_data) -> None:
            baseline.copy(driver, spec, rows, full_data=full_data)
            driver.rollback()

        _, stages[f"COPY {name}"] = lowest(copy)
    return stages


if __name__ == "__main__":
    main()
