"""One process at a time does the same scheduled work on a database, on any machine.

Here: the advisory lock of a piece of work. Not here: what the work is (cli/), a tenant's lease (leases).
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from st_pipeline.postgres.database import SERVER_KEEPALIVES, database_errors

# The first of the two numbers of an advisory lock; the second stands for the work.
SCHEDULED_WORK = 7_305_203


@contextmanager
def only_one(engine: Engine, work: str) -> Iterator[bool]:
    """Reserve the work for the block. Yields False when another process is doing it. `work`: its name."""
    number = int.from_bytes(zlib.crc32(work.encode()).to_bytes(4), signed=True)
    sql = text(f"SELECT pg_try_advisory_lock({SCHEDULED_WORK}, :number), {SERVER_KEEPALIVES}")
    with engine.connect() as connection:
        try:
            with database_errors("see whether another process does the same work"), connection.begin():
                is_free: bool = connection.execute(sql, {"number": number}).scalar_one()
            yield is_free
        finally:
            connection.invalidate()  # in the pool it would keep the lock
