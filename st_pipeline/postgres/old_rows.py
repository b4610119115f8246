"""Deleting old rows in small batches, beside whoever works on the same tables.

Here: one batch of one table. Not here: which tables, how old, and when (operations/).
A batch skips rows that somebody has locked, and waits for no lock longer than half a second: polls do not wait for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

LOCK_TIMEOUT_SECONDS = 0.5
ROWS_PER_BATCH = 1_000  # some 50 ms


class LockedByOthers(Exception):
    """Somebody holds a lock for longer than a batch waits; the rows are left for the next time."""


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows of a table to delete. `kind`: what they are called. `where`: SQL about `t`, with `values` as parameters.

    `document`: SQL of a row as JSON. `before_delete`: what else happens in the batch's transaction, for these ids.
    """

    kind: str
    table: str
    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    document: str = "to_jsonb(t)"
    before_delete: Callable[[Connection, Sequence[int]], None] = lambda _connection, _ids: None


def delete_batch(
    connection: Connection, rows: OldRows, after_id: int, keep: Callable[[int, Sequence[str]], None] | None
) -> Sequence[int]:
    """Delete the next rows after this id, in a transaction of its own. Returns their ids; fewer than a batch: no more.

    `keep` gets the first id and the documents before they are deleted. Raises LockedByOthers.
    """
    document = f"CAST({rows.document} AS text)" if keep is not None else "CAST(NULL AS text)"
    select = text(f"""
        SELECT t.id, {document} FROM {rows.table} t WHERE t.id > :after AND {rows.where}
        ORDER BY t.id LIMIT {ROWS_PER_BATCH} FOR UPDATE OF t SKIP LOCKED
    """)  # noqa: S608 - names of ours
    try:
        with connection.begin():
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            found = connection.execute(select, {**rows.values, "after": after_id}).all()
            ids = [row[0] for row in found]
            if ids:
                if keep is not None:
                    keep(ids[0], [row[1] for row in found])
                rows.before_delete(connection, ids)
                connection.execute(text(f"DELETE FROM {rows.table} WHERE id = ANY(:ids)"), {"ids": ids})  # noqa: S608
    except OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise LockedByOthers from None
        raise
    return ids


def holds(connection: Connection, table: str, id_: int) -> bool:
    """Has the table a row of this id?"""
    with connection.begin():
        query = text(f"SELECT EXISTS (SELECT FROM {table} WHERE id = :id)")  # noqa: S608 - names of ours
        return bool(connection.execute(query, {"id": id_}).scalar_one())
