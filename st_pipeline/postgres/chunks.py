"""An entity's rows into its table: COPY to a staging table, then a guarded upsert.

Here: what a table holds already, the wire form, the upsert, its counts. Not here: the transaction and what else belongs
into it (write_chunk.py), rules about rows.
"""

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec, Kind
from st_pipeline.postgres.database import DATA_ERRORS
from st_pipeline.protocol import Columns, Counts, Known, PreparedChunk

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_LAG = timedelta(hours=1)  # ServiceTitan: a feed shows a change up to 15 minutes later
JSONB_VERSION = b"\x01"  # jsonb's binary form is this byte, then the text


def known_rows(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> dict[int, Known]:
    """What the table holds of these records.

    A list shows none that is deleted, so a row marked as deleted counts as not held: it is back, maybe byte for byte.
    """
    marked = " AND deleted_at IS NULL" if spec.feed_path is None else ""
    modified = f"(extract(epoch FROM {MODIFIED}) * 1000000)::bigint" if spec.has(MODIFIED) else "NULL::bigint"
    rows = connection.execute(
        text(
            f"SELECT {KEY}, {modified}, record_hash, spec_version FROM {spec.table} "  # noqa: S608 - names of a spec
            f"WHERE credential_id = :credential_id AND {KEY} = ANY(:ids){marked}"
        ),
        {"credential_id": credential_id, "ids": list(ids)},
    )
    return {st_id: Known(modified_us, fingerprint, version) for st_id, modified_us, fingerprint, version in rows}


def holds_rows(connection: Connection, spec: EntitySpec, credential_id: int) -> bool:
    """Does the table hold any row of this tenant?"""
    query = f"SELECT EXISTS (SELECT FROM {spec.table} WHERE credential_id = :credential_id)"  # noqa: S608
    return bool(connection.execute(text(query), {"credential_id": credential_id}).scalar())


def compress_quickly(connection: Connection) -> None:
    """For this connection: large values are compressed with lz4 where the server has it (the embedded one has not).

    A 5 KB invoice with its record then costs Postgres 134 µs instead of the 227 of its own pglz, and 6 % more disk.
    """
    connection.exec_driver_sql(
        "SELECT set_config(name, 'lz4', false) FROM pg_settings "
        "WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
    )


def write_rows(connection: Connection, credential_id: int, chunk: PreparedChunk) -> tuple[Counts, dict[int, str]]:
    """Write a chunk's rows. Returns the counts and, by row index, why Postgres refused a row."""
    if chunk.table_was_empty:
        first = copy_first_rows(connection, chunk.spec, credential_id, chunk.rows)
        if first is not None:
            return first, {}
    return upsert_or_name_the_refused(
        connection, chunk.spec, credential_id, chunk.rows, rewrite=chunk.rewrite, pass_began=chunk.pass_began
    )


def upsert(  # one chunk
    connection: Connection,
    spec: EntitySpec,
    credential_id: int,
    rows: Columns,
    *,
    rewrite: bool = False,
    pass_began: datetime | None = None,
) -> Counts:
    """Write rows newer than, or different from, those the table holds; `rows` comes from `with_bookkeeping`.

    `rewrite`: write rows even when they are neither. `pass_began`: of the full sync that shows these rows, which wins
    over what was held before. Returns created, updated and unchanged, and how many of the last are older.
    """
    number = len(rows[KEY])
    if number == 0:
        return Counts()
    connection.exec_driver_sql(_staging_sql(spec))
    copy_rows(connection, f"{_staging(spec)} ({', '.join(rows)})", rows)
    began = {} if pass_began is None else {"began": pass_began, "lag_began": pass_began - LONGEST_LAG}
    created, written = connection.execute(
        text(_upsert_sql(spec, rewrite, in_pass=pass_began is not None)),
        {"credential_id": credential_id, "version": spec.version, **began},
    ).one()
    older = 0
    if written < number and spec.has(MODIFIED):
        older = connection.execute(text(_older_sql(spec)), {"credential_id": credential_id}).scalar_one()
    connection.exec_driver_sql(f"TRUNCATE {_staging(spec)}")
    return Counts(created=created, updated=written - created, unchanged=number - written, older=older)


def copy_first_rows(connection: Connection, spec: EntitySpec, credential_id: int, rows: Columns) -> Counts | None:
    """Write the rows of a tenant whose table was empty when the sync began, without staging: half the cost.

    None when it did not work: a feed repeats records, so a key may be there by now; or Postgres refuses a value.
    Nothing is written then, and the caller upserts.
    """
    number = len(rows[KEY])
    # By Postgres's clock: a full sync compares it with the time when it began.
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    constants = {"credential_id": credential_id, "spec_version": spec.version, "local_synced_at": now}
    rows = rows | {name: [value] * number for name, value in constants.items()}
    try:
        with connection.begin_nested():
            copy_rows(connection, f"{spec.table} ({', '.join(rows)})", rows)
    except (psycopg.errors.UniqueViolation, *DATA_ERRORS):
        return None
    return Counts(created=number)


def upsert_or_name_the_refused(
    connection: Connection,
    spec: EntitySpec,
    credential_id: int,
    rows: Columns,
    *,
    rewrite: bool = False,
    pass_began: datetime | None = None,
) -> tuple[Counts, dict[int, str]]:
    """Upsert; when Postgres refuses a value, halve the chunk until the refused rows are found and the rest is written.

    Returns the counts and, by row index, the kind of refusal. A chunk of 2,000 with one bad row takes 22 statements.
    """
    number = len(rows[KEY])
    options: Any = {"rewrite": rewrite, "pass_began": pass_began}
    try:
        with connection.begin_nested():
            return upsert(connection, spec, credential_id, rows, **options), {}
    except (psycopg.DataError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, DATA_ERRORS):
            raise
        if number == 1:
            return Counts(), {0: f"Postgres refuses it: {type(cause).__name__}"}
    half = number // 2
    first, second = ({name: values[part] for name, values in rows.items()} for part in (slice(half), slice(half, None)))
    counts, refused = upsert_or_name_the_refused(connection, spec, credential_id, first, **options)
    more, more_refused = upsert_or_name_the_refused(connection, spec, credential_id, second, **options)
    counts.add(more)
    return counts, refused | {half + index: why for index, why in more_refused.items()}


def with_bookkeeping(columns: Columns, hashes: Sequence[int], records: Sequence[bytes] | None) -> Columns:
    """The entity's columns plus `full_data` (the record as received; None keeps none) and `record_hash`."""
    return columns | {"full_data": [None] * len(hashes) if records is None else records, "record_hash": hashes}


def copy_rows(connection: Connection, target: str, rows: "Columns | pa.Table") -> None:
    """COPY rows to `table (columns)`, on the driver's own connection so that it shares the transaction.

    In the binary form of the target's types: as CSV, Postgres would read JSON with every quote doubled, for 40 % more
    of its CPU. Numerics may be text.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - the engine is ours and its driver psycopg 3
    columns: Columns = rows if isinstance(rows, dict) else rows.to_pydict()
    with driver.cursor() as cursor:
        table = target.split(maxsplit=1)[0]
        cursor.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE false".encode())  # noqa: S608 - our own names
        types = [column.type_code for column in cursor.description or ()]
        sent_as, wires = zip(*map(_wire, types, columns.values()), strict=True)
        with cursor.copy(f"COPY {target} FROM STDIN (FORMAT binary)".encode()) as copy:
            copy.set_types(sent_as)
            for row in zip(*wires, strict=True):
                copy.write_row(row)


def _wire(oid: int, values: Sequence[Any]) -> tuple[str | int, Sequence[Any]]:
    """A column of that type for psycopg: as which type to write it, and its values. JSON goes as the bytes it is."""
    match psycopg.adapters.types[oid].name:
        case "json":
            return "bytea", values
        case "jsonb":
            return "bytea", [None if value is None else b"".join((JSONB_VERSION, value)) for value in values]
        case "numeric":
            return oid, [Decimal(value) if isinstance(value, str) else value for value in values]
        case _:
            return oid, values


def _staging(spec: EntitySpec) -> str:
    return f"staging_{spec.name}"


@functools.cache
def _columns(spec: EntitySpec) -> tuple[str, ...]:
    return (*(column.name for column in spec.columns), "full_data", "record_hash")


@functools.cache
def _staging_sql(spec: EntitySpec) -> str:
    """A temporary table, one a connection. Its large values stay uncompressed: they are compressed once, at the end."""
    large = ["full_data", *(column.name for column in spec.columns if column.kind is Kind.JSON)]
    external = ", ".join(f"ALTER COLUMN {name} SET STORAGE EXTERNAL" for name in large)
    create = f"CREATE TEMP TABLE {_staging(spec)} ON COMMIT DELETE ROWS AS SELECT"
    return (
        f"DO $$ BEGIN IF to_regclass('pg_temp.{_staging(spec)}') IS NULL THEN "
        f"{create} {', '.join(_columns(spec))} FROM {spec.table} WHERE false; "
        f"ALTER TABLE {_staging(spec)} {external}; END IF; END $$"
    )


@functools.cache
def _upsert_sql(spec: EntitySpec, rewrite: bool, *, in_pass: bool) -> str:
    """Never backwards in time, ties win; nothing is written that is there already.

    A full sync makes the table equal to the source: over a row that was held when it began it wins whatever the dates,
    or one dated in the future would stay for ever. Not over one dated within LONGEST_LAG before the pass: the feed may
    not show that one yet, and the next poll settles it.
    A row marked as deleted is unmarked when the record shows as active again. A feed repeats deleted records too, so
    there an inactive one keeps its mark until the list shows it.
    """
    columns = _columns(spec)
    updates = [f"{name} = excluded.{name}" for name in (*columns, "spec_version", "local_synced_at") if name != KEY]
    if spec.feed_path is None:
        updates.append("deleted_at = NULL")
    elif spec.has("active"):
        updates.append("deleted_at = CASE WHEN excluded.active THEN NULL ELSE t.deleted_at END")
    conditions = []
    if spec.has(MODIFIED):
        held_before = f"(t.local_synced_at < :began AND t.{MODIFIED} NOT BETWEEN :lag_began AND :began)"
        newer = (f"t.{MODIFIED} IS NULL", f"excluded.{MODIFIED} IS NULL", f"excluded.{MODIFIED} >= t.{MODIFIED}")
        conditions.append(f"({' OR '.join((*newer, held_before) if in_pass else newer)})")
    if not rewrite:
        different = [f"t.{name} <> excluded.{name}" for name in ("record_hash", "spec_version")]
        if spec.has(MODIFIED):
            different.append(f"t.{MODIFIED} IS DISTINCT FROM excluded.{MODIFIED}")
        if spec.feed_path is None:
            different.append("t.deleted_at IS NOT NULL")
        conditions.append(f"({' OR '.join(different)})")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"WITH written AS (INSERT INTO {spec.table} AS t (credential_id, {', '.join(columns)}, spec_version, "  # noqa: S608
        f"local_synced_at) SELECT :credential_id, {', '.join(columns)}, :version, clock_timestamp() "
        f"FROM {_staging(spec)} ON CONFLICT (credential_id, {KEY}) DO UPDATE SET {', '.join(updates)} {where} "
        "RETURNING (xmax = 0) AS created) SELECT count(*) FILTER (WHERE created), count(*) FROM written"
    )


@functools.cache
def _older_sql(spec: EntitySpec) -> str:
    """How many staged rows are older than those the table holds. Row by row: the staging table has no statistics."""
    return (
        f"SELECT count(*) FROM {_staging(spec)} s, LATERAL (SELECT {MODIFIED} FROM {spec.table} "  # noqa: S608
        f"WHERE credential_id = :credential_id AND {KEY} = s.{KEY} OFFSET 0) t WHERE s.{MODIFIED} < t.{MODIFIED}"
    )
