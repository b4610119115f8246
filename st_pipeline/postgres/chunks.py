"""Write one chunk of an entity: COPY to a staging table, then a guarded upsert.

Here: what a table holds already, the wire form, the upsert, its counts. Not here: the transaction (the caller's), rules
about rows, cursors.
"""

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import csv
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from st_pipeline.entities.spec import KEY, MODIFIED, EntitySpec, Kind
from st_pipeline.postgres.database import DATA_ERRORS
from st_pipeline.records import Counts, Known

CSV = csv.WriteOptions(include_header=False)


def known_rows(connection: Connection, spec: EntitySpec, credential_id: int, ids: Sequence[int]) -> dict[int, Known]:
    """What the table holds of these records."""
    modified = f"(extract(epoch FROM {MODIFIED}) * 1000000)::bigint" if spec.has(MODIFIED) else "NULL::bigint"
    rows = connection.execute(
        text(
            f"SELECT {KEY}, {modified}, record_hash, spec_version FROM {spec.table} "  # noqa: S608 - names of a spec
            f"WHERE credential_id = :credential_id AND {KEY} = ANY(:ids)"
        ),
        {"credential_id": credential_id, "ids": list(ids)},
    )
    return {st_id: Known(modified_us, fingerprint, version) for st_id, modified_us, fingerprint, version in rows}


def holds_rows(connection: Connection, spec: EntitySpec, credential_id: int) -> bool:
    """Does the table hold any row of this tenant?"""
    query = f"SELECT EXISTS (SELECT FROM {spec.table} WHERE credential_id = :credential_id)"  # noqa: S608
    return bool(connection.execute(text(query), {"credential_id": credential_id}).scalar())


def upsert(  # one chunk
    connection: Connection, spec: EntitySpec, credential_id: int, table: pa.Table, *, rewrite: bool = False
) -> Counts:
    """Write rows newer than, or different from, those the table holds; `table` comes from `with_bookkeeping`.

    `rewrite`: write rows even when they are neither. Returns created, updated and unchanged.
    """
    if table.num_rows == 0:
        return Counts()
    connection.exec_driver_sql(_staging_sql(spec))
    copy_rows(connection, f"{_staging(spec)} ({', '.join(_columns(spec))})", table)
    created, written = connection.execute(
        text(_upsert_sql(spec, rewrite)), {"credential_id": credential_id, "version": spec.version}
    ).one()
    connection.exec_driver_sql(f"TRUNCATE {_staging(spec)}")
    return Counts(created=created, updated=written - created, unchanged=table.num_rows - written)


def copy_first_rows(connection: Connection, spec: EntitySpec, credential_id: int, table: pa.Table) -> Counts | None:
    """Write the rows of a tenant whose table was empty when the sync began, without staging: half the cost.

    None when it did not work: a feed repeats records, so a key may be there by now; or Postgres refuses a value.
    Nothing is written then, and the caller upserts.
    """
    rows = table.num_rows
    constants = {
        "credential_id": pa.repeat(credential_id, rows),
        "spec_version": pa.repeat(spec.version, rows),
        "local_synced_at": pa.repeat(datetime.now(UTC), rows),
    }
    for name, values in constants.items():
        table = table.append_column(name, values)
    try:
        with connection.begin_nested():
            copy_rows(connection, f"{spec.table} ({', '.join(table.column_names)})", table)
    except (psycopg.errors.UniqueViolation, *DATA_ERRORS):
        return None
    return Counts(created=rows)


def upsert_or_name_the_refused(
    connection: Connection, spec: EntitySpec, credential_id: int, table: pa.Table, *, rewrite: bool = False
) -> tuple[Counts, dict[int, str]]:
    """Upsert; when Postgres refuses a value, halve the chunk until the refused rows are found and the rest is written.

    Returns the counts and, by row index, the kind of refusal. A chunk of 2,000 with one bad row takes 22 statements.
    """
    try:
        with connection.begin_nested():
            return upsert(connection, spec, credential_id, table, rewrite=rewrite), {}
    except (psycopg.DataError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, DATA_ERRORS):
            raise
        if table.num_rows == 1:
            return Counts(), {0: f"Postgres refuses it: {type(cause).__name__}"}
    half = table.num_rows // 2
    counts, refused = upsert_or_name_the_refused(connection, spec, credential_id, table[:half], rewrite=rewrite)
    more, more_refused = upsert_or_name_the_refused(connection, spec, credential_id, table[half:], rewrite=rewrite)
    counts.add(more)
    return counts, refused | {half + index: why for index, why in more_refused.items()}


def with_bookkeeping(table: pa.Table, hashes: Sequence[int], records: Sequence[bytes] | None) -> pa.Table:
    """The entity's columns plus `full_data` (the record as received; None keeps none) and `record_hash`."""
    full_data: Sequence[str | None] = (
        [None] * table.num_rows if records is None else [record.decode() for record in records]
    )
    return table.append_column("full_data", pa.array(full_data, type=pa.string())).append_column(
        "record_hash", pa.array(hashes, type=pa.int64())
    )


def copy_rows(connection: Connection, target: str, table: pa.Table) -> None:
    """COPY a table to `table (columns)`, on the driver's own connection so that it shares the transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - the engine is ours and its driver psycopg 3
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
        copy.write(_csv_bytes(table))


def _csv_bytes(table: pa.Table) -> memoryview:
    """The table as CSV. Times go without a zone: pyarrow writes zoned ones five times slower; sessions speak UTC."""
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            plain = pa.timestamp(field.type.unit)
            table = table.set_column(index, pa.field(field.name, plain), table.column(index).cast(plain))
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, CSV)
    return memoryview(sink.getvalue())


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
def _upsert_sql(spec: EntitySpec, rewrite: bool) -> str:
    """Never backwards in time, ties win; nothing is written that is there already.

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
        conditions.append(
            f"(t.{MODIFIED} IS NULL OR excluded.{MODIFIED} IS NULL OR excluded.{MODIFIED} >= t.{MODIFIED})"
        )
    if not rewrite:
        different = [f"t.{name} <> excluded.{name}" for name in ("record_hash", "spec_version")]
        if spec.has(MODIFIED):
            different.append(f"t.{MODIFIED} IS DISTINCT FROM excluded.{MODIFIED}")
        conditions.append(f"({' OR '.join(different)})")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"WITH written AS (INSERT INTO {spec.table} AS t (credential_id, {', '.join(columns)}, spec_version, "  # noqa: S608
        f"local_synced_at) SELECT :credential_id, {', '.join(columns)}, :version, clock_timestamp() "
        f"FROM {_staging(spec)} ON CONFLICT (credential_id, {KEY}) DO UPDATE SET {', '.join(updates)} {where} "
        "RETURNING (xmax = 0) AS created) SELECT count(*) FILTER (WHERE created), count(*) FROM written"
    )


def row_ids(table: pa.Table) -> list[Any]:
    """The keys of a chunk's rows."""
    return table[KEY].to_pylist()  # type: ignore[no-any-return]
