"""Old rows of Dagster's own tables: runs, events, check evaluations.

Here: which of them may go, as SQL. Not here: how long they are kept, and the loop (operations/); Dagster's API, which
deletes a run with all its events, and so the ones that the UI takes a partition's status from.

The UI shows a partition as materialized by its newest materialization, and as failed by a newer planned event of a
failed run; a check by its newest evaluation. These stay, with their runs' own rows, however old they are. All else of
an old run goes, and the run itself when nothing of it stays. The tables are those of the one version of Dagster that
pyproject.toml names.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from st_pipeline.postgres.old_rows import OldRows

ENDED = "('SUCCESS', 'FAILURE', 'CANCELED')"
RUNS_PER_BATCH = 100
MATERIALIZATION = "'ASSET_MATERIALIZATION'"
STATUS_EVENTS = (
    "('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_MATERIALIZATION_PLANNED', 'ASSET_FAILED_TO_MATERIALIZE')"
)


def _newer(kind: str) -> str:
    """Is there a newer event of this kind for the asset and partition of `t`? Two forms, as an index fits each."""
    query = f"EXISTS (SELECT FROM event_logs n WHERE n.asset_key = t.asset_key AND n.dagster_event_type = {kind}"
    return (
        f"CASE WHEN t.partition IS NULL THEN {query} AND n.partition IS NULL AND n.id > t.id) "
        f"ELSE {query} AND n.partition = t.partition AND n.id > t.id) END"
    )


SHOWS_STATUS = f"""(
    t.asset_key IS NOT NULL AND t.dagster_event_type IN {STATUS_EVENTS} AND NOT {_newer("t.dagster_event_type")}
    AND (t.dagster_event_type IN ({MATERIALIZATION}, 'ASSET_OBSERVATION') OR NOT {_newer(MATERIALIZATION)})
)"""
# As scalars, each found by an index: as EXISTS, Postgres compared every row with every kept evaluation.
IS_KEPT_CHECK = "(SELECT true FROM kept_checks k WHERE k.id = t.id)"
IS_OF_KEPT_CHECK = "(SELECT true FROM kept_checks k WHERE k.event_id = t.id LIMIT 1)"


def has_tables(engine: Engine) -> bool:
    """Is there a database, and has Dagster made its tables in it?"""
    try:
        with engine.connect() as connection:
            return connection.execute(text("SELECT to_regclass('event_logs')")).scalar() is not None
    except OperationalError:
        return False


def note_kept_checks(connection: Connection) -> None:
    """Note the newest evaluation of each check and partition, for this session: found row by row, it took too long."""
    with connection.begin():
        connection.execute(text("DROP TABLE IF EXISTS kept_checks"))
        connection.execute(
            text("""
                CREATE TEMPORARY TABLE kept_checks AS
                SELECT c.id, c.run_id, c.evaluation_event_storage_id AS event_id FROM asset_check_executions c
                WHERE c.id IN (SELECT max(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition)
            """)
        )
        connection.execute(text("CREATE INDEX ON kept_checks (id)"))
        connection.execute(text("CREATE INDEX ON kept_checks (run_id)"))
        connection.execute(text("CREATE INDEX ON kept_checks (event_id)"))
        connection.execute(text("ANALYZE kept_checks"))


def old_checks(before: datetime) -> OldRows:
    """Evaluations of checks. Deleting a run leaves them, so they go by their own age."""
    where = f"t.create_timestamp < CAST(:before AS timestamptz) AT TIME ZONE 'UTC' AND {IS_KEPT_CHECK} IS NULL"
    return OldRows("dagster_checks", "asset_check_executions", where, {"before": before})


def ended_runs(connection: Connection, before: datetime, after_id: int) -> Sequence[tuple[int, str]]:
    """The next runs that ended earlier: row and run ids."""
    query = text(f"""
        SELECT id, run_id FROM runs WHERE id > :after AND status IN {ENDED}
            AND coalesce(to_timestamp(end_time), update_timestamp AT TIME ZONE 'UTC') < :before
        ORDER BY id LIMIT {RUNS_PER_BATCH}
    """)  # noqa: S608 - constants
    with connection.begin():
        return [(row.id, row.run_id) for row in connection.execute(query, {"before": before, "after": after_id})]


def shows_status(connection: Connection, run_id: str) -> bool:
    """Does the UI take a status from this run? Then it stays, with these events and those of the run itself."""
    query = text(f"""
        SELECT EXISTS (SELECT FROM event_logs t WHERE t.run_id = :run AND {SHOWS_STATUS})
            OR EXISTS (SELECT FROM kept_checks WHERE run_id = :run)
    """)  # noqa: S608 - constants
    with connection.begin():
        return bool(connection.execute(query, {"run": run_id}).scalar_one())


def old_events(run_id: str, *, run_stays: bool) -> OldRows:
    """The events of an ended run that may go: of one that stays, log lines and what newer events have replaced."""
    where = f"t.run_id = :run AND NOT {SHOWS_STATUS} AND {IS_OF_KEPT_CHECK} IS NULL"
    if run_stays:
        where += " AND (t.dagster_event_type IS NULL OR t.dagster_event_type LIKE 'ASSET\\_%')"
    return OldRows("dagster_events", "event_logs", where, {"run": run_id}, before_delete=_delete_tags)


def old_run(row_id: int) -> OldRows:
    """The row of a run all of whose events are deleted; its tags go with it."""
    tags = "(SELECT jsonb_object_agg(r.key, r.value) FROM run_tags r WHERE r.run_id = t.run_id)"
    where = "t.id = :id AND NOT EXISTS (SELECT FROM event_logs e WHERE e.run_id = t.run_id)"
    return OldRows(
        "dagster_runs", "runs", where, {"id": row_id}, f"to_jsonb(t) || jsonb_build_object('tags', {tags})"
    )  # fmt: skip


def _delete_tags(connection: Connection, event_ids: Sequence[int]) -> None:
    connection.execute(text("DELETE FROM asset_event_tags WHERE event_id = ANY(:ids)"), {"ids": list(event_ids)})
