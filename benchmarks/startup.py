"""What a sync that finds nothing costs in a process of its own: CPU seconds, and how many of them are imports.

Here: the figures of whole processes, each with nothing loaded. Not here: what a sync costs in a process that runs on
(sync.py, all_entities.py).

The cheapest of some processes counts: other programs on the machine make CPU time dearer, never cheaper. Exit code 1
above MOST_SECONDS.

    make bench-startup                      a minute
"""

import logging
import os
import subprocess
import sys
from statistics import median

import click
import structlog
from job import Job
from ours import settings_of
from place import made_place
from sqlalchemy import make_url

from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.sync.functions import synchronize_data

MOST_SECONDS = 1.3  # 0.6 of them take the libraries alone
PROGRAM = """
import time
from st_pipeline import SyncConfiguration, synchronize_data
imported = time.process_time()
result = synchronize_data("bench", SyncConfiguration())
assert result.success and not result.counts.changed, (result.errors, result.counts)
print(imported, time.process_time())
"""


@click.command()
@click.option("--processes", default=9, show_default=True)
def main(processes: int) -> None:
    """Load a small tenant, then measure processes that find nothing new."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with made_place(20) as place:
        job = place.job("startup", full_data=True)
        engine = open_engine(make_url(job.database_url).set(drivername=DRIVER))
        for _ in range(2):  # the second builds what the first left to the streams
            assert synchronize_data("bench", settings=settings_of(job), engine=engine).success
        engine.dispose()
        took = [one_process(job) for _ in range(processes)]
    for name, seconds in zip(("until the sync begins", "the sync", "in all"), zip(*took, strict=True), strict=True):
        print(f"{name:24}{min(seconds):>6.2f} CPU s (median {median(seconds):.2f})")
    sys.exit(0 if min(total for _imports, _sync, total in took) <= MOST_SECONDS else 1)


def one_process(job: Job) -> tuple[float, float, float]:
    """CPU seconds until the sync begins, of the sync, in all."""
    variables = {
        "DATABASE_URL": job.database_url,
        "ST_PIPELINE_ENCRYPTION_KEYS": job.encryption_keys,
        "ST_PIPELINE_APP_KEY": job.app_key,
        "ST_PIPELINE_PRODUCTION_API_URL": job.api_url,
        "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{job.api_url}/connect/token",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True
    )
    imported, total = map(float, ended.stdout.split()[-2:])
    return imported, total - imported, total


if __name__ == "__main__":
    main()
