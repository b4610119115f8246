"""Our first load of the same two entities, as a program of its own. Run by sync.py."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
from job import ENTITIES, Clock, Figures, Job
from sqlalchemy import make_url

from st_pipeline.entities import ENTITIES as SPECS
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.settings import Settings
from st_pipeline.sync import deletions, functions
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.validation.chunk import validate_chunk


def main() -> None:
    """Sync both entities in full and print the figures, the walk for deletions apart."""
    validate_chunk(SPECS["membership_types"], [b'{"id":1}'])  # pandera imports what it needs with the first check
    imports = time.process_time()
    job = Job.read()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock = Clock(job.postmaster)
    finish, walks = deletions.finish_full_sync, [0.0, 0.0, 0.0]

    def finish_timed(*args: Any, **options: Any) -> None:
        walk, began = Clock(job.postmaster), time.monotonic()
        finish(*args, **options)
        for index, seconds in enumerate((*walk.read(), time.monotonic() - began)):
            walks[index] += seconds

    deletions.finish_full_sync = finish_timed
    engine = open_engine(make_url(job.database_url).set(drivername=DRIVER))
    started = time.monotonic()
    result = functions.synchronize_data(
        "bench", SyncConfiguration(only=ENTITIES, incremental_only=False), settings=settings_of(job), engine=engine
    )
    wall, (client, postgres) = time.monotonic() - started, clock.read()
    assert result.success, result.errors
    peak_mb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    figures = Figures(
        rows=result.counts.processed,
        imports=imports,
        client=client - walks[0],
        postgres=postgres - walks[1],
        presence_client=walks[0],
        presence_postgres=walks[1],
        wall=wall - walks[2],
        peak_mb=peak_mb,
    )
    sys.stdout.buffer.write(msgspec.json.encode(figures))


def settings_of(job: Job) -> Settings:
    """Settings as they come, but for addresses and keys."""
    return Settings(
        encryption_keys=job.encryption_keys,
        app_key=job.app_key,
        production_api_url=job.api_url,
        production_auth_url=f"{job.api_url}/connect/token",
        full_data=job.full_data,
    )


if __name__ == "__main__":
    main()
