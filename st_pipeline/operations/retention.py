"""Deleting what is older than it is kept: the sync log, Dagster's history, dismissed rejects, tokens, requests to stop.

Here: what goes, in which order, and the loop. Not here: one batch (postgres/), the files that keep deleted rows
(archive). The audit trail is never shortened.

Each batch is a transaction, so that a job that is killed or runs out of time has done what it did, and the next one
begins with the oldest rows that are left. A sync's figures move to `sync_figures` in the transaction that deletes it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.operations.archive import Archive
from st_pipeline.postgres import alert_problems, dagster_history, sync_figures
from st_pipeline.postgres.dagster_database import check_deployment, storage_url
from st_pipeline.postgres.database import DRIVER, database_errors, engine_to
from st_pipeline.postgres.old_rows import ROWS_PER_BATCH, LockedByOthers, OldRows, delete_batch, holds
from st_pipeline.postgres.stops import KEPT as STOPS_KEPT
from st_pipeline.settings import Settings

LOCK = 7_305_203  # an arbitrary number: one process of a deployment at a time
TABLES = {
    "sync_log": "servicetitan_sync_logs",
    "rejects": "sync_rejects",
    "check_history": "check_history",
    "reconciliations": "reconciliations",
}
DAGSTER_TABLES = {"dagster_checks": "asset_check_executions", "dagster_events": "event_logs", "dagster_runs": "runs"}
EXPIRED_TOKENS = text(f"""
    UPDATE servicetitan_credentials SET access_token = NULL, token_expires_at = NULL WHERE id = ANY(ARRAY(
        SELECT id FROM servicetitan_credentials WHERE token_expires_at < :now
        LIMIT {ROWS_PER_BATCH} FOR UPDATE SKIP LOCKED))
""")  # noqa: S608 - constants
OLD_TOKEN_REFRESHES = text(f"""
    DELETE FROM token_refreshes WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM token_refreshes WHERE day < CAST(:day AS date) LIMIT {ROWS_PER_BATCH} FOR UPDATE SKIP LOCKED))
""")  # noqa: S608 - constants
OLD_STOPS = text(f"DELETE FROM sync_stops WHERE requested_at < now() - interval '{STOPS_KEPT}'")  # noqa: S608 - a constant


@dataclass(slots=True)
class Report:
    """What a job did: rows deleted by kind; `skipped`: kinds that others had locked; `is_complete`: nothing is left."""

    deleted: Counter[str] = field(default_factory=Counter)
    skipped: set[str] = field(default_factory=set)
    is_complete: bool = True


def delete_old_rows(
    engine: Engine,
    settings: Settings,
    *,
    dagster: Engine | None = None,
    forget_compute_logs: Callable[[str], None] = lambda _run_id: None,
    keep_going: Callable[[], bool] = lambda: True,
    now: datetime | None = None,
) -> Report:
    """Delete what the settings no longer keep. `keep_going` is asked before each batch.

    `dagster`: its database. `forget_compute_logs` gets the id of each run whose output goes. Raises ConfigurationError:
    another process does the same now, or the archive cannot be written; and DatabaseUnavailable.
    """
    report = Report()
    now = now or datetime.now(UTC)
    with _session(engine, "delete old rows") as ours, _only_one(ours):
        job = _Job(ours, settings, Archive(settings.archive_folder), keep_going, now, report)
        job.archive.settle(lambda kind, id_: holds(ours, TABLES[kind], id_), TABLES)
        _delete_ours(job)
        if dagster is not None:
            with _session(dagster, "delete old rows of Dagster's history") as theirs:
                job.connection = theirs
                job.archive.settle(lambda kind, id_: holds(theirs, DAGSTER_TABLES[kind], id_), DAGSTER_TABLES)
                _delete_dagster_s(job, forget_compute_logs)
    return report


@contextmanager
def dagster_engine(engine: Engine, settings: Settings, environment: Mapping[str, str]) -> Iterator[Engine | None]:
    """An engine on Dagster's database; None while it has no tables. Raises ConfigurationError: another deployment's."""
    url = storage_url(settings, engine, environment)
    check_deployment(url, engine)
    with engine_to(url.set(drivername=DRIVER)) as found:
        yield found if dagster_history.has_tables(found) else None


@dataclass(slots=True)
class _Job:
    connection: Connection
    settings: Settings
    archive: Archive
    keep_going: Callable[[], bool]
    now: datetime
    report: Report

    def before(self, days: float) -> datetime | None:
        """The moment up to which rows go; None when they are kept for ever."""
        return self.now - timedelta(days=days) if days else None

    def may_go_on(self) -> bool:
        """Is there time for another batch?"""
        self.report.is_complete &= self.keep_going()
        return self.report.is_complete

    def delete(self, rows: OldRows) -> None:
        """Delete these rows batch by batch."""
        after = 0
        while self.may_go_on():
            try:
                with self.archive.batch(rows.kind, self.now) as keep:
                    ids = delete_batch(self.connection, rows, after, keep if self.archive.is_on else None)
            except LockedByOthers:
                self.report.skipped.add(rows.kind)
                return
            self.report.deleted[rows.kind] += len(ids)
            if len(ids) < ROWS_PER_BATCH:
                return
            after = ids[-1]

    def repeat(self, kind: str, batch: Callable[[], int]) -> None:
        """Do a batch of at most ROWS_PER_BATCH rows, each in a transaction, until one has fewer."""
        while self.may_go_on():
            with self.connection.begin():
                rows = batch()
            self.report.deleted[kind] += rows
            if rows < ROWS_PER_BATCH:
                return


def _delete_ours(job: _Job) -> None:
    connection, settings = job.connection, job.settings
    before = job.before(settings.sync_log_days)
    if before is not None:
        job.delete(_old_syncs(connection, before))
    before = job.before(settings.hourly_figures_days)
    if before is not None:
        whole_days = before.replace(hour=0, minute=0, second=0, microsecond=0)
        for table in sync_figures.TABLES:
            job.repeat(
                "hourly_figures", partial(sync_figures.hours_to_days, connection, table, whole_days, ROWS_PER_BATCH)
            )
        day = {"day": before.date()}
        job.repeat("token_refreshes", lambda: connection.execute(OLD_TOKEN_REFRESHES, day).rowcount)
    before = job.before(settings.dismissed_rejects_days)
    if before is not None:
        # One that still comes must stay dismissed: without its row it would be reported anew.
        where = "t.dismissed_at < :before AND t.last_seen_at < :before"
        job.delete(OldRows("rejects", "sync_rejects", where, {"before": before}))
    before = job.before(settings.check_history_days)
    if before is not None:
        job.delete(OldRows("check_history", "check_history", "t.at < :before", {"before": before}))
    before = job.before(settings.reconciliations_days)
    if before is not None:
        job.delete(_old_reconciliations(before))
    before = job.before(settings.alert_history_days)
    if before is not None:
        with connection.begin():
            job.report.deleted["alerts"] = alert_problems.delete_closed(connection, before)
    with connection.begin():
        job.report.deleted["tokens"] = connection.execute(EXPIRED_TOKENS, {"now": job.now}).rowcount
        job.report.deleted["stops"] = connection.execute(OLD_STOPS).rowcount


def _old_syncs(connection: Connection, before: datetime) -> OldRows:
    """Syncs that ended, but for the newest of each tenant, with their entities' rows."""
    # Ids are given in the order of time, so that younger rows need not be read.
    first_kept = text("SELECT id FROM servicetitan_sync_logs WHERE started_at >= :before ORDER BY started_at LIMIT 1")
    with connection.begin():
        end = connection.execute(first_kept, {"before": before}).scalar()
    where = """
        t.started_at < :before AND t.id < :end AND t.status <> 'running' AND EXISTS (
            SELECT FROM servicetitan_sync_logs n WHERE n.credential_id = t.credential_id AND n.id > t.id)
    """
    document = """
        to_jsonb(t) || jsonb_build_object(
            'tenant', (SELECT partition_key FROM tenants WHERE credential_id = t.credential_id),
            'entities', (SELECT jsonb_agg(to_jsonb(e)) FROM sync_log_entities e WHERE e.sync_log_id = t.id))
    """
    values = {"before": before, "end": 2**63 - 1 if end is None else end}
    return OldRows("sync_log", "servicetitan_sync_logs", where, values, document, sync_figures.add)


def _old_reconciliations(before: datetime) -> OldRows:
    """All but the newest of each tenant, with their entities' rows."""
    where = """
        t.started_at < :before AND EXISTS (
            SELECT FROM reconciliations n WHERE n.credential_id = t.credential_id AND n.id > t.id)
    """
    document = """
        to_jsonb(t) || jsonb_build_object('entities', (
            SELECT jsonb_agg(to_jsonb(e)) FROM reconciliation_entities e WHERE e.reconciliation_id = t.id))
    """
    return OldRows("reconciliations", "reconciliations", where, {"before": before}, document)


def _delete_dagster_s(job: _Job, forget_compute_logs: Callable[[str], None]) -> None:
    before = job.before(job.settings.dagster_history_days)
    if before is None:
        return
    dagster_history.note_kept_checks(job.connection)
    job.delete(dagster_history.old_checks(before))
    for row_id, run_id in _ended_runs(job, before):
        # First, as only a run's row leads to them.
        forget_compute_logs(run_id)
        stays = dagster_history.shows_status(job.connection, run_id)
        job.delete(dagster_history.old_events(run_id, run_stays=stays))
        if not stays and job.report.is_complete:
            job.delete(dagster_history.old_run(row_id))


def _ended_runs(job: _Job, before: datetime) -> Iterator[tuple[int, str]]:
    after = 0
    while True:
        runs: Sequence[tuple[int, str]] = dagster_history.ended_runs(job.connection, before, after)
        for run in runs:
            if not job.may_go_on():
                return
            yield run
        if len(runs) < dagster_history.RUNS_PER_BATCH:
            return
        after = runs[-1][0]


@contextmanager
def _session(engine: Engine, doing: str) -> Iterator[Connection]:
    with database_errors(doing), engine.connect() as connection:
        yield connection


@contextmanager
def _only_one(connection: Connection) -> Iterator[None]:
    """Raises ConfigurationError when another process deletes old rows now."""
    with connection.begin():
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar_one()
    if not taken:
        raise ConfigurationError("delete old rows: another process does so now; try again when it has ended")
    try:
        yield
    finally:
        connection.invalidate()  # ends the session, and with it the lock
