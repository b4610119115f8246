"""What must be true when the soak has ended.

Here: each statement, as differences in words. Not here: how it came to that (soak.py).
"""

from sqlalchemy import Engine, text

from st_pipeline.cli.demo.proof import prove_streams, prove_tenant
from st_pipeline.errors import ConfigurationError
from st_pipeline_tests.soak.deployment import Deployment

LEFT_OVER = {
    "syncs still running": "servicetitan_sync_logs WHERE status = 'running'",
    "entities still running": "sync_log_entities WHERE status = 'running'",
    "leases not given back": "tenant_leases",
    "tenants still claimed": "tenant_polls WHERE claimed_until IS NOT NULL",
    "tenants that were never polled": "tenant_polls WHERE polled_at IS NULL",
    "stream keys still waiting": "stream_pending",
    "records rejected": "sync_rejects",
    "full passes that have not finished": "sync_cursors WHERE full_started_at IS NOT NULL",
}
# Without the tables of records, which grow with the source, and the sync log and the audit trail, which have a
# retention of their own.
OPERATIVE = ("tenant_polls", "sync_cursors", "tenant_leases", "stream_pending", "seen_ids", "sync_stops")


def differences(deployment: Deployment) -> list[str]:
    """Everything that is not as it must be; empty when all is well."""
    found = []
    with deployment.engine.connect() as connection:
        for what, rows in LEFT_OVER.items():
            count = connection.execute(text(f"SELECT count(*) FROM {rows}")).scalar_one()  # noqa: S608 - ours
            found += [f"{what}: {count}"] if count else []
        for name, source in sorted(deployment.tenants.items()):
            truth = source.truth()
            try:
                tables = prove_tenant(connection, name, truth).differences
                found += [f"{name}: {one}" for one in tables + prove_streams(connection, name, truth)]
            except ConfigurationError as error:
                found.append(str(error))
    return found


def operative_rows(engine: Engine) -> int:
    """Rows of the tables that must not grow with time."""
    with engine.connect() as connection:
        return sum(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in OPERATIVE)  # noqa: S608
