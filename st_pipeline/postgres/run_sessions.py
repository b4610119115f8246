"""A run's sign of life: an advisory lock that each of its database sessions has, and that every role sees.

Here: giving it and asking for it. Not here: a tenant's lease (leases.py), what becomes of a run that is gone (defs/).
It is not a process id: a run may be on another machine, or in a container with ids of its own.
"""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from st_pipeline.postgres.database import SERVER_KEEPALIVES

LOCK = f"SELECT pg_advisory_lock_shared(session_key('{{run_id}}')), {SERVER_KEEPALIVES}"


def hold_run_lock(engine: Engine, run_id: uuid.UUID) -> None:
    """From now on the engine's sessions have the run's lock, new ones after a restart of Postgres, too."""
    lock = LOCK.format(run_id=run_id)

    def on_connect(connection: Any, _record: object) -> None:
        connection.autocommit = True  # one round trip instead of three
        connection.execute(lock)
        connection.autocommit = False

    with engine.begin() as connection:  # what is in the pool already
        connection.exec_driver_sql(lock)
    event.listen(engine, "connect", on_connect)


def living_runs(connection: Connection, run_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of them that have a session."""
    query = text("SELECT id FROM unnest(CAST(:ids AS uuid[])) id WHERE session_lives(id)")
    return set(connection.execute(query, {"ids": list(run_ids)}).scalars())
