"""What is wrong, as our tables say: a query a cause, for all tenants.

Here: the queries. Not here: what is made of the rows (alerts/). Tenants that people have disabled, paused or switched
off are left out.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from st_pipeline.postgres.switches import OFF

# A pause lasts ten minutes at most, and the poll after it says whether the API answers.
PAUSE_IS_OVER_AFTER = timedelta(minutes=15)
_SCHEDULED = f"""
    JOIN servicetitan_credentials c ON c.id = t.credential_id JOIN companies co ON co.id = c.company_id
    WHERE t.enabled AND NOT {OFF}
    AND NOT EXISTS (SELECT FROM tenant_schedules s WHERE s.credential_id = c.id AND s.paused_at IS NOT NULL)
"""


def api_pauses(connection: Connection, now: datetime) -> Sequence[Row[Any]]:
    """APIs that answer nobody, with the number of tenants that wait for each."""
    query = text("""
        SELECT environment, paused_until, pauses, reason,
            (SELECT count(*) FROM tenants t WHERE t.environment = p.environment AND t.enabled) AS tenants
        FROM api_pauses p WHERE paused_until > :ended
    """)
    return connection.execute(query, {"ended": now - PAUSE_IS_OVER_AFTER}).all()


def refused(connection: Connection) -> Sequence[Row[Any]]:
    """Tenants whose credentials are refused, also while that is taken for an outage."""
    query = text(f"""
        SELECT t.partition_key, t.environment, t.connection_message, c.refused_since, c.retry_at, c.refusals
        FROM tenants t {_SCHEDULED} AND (c.connection_status = 'error' OR c.refused_since IS NOT NULL)
    """)  # noqa: S608 - constants
    return connection.execute(query).all()


def failing(connection: Connection) -> Sequence[Row[Any]]:
    """Tenants whose last sync of some entities failed, with the newest error."""
    query = text(f"""
        WITH failing AS MATERIALIZED (
            SELECT credential_id, array_agg(entity ORDER BY entity) AS entities, min(last_failed_at) AS since
            FROM sync_cursors WHERE last_failed_at IS NOT NULL GROUP BY credential_id
        )
        SELECT t.partition_key, t.environment, f.entities, f.since, l.id AS sync, l.message, e.error_kind
        FROM failing f JOIN tenants t USING (credential_id)
        LEFT JOIN LATERAL (
            SELECT id, message FROM servicetitan_sync_logs
            WHERE credential_id = f.credential_id AND status = 'failed' ORDER BY id DESC LIMIT 1) l ON true
        LEFT JOIN LATERAL (
            SELECT error_kind FROM sync_log_entities
            WHERE sync_log_id = l.id AND status = 'failed' AND error_kind IS NOT NULL ORDER BY entity LIMIT 1) e ON true
        {_SCHEDULED}
    """)  # noqa: S608 - constants
    return connection.execute(query).all()


def failed_checks(connection: Connection, now: datetime) -> Sequence[Row[Any]]:
    """Failed checks that nobody has acknowledged, a row for each asset."""
    query = text(f"""
        SELECT t.partition_key, t.environment, v.check_name, v.asset, v.severity, v.since, v.message
        FROM check_verdicts v JOIN tenants t USING (credential_id) {_SCHEDULED} AND v.status = 'failed'
            AND (v.acknowledged_at IS NULL OR v.acknowledged_until <= :now)
        ORDER BY v.check_name, v.severity, v.since, v.asset
    """)  # noqa: S608 - constants
    return connection.execute(query, {"now": now}).all()
