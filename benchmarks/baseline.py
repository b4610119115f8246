"""The program that a good engineer writes in an afternoon, as the measure of ours.

It fetches the feeds with the same httpx, decodes with msgspec into typed Structs, writes the same columns to tables of
the same definition with binary COPY, and commits every 2,000 rows. It has no retries, no checkpoint, no log, no checks,
no hash, no rejects: one bad record ends it. Run by sync.py.
"""

import functools
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

import httpx
import msgspec
import psycopg
from job import ENTITIES, Clock, Figures, Job

from st_pipeline.entities import ENTITIES as SPECS
from st_pipeline.entities.spec import KEY, Column, EntitySpec, Kind

ROWS_A_COMMIT = 2_000
NULL = msgspec.Raw(b"null")
PYTHON_TYPES: dict[Kind, Any] = {
    Kind.INTEGER: int | None,
    Kind.TEXT: str | None,
    Kind.BOOLEAN: bool | None,
    Kind.DECIMAL: Decimal | None,
    Kind.FLOAT: float | None,
    Kind.TIMESTAMP: str | None,  # msgspec would round the seventh digit
    Kind.DAY: datetime | None,
    Kind.JSON: msgspec.Raw,
}
# JSON goes as the bytes it came as; of jsonb's binary form only the first byte, its version, is missing.
POSTGRES_TYPES = {
    Kind.INTEGER: "int8",
    Kind.TEXT: "text",
    Kind.BOOLEAN: "bool",
    Kind.DECIMAL: "numeric",
    Kind.FLOAT: "float8",
    Kind.TIMESTAMP: "timestamptz",
    Kind.DAY: "date",
    Kind.JSON: "bytea",
}
BOOKKEEPING = {
    "credential_id": "int8",
    "record_hash": "int8",
    "spec_version": "int4",
    "local_synced_at": "timestamptz",
}
Connection: TypeAlias = "psycopg.Connection[Any]"


class Token(msgspec.Struct):
    """The answer of the token address."""

    access_token: str


def main() -> None:
    """Load both entities and print the figures."""
    imports = time.process_time()
    job = Job.read()
    clock, rows = Clock(job.postmaster), 0
    with signed_in(job) as http, psycopg.connect(job.database_url) as connection:
        for entity in ENTITIES:
            rows += load(http, connection, job, SPECS[entity])
        client, postgres = clock.read()  # before the connection ends, and its server process with it
    sys.stdout.buffer.write(msgspec.json.encode(Figures(rows, imports, client, postgres)))


@contextmanager
def signed_in(job: Job) -> Iterator[httpx.Client]:
    """A client that sends the token and the app key."""
    keys = {"grant_type": "client_credentials", "client_id": job.client_id, "client_secret": job.client_secret}
    with httpx.Client(base_url=job.api_url) as http:
        token = msgspec.json.decode(http.post("/connect/token", data=keys).content, type=Token).access_token
        http.headers.update({"authorization": f"Bearer {token}", "st-app-key": job.app_key, "accept-encoding": "gzip"})
        yield http


def load(http: httpx.Client, connection: Connection, job: Job, spec: EntitySpec) -> int:
    """Copy one entity's feed into its table; how many rows."""
    now, typed = datetime.now(UTC), typed_rows(spec, full_data=job.full_data)
    rows = (row for page in pages(http, job, spec) for row in typed(page, now))
    written = 0
    while batch := list(islice(rows, ROWS_A_COMMIT)):
        copy(connection, spec, batch, full_data=job.full_data)
        connection.commit()
        written += len(batch)
    return written


def copy(connection: Connection, spec: EntitySpec, rows: list[tuple[Any, ...]], *, full_data: bool) -> None:
    """Copy rows into the entity's table."""
    types = BOOKKEEPING | ({"full_data": "bytea"} if full_data else {})
    types |= {column.name: POSTGRES_TYPES[column.kind] for column in spec.columns}
    statement = f"COPY {spec.table} ({', '.join(types)}) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as writer:
        writer.set_types(list(types.values()))
        for row in rows:
            writer.write_row(row)


def pages(http: httpx.Client, job: Job, spec: EntitySpec) -> Iterator[Any]:
    """The pages of a feed from its beginning."""
    assert spec.feed_path is not None
    path, params = spec.feed_path.replace("{tenant}", str(job.tenant_id)), {"includeRecentChanges": "true"}
    read_page = page_reader(spec, full_data=job.full_data)
    while True:
        with http.stream("GET", path, params=params) as response:
            response.raise_for_status()
            packed = b"".join(response.iter_raw())
        page = read_page(zlib.decompress(packed, zlib.MAX_WBITS | 32))
        yield page
        if not page.hasMore:
            return
        params["from"] = page.continueFrom


def page_reader(spec: EntitySpec, *, full_data: bool) -> Callable[[bytes], Any]:
    """Decodes a page: where the record is kept, to the bytes of each, else to typed records at once."""
    record: Any = msgspec.Raw if full_data else record_type(spec)
    fields = [("data", list[record]), ("hasMore", bool), ("continueFrom", str)]
    return msgspec.json.Decoder(msgspec.defstruct("Page", fields)).decode


def typed_rows(spec: EntitySpec, *, full_data: bool) -> Callable[[Any, datetime], Iterator[tuple[Any, ...]]]:
    """Turns a page into rows to copy."""
    one_row = row_function(spec, full_data=full_data)
    decode = msgspec.json.Decoder(record_type(spec)).decode
    if full_data:
        return lambda page, now: (one_row(decode(raw), now, bytes(raw)) for raw in page.data)
    return lambda page, now: (one_row(record, now) for record in page.data)


@functools.cache
def record_type(spec: EntitySpec) -> type[msgspec.Struct]:
    """The Struct with the columns' fields, nested where the record is."""
    fields: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for column in spec.columns:
        kind = int if column.name == KEY else PYTHON_TYPES[column.kind]
        default = msgspec.NODEFAULT if column.name == KEY else NULL if column.kind is Kind.JSON else None
        if len(column.path) == 1:
            fields[column.source] = (column.source, kind, default)
        else:
            parent, child = column.path
            nested.setdefault(parent, {})[child] = (child, kind, default)
            fields[parent] = (parent, None, None)
    for parent, children in nested.items():
        fields[parent] = (parent, msgspec.defstruct(parent, children.values(), gc=False) | None, None)
    return msgspec.defstruct(spec.name, fields.values(), gc=False, kw_only=True)


def row_function(spec: EntitySpec, *, full_data: bool) -> Callable[..., tuple[Any, ...]]:
    """`record, now[, raw]` to a row, written out column by column as one would by hand."""
    values = ["1", "0", "1", "now", *(["raw"] if full_data else []), *(expression(column) for column in spec.columns)]
    source = f"lambda record, now{', raw' if full_data else ''}: ({', '.join(values)})"
    names = {"parse": datetime.fromisoformat, "NULL": NULL}
    function: Callable[..., tuple[Any, ...]] = eval(source, names)  # noqa: S307 - made of our own columns' names
    return function


def expression(column: Column) -> str:
    """How a column's value is taken from a record."""
    value = f"record.{column.source}"
    if len(column.path) == 2:  # noqa: PLR2004 - nothing lies deeper
        value = f"(record.{column.path[0]} and {value})"
    if column.kind is Kind.JSON:
        return f"(None if {value} == NULL else b'\\x01' + bytes({value}))"
    if column.kind is Kind.TIMESTAMP:
        return f"({value} and parse({value}))"
    return f"({value} and {value}.date())" if column.kind is Kind.DAY else value


if __name__ == "__main__":
    main()
