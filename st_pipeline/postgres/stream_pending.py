"""Which stream records wait to be built: keys that chunks put in, and that the build takes out with its own write.

Here: the table stream_pending, and which keys a write of rows leads to. Not here: which columns matter to which stream
(streams/), building the records.

Not a time watermark on the tables: a transaction that commits late would slip below it.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, EntitySpec
from st_pipeline.protocol import KeyLookup, Source

Rows = dict[int, tuple[Any, ...]]
Streams = Sequence[tuple[str, Source]]


@contextmanager
def renewed(
    connection: Connection, credential_id: int, spec: EntitySpec, streams: Streams, ids: Sequence[int]
) -> Iterator[None]:
    """Around a write of these rows: let the stream records wait that it renews."""
    before = [_facts(connection, credential_id, spec, source, ids) for _, source in streams]
    yield
    for (stream, source), old in zip(streams, before, strict=True):
        new = _facts(connection, credential_id, spec, source, ids)
        changed = [st_id for st_id in ids if not source.facts or old.get(st_id) != new.get(st_id)]
        put(connection, credential_id, stream, _keys(connection, credential_id, source, changed, (old, new)))


def put_keys_of(
    connection: Connection, credential_id: int, spec: EntitySpec, streams: Streams, ids: Sequence[int]
) -> None:
    """Let the stream records wait that are made of these rows, which were marked as deleted, or unmarked."""
    for stream, source in streams if ids else ():
        rows = _facts(connection, credential_id, spec, source, ids)
        put(connection, credential_id, stream, _keys(connection, credential_id, source, ids, (rows,)))


def begun(connection: Connection, credential_id: int, streams: Streams) -> Streams:
    """Those of these streams that were built before. For the others nothing need wait: a first build takes every row.

    One is built between two reads of entities and never within one, as both hold the tenant's lease.
    """
    if not streams:
        return ()
    query = text(
        "SELECT entity FROM sync_cursors "
        "WHERE credential_id = :id AND entity = ANY(:streams) AND last_full_at IS NOT NULL"
    )
    bound = {"id": credential_id, "streams": [stream for stream, _ in streams]}
    names = set(connection.execute(query, bound).scalars())
    return tuple((stream, source) for stream, source in streams if stream in names)


def _facts(connection: Connection, credential_id: int, spec: EntitySpec, source: Source, ids: Sequence[int]) -> Rows:
    """The columns that matter, keys first, by id. Nothing to read where the id itself is the key of any change."""
    if source.keys == (KEY,) and not source.facts:
        return {st_id: (st_id,) for st_id in ids}
    columns = ", ".join((KEY, *source.keys, *source.facts))
    query = f"SELECT {columns} FROM {spec.table} WHERE credential_id = :credential_id AND {KEY} = ANY(:ids)"  # noqa: S608
    rows = connection.execute(text(query), {"credential_id": credential_id, "ids": list(ids)})
    return {row[0]: tuple(row[1:]) for row in rows}


def _keys(
    connection: Connection, credential_id: int, source: Source, changed: Sequence[int], rows: Sequence[Rows]
) -> set[int]:
    if not changed:
        return set()
    if source.lookup is not None:
        return looked_up(connection, credential_id, source.lookup, changed)
    held = (row[: len(source.keys)] for found in rows for st_id in changed if (row := found.get(st_id)) is not None)
    return {key for keys in held for key in keys if key is not None}


def looked_up(connection: Connection, credential_id: int, lookup: KeyLookup, ids: Sequence[int]) -> set[int]:
    """The keys that these ids lead to, found by arrays of ids, round by round.

    Not by a recursive join: a freshly loaded table has no statistics yet, and the plan Postgres then takes needs 5 s.
    """

    def ask(query: str, asked: Collection[int]) -> set[int]:
        bound = {"credential_id": credential_id, "ids": list(asked)}
        return set(connection.execute(text(query), bound).scalars())

    found, new = set(ids), set(ids)
    while new:
        new = set().union(*(ask(query, new) for query in lookup.related)) - found - {None}
        found |= new
    return ask(lookup.keys, found)


def put(connection: Connection, credential_id: int, stream: str, keys: Collection[int]) -> None:
    """Let these keys wait. One that waits already waits once."""
    if keys:
        connection.execute(
            text("""
                INSERT INTO stream_pending (credential_id, stream, key)
                SELECT :credential_id, :stream, unnest(CAST(:keys AS bigint[])) ON CONFLICT DO NOTHING
            """),
            {"credential_id": credential_id, "stream": stream, "keys": list(keys)},
        )


def waiting(connection: Connection, credential_id: int, stream: str, limit: int) -> list[int]:
    """Up to `limit` keys that wait, lowest first."""
    query = text(
        "SELECT key FROM stream_pending WHERE credential_id = :credential_id AND stream = :stream "
        "ORDER BY key LIMIT :limit"
    )
    bound = {"credential_id": credential_id, "stream": stream, "limit": limit}
    return list(connection.execute(query, bound).scalars())


def take_out(connection: Connection, credential_id: int, stream: str, keys: Sequence[int]) -> int:
    """Take these keys out. They wait again when the transaction fails."""
    query = text(
        "DELETE FROM stream_pending WHERE credential_id = :credential_id AND stream = :stream AND key = ANY(:keys)"
    )
    bound = {"credential_id": credential_id, "stream": stream, "keys": list(keys)}
    return connection.execute(query, bound).rowcount


def forget(connection: Connection, credential_id: int, stream: str) -> None:
    """Let no key wait."""
    query = text("DELETE FROM stream_pending WHERE credential_id = :credential_id AND stream = :stream")
    connection.execute(query, {"credential_id": credential_id, "stream": stream})
