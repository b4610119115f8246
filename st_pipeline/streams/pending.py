"""Which stream records a chunk's rows renew, noted in the chunk's own transaction.

Here: comparing rows before and after a write, and the keys they lead to. Not here: the table of waiting keys
(postgres/stream_pending.py), building them (build.py).

Not a time watermark on the tables: a transaction that commits late would slip below it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, EntitySpec
from st_pipeline.postgres import stream_pending
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import Source, StreamSpec

Rows = dict[int, tuple[Any, ...]]


@contextmanager
def noted(connection: Connection, credential_id: int, spec: EntitySpec, ids: Sequence[int]) -> Iterator[None]:
    """Around a write of these rows: note the stream records that it renews.

    A stream that was never built notes nothing: its first build takes every row.
    """
    watched = [pair for pair in _sources_of(spec.name) if ids and _is_begun(connection, credential_id, pair[0])]
    before = [_facts(connection, credential_id, spec, source, ids) for _, source in watched]
    yield
    for (stream, source), old in zip(watched, before, strict=True):
        new = _facts(connection, credential_id, spec, source, ids)
        changed = [st_id for st_id in ids if not source.facts or old.get(st_id) != new.get(st_id)]
        keys = _keys(connection, credential_id, source, changed, (old, new))
        stream_pending.put(connection, credential_id, stream.name, keys)


def note(connection: Connection, credential_id: int, spec: EntitySpec, ids: Sequence[int]) -> None:
    """Note the stream records of rows that were marked as deleted, or unmarked."""
    for stream, source in _sources_of(spec.name):
        if ids and _is_begun(connection, credential_id, stream):
            rows = _facts(connection, credential_id, spec, source, ids)
            stream_pending.put(
                connection, credential_id, stream.name, _keys(connection, credential_id, source, ids, (rows,))
            )


def _sources_of(entity: str) -> list[tuple[StreamSpec, Source]]:
    return [(stream, source) for stream in STREAMS.values() for source in stream.sources if source.entity == entity]


def _is_begun(connection: Connection, credential_id: int, stream: StreamSpec) -> bool:
    query = text(
        "SELECT EXISTS (SELECT FROM sync_cursors "
        "WHERE credential_id = :id AND entity = :stream AND last_full_at IS NOT NULL)"
    )
    return bool(connection.execute(query, {"id": credential_id, "stream": stream.name}).scalar())


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
        return source.lookup(connection, credential_id, changed)
    held = (row[: len(source.keys)] for found in rows for st_id in changed if (row := found.get(st_id)) is not None)
    return {key for keys in held for key in keys if key is not None}
