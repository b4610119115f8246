"""What the read-only role `st_pipeline_reader` may read, where a database administrator created it.

Here: the tables, and the grants that `migrate` brings up to date. Not here: creating the role, for which the pipeline's
own role needs no right (docs/operating.md).
"""

from sqlalchemy import Connection, text

ROLE = "st_pipeline_reader"
# Besides all views, the entities' tables (st_…) and the streams (…_stream).
TABLES = (
    "check_history",
    "check_verdicts",
    "companies",
    "field_drift",
    "reconciliation_entities",
    "reconciliations",
    "servicetitan_sync_logs",
    "stream_owners",
    "stream_pending",
    "sync_cursors",
    "sync_figures",
    "sync_figures_entities",
    "sync_log_entities",
    "tenant_polls",
    "token_refreshes",
)
# The columns that views need of tables with more than a reader may see: secrets, and the bytes of rejected records.
COLUMNS = {
    "servicetitan_credentials": (
        "id, company_id, environment, tenant_id, enabled, connection_status, connection_message, last_tested_at, "
        "last_sync_at"
    ),
    "sync_rejects": "credential_id, entity, dismissed_at",
}
# Only what we may grant: a role that does not own the tables can still run `migrate` when there is nothing to do.
NOT_GRANTED = """
    SELECT CAST(CAST(c.oid AS regclass) AS text) FROM pg_class c
    WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind IN ('r', 'p', 'v')
          AND pg_has_role(c.relowner, 'USAGE') AND NOT has_table_privilege(:role, c.oid, 'SELECT')
          AND (c.relkind = 'v' OR c.relname ^@ 'st_' OR c.relname ~ '_stream$' OR c.relname = ANY(:tables))
    ORDER BY c.relname
"""
OWNED = "SELECT count(*) FROM pg_class WHERE oid = to_regclass(:table) AND pg_has_role(relowner, 'USAGE')"


def grant_reading(connection: Connection) -> None:
    """Let the role read the present tables. Without the role nothing happens."""
    if not connection.execute(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": ROLE}).scalar_one():
        return
    bound = {"role": ROLE, "tables": list(TABLES)}
    for table in connection.execute(text(NOT_GRANTED), bound).scalars().all():
        connection.exec_driver_sql(f"GRANT SELECT ON {table} TO {ROLE}")
    for table, columns in COLUMNS.items():
        if connection.execute(text(OWNED), {"table": table}).scalar_one():
            connection.exec_driver_sql(f"GRANT SELECT ({columns}) ON {table} TO {ROLE}")
