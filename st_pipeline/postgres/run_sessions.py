"""A run's sign of life: an advisory lock that each of its database sessions has, and that every role sees.

Here: taking it, and asking who has it. Not here: a tenant's lease (leases), what happens to a run that has died
(defs/). A process id would not do: a run may be on another machine, or in a container with process ids of its own.
"""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from st_pipeline.postgres.database import SERVER_KEEPALIVES

LOCK = f"SELECT pg_advisory_lock_shared(session_key('{{run_id}}')), {SERVER_KEEPALIVES}"


def hold_run_lock(engine: Engine, run_id: uuid.UUID) -> None:
    """From now on every session of the engine holds the run's lock, also those opened after Postgres restarted."""
    lock = LOCK.format(run_id=run_id)

    def on_connect(connection: Any, _record: object) -> None:
        connection.autocommit = True  # one round trip instead of three
        connection.execute(lock)
        connection.autocommit = False

    with engine.begin() as connection:  # what is in the pool already
        connection.exec_driver_sql(lock)
    event.listen(engine, "connect", on_connect)


def living_runs(connection: Connection, run_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the runs that have a database session."""
    query = text("SELECT id FROM unnest(CAST(:ids AS uuid[])) id WHERE session_lives(id)")
    return set(connection.execute(query, {"ids": list(run_ids)}).scalars())
