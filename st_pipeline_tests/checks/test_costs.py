"""A check of one tenant reads no rows of others, however many they have."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, event, text

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.entities import ENTITIES
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS
from st_pipeline_tests.checks.planted import tenants_in_order

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)
MANY = 3000
NAMES = {"customer_id", "location_id", "job_id", "invoice_id"}


def fill(engine: Engine) -> None:
    """So many rows of each entity and stream for the second tenant, and none for the first."""
    with engine.begin() as connection:
        for spec in ENTITIES.values():
            if spec.lists:
                continue
            named = [column.name for column in spec.columns if column.name in NAMES]
            columns, values = "".join(f", {name}" for name in named), ", n" * len(named)
            connection.execute(
                text(
                    f"INSERT INTO {spec.table} (credential_id, st_id, record_hash, spec_version, local_synced_at"  # noqa: S608
                    f"{columns}) SELECT (SELECT max(id) FROM servicetitan_credentials), n, 0, 2, now(){values} "
                    f"FROM generate_series(1, {MANY}) n"
                )
            )
        for stream in STREAMS.values():
            connection.execute(
                text(
                    f"INSERT INTO {stream.table} (tenant, software, {stream.key}, hub_plus_import_id, credential_id) "  # noqa: S608
                    "SELECT 'A-1', 'ServiceTitan', n, 'x', (SELECT max(id) FROM servicetitan_credentials) "
                    f"FROM generate_series(1, {MANY}) n"
                )
            )
        connection.execute(text("UPDATE companies SET intacct_id = slug"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def rows_read(node: dict[str, Any]) -> float:
    """Rows that the scans of a plan read, whether or not they passed a filter."""
    own = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0) if "Relation Name" in node else 0
    return own * node.get("Actual Loops", 1) + sum(rows_read(one) for one in node.get("Plans", ()))


def test_checks_of_one_tenant_read_no_rows_of_others(engine: Engine, settings: Settings):
    tenants = tenants_in_order(engine, 2, NOW)
    fill(engine)
    queries: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        queries.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    evaluate(engine, settings, tenants[:1], now=NOW)
    event.remove(engine, "before_cursor_execute", note)
    assert any("st_invoices" in statement for statement, _ in queries)
    with engine.connect() as connection:
        for statement, parameters in queries:
            if statement.startswith("SET LOCAL"):
                connection.exec_driver_sql(statement)
            elif statement.lstrip().startswith(("SELECT", "WITH")):
                explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
                plan = connection.exec_driver_sql(explain, parameters).scalar_one()
                assert rows_read(plan[0]["Plan"]) < MANY / 10, statement
