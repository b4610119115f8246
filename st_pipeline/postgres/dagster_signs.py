"""Signs of life in Dagster's own tables: its daemons' heartbeats, and runs that ended badly.

Here: the queries. Not here: what is made of the rows (alerts/), old rows (dagster_history.py). The tables are those of
the one version of Dagster that pyproject.toml names; a command asks them without importing Dagster.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from st_pipeline.errors import DatabaseUnavailable
from st_pipeline.postgres.dagster_database import storage_url
from st_pipeline.postgres.database import DRIVER, database_errors, engine_to
from st_pipeline.settings import Settings

# Without these no schedule runs, no sensor, no queued run; nobody notices a dead run; no backfill goes on.
DAEMONS = ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING", "BACKFILL")
# A run that ended because a tenant's sync failed has noted so; one that died, or failed as a whole, has not.
_ENDED_BY_ITSELF = """
    ({run}.status = 'SUCCESS' OR ({run}.status = 'FAILURE' AND EXISTS (
        SELECT FROM run_tags t WHERE t.run_id = {run}.run_id AND t.key = :result_tag
            AND t.value !~ 'failed_entities 0$')))
"""


@contextmanager
def connected(settings: Settings, engine: Engine, environment: Mapping[str, str]) -> Iterator[Connection | None]:
    """A connection to Dagster's own database. None: it has no tables, as where cron alone starts syncs.

    Raises DatabaseUnavailable. On the server of our own tables, which answers, a database without an answer does not
    exist.
    """
    url = storage_url(settings, engine, environment).set(drivername=DRIVER)
    ours = engine.url
    with engine_to(url) as there:
        try:
            with database_errors("read Dagster's database"):
                connection = there.connect()
        except DatabaseUnavailable:
            if (url.host, url.port or 5432) != (ours.host, ours.port or 5432):
                raise
            yield None
            return
        with database_errors("look for failed runs and dead daemons"), connection:
            has_tables = connection.execute(text("SELECT to_regclass('daemon_heartbeats')")).scalar() is not None
            yield connection if has_tables else None


def heartbeats(connection: Connection) -> dict[str, datetime]:
    """When each daemon gave its last sign of life; without those that never ran."""
    query = text("""
        SELECT daemon_type, "timestamp" AT TIME ZONE 'UTC' AS at FROM daemon_heartbeats
        WHERE daemon_type = ANY(:daemons) ORDER BY daemon_type
    """)
    return {row.daemon_type: row.at for row in connection.execute(query, {"daemons": list(DAEMONS)})}


def failed_jobs(connection: Connection, since: datetime, *, result_tag: str, message_tag: str) -> Sequence[Row[Any]]:
    """Jobs whose newest runs since then died or failed as a whole: how many, the newest, and its message, if any.

    `result_tag`: by which a run notes its figures; `message_tag`: why it failed.
    """
    query = text(f"""
        SELECT r.pipeline_name AS job, count(*) AS runs, (array_agg(r.run_id ORDER BY r.id DESC))[1] AS run_id,
            min(coalesce(to_timestamp(r.end_time), r.update_timestamp AT TIME ZONE 'UTC')) AS since,
            (array_agg((SELECT value FROM run_tags t WHERE t.run_id = r.run_id AND t.key = :message_tag LIMIT 1)
                       ORDER BY r.id DESC))[1] AS message
        FROM runs r
        WHERE r.status = 'FAILURE' AND r.update_timestamp >= CAST(:since AS timestamptz) AT TIME ZONE 'UTC'
            AND NOT {_ENDED_BY_ITSELF.format(run="r")}
            AND NOT EXISTS (SELECT FROM runs n WHERE n.pipeline_name = r.pipeline_name AND n.id > r.id
                            AND n.status IN ('SUCCESS', 'FAILURE') AND {_ENDED_BY_ITSELF.format(run="n")})
        GROUP BY r.pipeline_name ORDER BY r.pipeline_name
    """)  # noqa: S608 - constants
    bound = {"since": since, "result_tag": result_tag, "message_tag": message_tag}
    return connection.execute(query, bound).all()
