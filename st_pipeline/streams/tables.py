"""Records written to a stream's table, and the keys that have none yet.

Here: the upsert by (tenant, software, key), what a change of the company does to its records. Not here: mapping
(members.py, invoices.py), when a record is built (sync/), the transaction (write_chunk.py).
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY
from st_pipeline.postgres.chunks import copy_rows
from st_pipeline.protocol import Counts
from st_pipeline.streams.spec import SOFTWARE, StreamSpec

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose records these are. `tenant`: the company's Intacct id, as downstream knows it.

    `is_noted`: is this what stream_owners says, under which the records are kept?
    """

    credential_id: int
    tenant: str
    trade: str | None
    is_noted: bool = False


def write_records(connection: Connection, spec: StreamSpec, owner: Owner, table: "pa.Table", import_id: str) -> Counts:
    """Write the records that are new or different; `import_id` leads from each to the sync that wrote it."""
    if table.num_rows == 0:
        return Counts()
    names = ", ".join(column.name for column in spec.columns)
    connection.exec_driver_sql(_staging_sql(spec))
    copy_rows(connection, f"staging_{spec.name} ({names})", table)
    created, written = connection.execute(
        text(_upsert_sql(spec)),
        {
            "tenant": owner.tenant,
            "software": SOFTWARE,
            "trade": owner.trade,
            "import_id": import_id,
            "credential_id": owner.credential_id,
            "version": spec.version,
        },
    ).one()
    connection.exec_driver_sql(f"TRUNCATE staging_{spec.name}")
    return Counts(created=created, updated=written - created, unchanged=table.num_rows - written)


def mark_gone(connection: Connection, spec: StreamSpec, owner: Owner, keys: list[str], import_id: str) -> int:
    """Mark records whose row is not in the anchor's table any more. Returns how many were marked."""
    if not keys:
        return 0
    query = (
        f"UPDATE {spec.table} SET still_exists = false, version = version + 1, hub_plus_import_id = :import_id, "  # noqa: S608
        "updated_at = clock_timestamp() WHERE tenant = :tenant AND software = :software "
        f"AND {spec.key} = ANY(:keys) AND still_exists"
    )
    bound = {"tenant": owner.tenant, "software": SOFTWARE, "keys": keys, "import_id": import_id}
    return connection.execute(text(query), bound).rowcount


def let_all_wait(connection: Connection, spec: StreamSpec, credential_id: int) -> None:
    """Let every record wait to be built: each row of the anchor, and each record whose row is gone."""
    connection.execute(
        text(f"""
            INSERT INTO stream_pending (credential_id, stream, key)
            SELECT credential_id, :stream, {KEY} FROM {spec.anchor_table} WHERE credential_id = :id
            UNION SELECT credential_id, :stream, CAST({spec.key} AS bigint) FROM {spec.table} WHERE credential_id = :id
            ON CONFLICT DO NOTHING
        """),  # noqa: S608 - names of a spec
        {"stream": spec.name, "id": credential_id},
    )


def let_missing_wait(connection: Connection, spec: StreamSpec, credential_id: int) -> None:
    """Let those records wait that are missing, that an older version of the mapping built, or whose row is gone."""
    connection.execute(
        text(f"""
            INSERT INTO stream_pending (credential_id, stream, key)
            SELECT :id, :stream, coalesce(a.{KEY}, s.key)
            FROM (SELECT {KEY} FROM {spec.anchor_table} WHERE credential_id = :id) a
            FULL JOIN (SELECT CAST({spec.key} AS bigint) AS key, spec_version, still_exists FROM {spec.table}
                       WHERE credential_id = :id) s ON s.key = a.{KEY}
            WHERE s.key IS NULL OR s.spec_version <> :version OR (a.{KEY} IS NULL AND s.still_exists)
            ON CONFLICT DO NOTHING
        """),  # noqa: S608 - names of a spec
        {"stream": spec.name, "id": credential_id, "version": spec.version},
    )


def forget_records(connection: Connection, spec: StreamSpec, credential_id: int, *, but_of: str | None = None) -> int:
    """Delete a credential's records, but for those under the tenant `but_of`. Returns how many."""
    query = f"DELETE FROM {spec.table} WHERE credential_id = :id AND tenant IS DISTINCT FROM :tenant"  # noqa: S608
    return connection.execute(text(query), {"id": credential_id, "tenant": but_of}).rowcount


def adopt_trade(connection: Connection, spec: StreamSpec, owner: Owner) -> None:
    """Give a company's records its trade as it is now."""
    connection.execute(
        text(
            f"UPDATE {spec.table} SET trade = :trade, version = version + 1, updated_at = clock_timestamp() "  # noqa: S608
            "WHERE credential_id = :id AND trade IS DISTINCT FROM :trade"
        ),
        {"id": owner.credential_id, "trade": owner.trade},
    )


def note_owner(connection: Connection, spec: StreamSpec, owner: Owner) -> None:
    """Note under whose name and trade the records are kept, and what they are made of: a poll need not read them then.

    The view completeness reads the sources.
    """
    bound = {"id": owner.credential_id, "stream": spec.name, "tenant": owner.tenant, "trade": owner.trade}
    connection.execute(
        text("""
            INSERT INTO stream_owners (credential_id, stream, tenant, trade, version, sources)
            VALUES (:id, :stream, :tenant, :trade, :version, :sources)
            ON CONFLICT (credential_id, stream) DO UPDATE SET
                tenant = excluded.tenant, trade = excluded.trade, version = excluded.version, sources = excluded.sources
        """),
        {**bound, "version": spec.version, "sources": list(spec.after)},
    )


@functools.cache
def _staging_sql(spec: StreamSpec) -> str:
    """A temporary table, one a connection."""
    names = ", ".join(column.name for column in spec.columns)
    create = f"CREATE TEMP TABLE staging_{spec.name} ON COMMIT DELETE ROWS AS SELECT {names} FROM {spec.table}"  # noqa: S608
    return (
        f"DO $$ BEGIN IF to_regclass('pg_temp.staging_{spec.name}') IS NULL THEN {create} WHERE false; END IF; END $$"
    )


@functools.cache
def _upsert_sql(spec: StreamSpec) -> str:
    """A record from a file with the same key is taken over: what the API says is newer than any upload."""
    names = [column.name for column in spec.columns]
    compared = [*(name for name in names if name != spec.key), "trade", "credential_id", "spec_version"]
    updates = [f"{name} = excluded.{name}" for name in (*compared, "hub_plus_import_id")]
    updates += ["version = t.version + 1", "updated_at = clock_timestamp()"]
    mine, theirs = (", ".join(f"{side}.{name}" for name in compared) for side in ("t", "excluded"))
    return (
        f"WITH written AS (INSERT INTO {spec.table} AS t (tenant, software, trade, hub_plus_import_id, credential_id, "  # noqa: S608
        f"spec_version, updated_at, {', '.join(names)}) SELECT :tenant, :software, :trade, :import_id, "
        f":credential_id, :version, clock_timestamp(), {', '.join(names)} FROM staging_{spec.name} "
        f"ON CONFLICT (tenant, software, {spec.key}) DO UPDATE SET {', '.join(updates)} "
        f"WHERE ({mine}) IS DISTINCT FROM ({theirs}) RETURNING (xmax = 0) AS created) "
        "SELECT count(*) FILTER (WHERE created), count(*) FROM written"
    )
