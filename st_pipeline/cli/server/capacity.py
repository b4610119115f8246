"""Do the settings fit the places in Dagster's queue and the connections of Postgres?

Here: what they need, and a sentence for each that does not fit. Not here: showing it (doctor.py, commands.py).
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, text

from st_pipeline.settings import Settings

OTHER_RUNS = 1  # first syncs, and what people ask for
# A thread that syncs a tenant has a connection for as long as that takes, and another for moments.
CONNECTIONS_A_THREAD = 2
CONNECTIONS_A_RUN = 4
# Web server, daemon and code server, the events of all runs, and a person with psql.
OTHER_CONNECTIONS = 20


def runs_needed(settings: Settings) -> int:
    """How many runs must fit into Dagster's queue at the same time."""
    return settings.poll_workers + settings.night_workers + OTHER_RUNS


def connections_needed(settings: Settings) -> int:
    """How many connections to Postgres may be open when every thread is at work."""
    workers = settings.poll_workers * settings.poll_threads * CONNECTIONS_A_THREAD
    return workers + runs_needed(settings) * CONNECTIONS_A_RUN + OTHER_CONNECTIONS


def what_does_not_fit(settings: Settings, folder: Path, connection: Connection) -> Iterator[tuple[str, str]]:
    """What is too small, and what to do about it. `folder`: of dagster.yaml."""
    places, needed = places_in(folder / "dagster.yaml"), runs_needed(settings)
    if places is not None and 0 <= places < needed:
        what = (
            f"dagster.yaml lets {places} runs work at the same time, and {settings.poll_workers} that poll, "
            f"{settings.night_workers} at night and {OTHER_RUNS} for people are {needed}: some would wait for others"
        )
        yield what, f"set max_concurrent_runs in dagster.yaml to {needed}, or ST_PIPELINE_POLL_WORKERS to less"
    allowed, wanted = connections_allowed(connection), connections_needed(settings)
    if allowed < wanted:
        what = (
            f"Postgres allows {allowed} connections, and {settings.poll_workers} workers with {settings.poll_threads} "
            f"threads each may want {wanted}, all else included: polls would fail when all are at work"
        )
        fix = f"set max_connections of Postgres to {wanted + 5} or more and restart it"
        yield what, f"{fix}, or ST_PIPELINE_POLL_WORKERS or ST_PIPELINE_POLL_THREADS to less"


def places_in(file: Path) -> int | None:
    """How many runs dagster.yaml lets work at the same time; None where it does not say."""
    written = file.read_text() if file.exists() else ""
    found = re.search(r"^ *max_concurrent_runs: *(-?\d+)", written, re.MULTILINE)
    return int(found[1]) if found else None


def connections_allowed(connection: Connection) -> int:
    """How many connections our role may open, together with all others."""
    query = text("""
        SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) FROM pg_settings
        WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
    """)
    return int(connection.execute(query).scalar_one())
