"""What is deleted of our own tables and what stays; interrupted, locked, and done twice at once."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.operations.history import SyncFilter, totals
from st_pipeline.operations.retention import LOCK, delete_old_rows
from st_pipeline.postgres.old_rows import ROWS_PER_BATCH
from st_pipeline.settings import Settings
from st_pipeline.tenants import registration
from st_pipeline_tests.postgres.test_sync_figures import figures_of, put_sync
from st_pipeline_tests.tenants import planted

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def tenants(engine: Engine, settings: Settings) -> list[int]:
    """The credentials' ids of two tenants."""
    other = planted.new_credential(company="birch", tenant_id=2002)
    return [planted.put_tenant(engine, settings, new).credential_id for new in (None, other)]


@pytest.fixture
def rows(engine: Engine) -> Any:
    """What Postgres answers, or how many rows a statement touched."""

    def ask(statement: str, **bound: Any) -> Any:
        with engine.begin() as connection:
            result = connection.execute(text(statement), bound)
            return [tuple(row) for row in result] if result.returns_rows else result.rowcount

    return ask


def all_figures(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return figures_of(totals(connection, SyncFilter()))


def archived(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{kind}-*.jsonl.gz")):
        yield from map(json.loads, gzip.decompress(path.read_bytes()).splitlines())


def put_many(rows: Any, credential_id: int, number: int, at: datetime) -> None:
    """So many syncs, a second apart."""
    rows(
        "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, started_at, "
        "completed_at, duration_seconds, records_processed) SELECT :id, gen_random_uuid(), 'scheduled', "
        "'incremental', 'all', 'completed', CAST(:at AS timestamptz) + make_interval(secs => n), "
        "CAST(:at AS timestamptz) + make_interval(secs => n), 1, 1 FROM generate_series(1, :number) n",
        id=credential_id, number=number, at=at,
    )  # fmt: skip


def test_old_syncs_go_into_the_archive_and_their_figures_and_each_tenant_s_newest_stay(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any, tmp_path: Path
):
    acme, birch = tenants
    with engine.begin() as connection:
        old = [put_sync(connection, acme, NOW - timedelta(days=days)) for days in (120, 40, 31)]
        stays = [put_sync(connection, birch, NOW - timedelta(days=40), "failed")]  # it has none since
        stays += [put_sync(connection, acme, NOW - timedelta(days=31), "running")]
        stays += [put_sync(connection, acme, NOW - timedelta(days=days)) for days in (29, 1)]
    before = all_figures(engine)
    kept = settings.model_copy(update={"archive_folder": tmp_path / "archive"})
    report = delete_old_rows(engine, kept, now=NOW)
    assert (report.deleted["sync_log"], report.is_complete, report.skipped) == (3, True, set())
    assert [id_ for (id_,) in rows("SELECT id FROM servicetitan_sync_logs ORDER BY id")] == sorted(stays)
    assert rows("SELECT count(*) FROM sync_log_entities") == [(len(stays),)]
    assert all_figures(engine) == before
    assert rows("SELECT period, syncs FROM sync_figures ORDER BY starts_at") == [("day", 1), ("hour", 1), ("hour", 1)]
    documents = list(archived(tmp_path / "archive", "sync_log"))
    assert [(one["id"], one["tenant"]) for one in documents] == [(id_, "acme-plumbing") for id_ in old]
    assert [[row["entity"] for row in one["entities"]] for one in documents] == [["customers"]] * 3
    assert delete_old_rows(engine, kept, now=NOW).deleted.total() == 0


def test_a_job_that_is_cut_off_has_deleted_whole_batches_and_the_next_one_goes_on(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any
):
    put_many(rows, tenants[0], ROWS_PER_BATCH + 500, NOW - timedelta(days=40))
    before = all_figures(engine)
    once = iter([True])
    report = delete_old_rows(engine, settings, keep_going=lambda: next(once, False), now=NOW)
    assert (report.deleted["sync_log"], report.is_complete) == (ROWS_PER_BATCH, False)
    assert rows("SELECT count(*) FROM servicetitan_sync_logs") == [(500,)]
    assert all_figures(engine) == before
    assert delete_old_rows(engine, settings, now=NOW).deleted["sync_log"] == 499  # all but the tenant's newest
    assert all_figures(engine) == before


def test_rows_that_others_work_on_wait_for_the_next_day(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any, tmp_path: Path
):
    """A reject names the sync that found it; whoever writes that reject must not wait, nor hold up the rest.

    What the batch had written into the archive before it gave up goes.
    """
    settings = settings.model_copy(update={"archive_folder": tmp_path})
    put_many(rows, tenants[0], 3, NOW - timedelta(days=40))
    rows(
        "INSERT INTO sync_rejects (credential_id, entity, record_key, record, reasons, sync_log_id) "
        "SELECT credential_id, 'customers', 'k', '', '{}', min(id) FROM servicetitan_sync_logs GROUP BY 1"
    )
    rows("UPDATE servicetitan_credentials SET access_token = 'x', token_expires_at = :at", at=NOW - timedelta(hours=1))
    with engine.begin() as another:
        another.execute(text("SELECT FROM sync_rejects FOR UPDATE"))
        report = delete_old_rows(engine, settings, now=NOW)
    assert (report.skipped, report.deleted["sync_log"], report.deleted["tokens"]) == ({"sync_log"}, 0, 2)
    assert rows("SELECT count(*) FROM sync_figures") == [(0,)]
    with engine.begin() as another:  # a row that is locked itself is passed over
        another.execute(text("SELECT FROM servicetitan_sync_logs ORDER BY id LIMIT 1 FOR UPDATE"))
        assert delete_old_rows(engine, settings, now=NOW).deleted["sync_log"] == 1
    assert delete_old_rows(engine, settings, now=NOW).deleted["sync_log"] == 1
    assert len({one["id"] for one in archived(tmp_path, "sync_log")}) == len(list(archived(tmp_path, "sync_log"))) == 2
    assert list(tmp_path.glob("*.part")) == []


def test_only_rejects_go_that_were_dismissed_and_came_no_more(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any, tmp_path: Path
):
    """One that still comes every night would be reported as new without its row."""
    for key, dismissed, seen in (("gone", 100, 95), ("comes", 100, 1), ("fresh", 10, 100), ("open", None, 200)):
        rows(
            "INSERT INTO sync_rejects (credential_id, entity, record_key, record, reasons, dismissed_at, last_seen_at) "
            "VALUES (:id, 'customers', :key, 'abc', '{why}', :dismissed, :seen)",
            id=tenants[0], key=key, seen=NOW - timedelta(days=seen),
            dismissed=None if dismissed is None else NOW - timedelta(days=dismissed),
        )  # fmt: skip
    kept = settings.model_copy(update={"archive_folder": tmp_path})
    assert delete_old_rows(engine, kept, now=NOW).deleted["rejects"] == 1
    assert {key for (key,) in rows("SELECT record_key FROM sync_rejects")} == {"comes", "fresh", "open"}
    assert [one["record_key"] for one in archived(tmp_path, "rejects")] == ["gone"]


def test_alerts_that_are_over_for_long_go_with_their_messages(engine: Engine, settings: Settings, rows: Any):
    for number, closed in enumerate((NOW - timedelta(days=200), NOW - timedelta(days=100), None), 1):
        rows(
            "INSERT INTO alert_problems (cause, severity, message, since, hold_until, opened_at, closed_at, subject) "
            "VALUES ('run_failed', 'error', 'it died', :at, :at, :at, :closed, :subject)",
            at=NOW - timedelta(days=300), closed=closed, subject=str(number),
        )  # fmt: skip
        rows(
            "INSERT INTO alert_deliveries (channel, occasion, kind, problem_id, created_at, not_before) "
            "SELECT 'ops', subject, 'opened', id, since, since FROM alert_problems WHERE subject = :subject",
            subject=str(number),
        )
    assert delete_old_rows(engine, settings, now=NOW).deleted["alerts"] == 1
    assert rows("SELECT subject FROM alert_problems ORDER BY 1") == [("2",), ("3",)]
    assert rows("SELECT occasion FROM alert_deliveries ORDER BY 1") == [("2",), ("3",)]


def test_expired_tokens_and_old_requests_to_stop_go_and_the_audit_trail_is_whole(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any
):
    for id_, hours in zip(tenants, (-1, 1), strict=True):
        rows(
            "UPDATE servicetitan_credentials SET access_token = 'x', token_expires_at = :at WHERE id = :id",
            id=id_, at=NOW + timedelta(hours=hours),
        )  # fmt: skip
    rows("INSERT INTO sync_stops VALUES (gen_random_uuid(), 'x', now() - interval '2 days')")
    rows("INSERT INTO sync_stops VALUES (gen_random_uuid(), 'x', now() - interval '1 hour')")
    rows(
        "INSERT INTO audit_log (at, actor, origin, action, result) "
        "VALUES (now() - interval '9 years', 'ann', 'host', 'sync', 'done')"
    )
    trail = rows("SELECT count(*) FROM audit_log")
    report = delete_old_rows(engine, settings, now=NOW)
    assert (report.deleted["tokens"], report.deleted["stops"]) == (1, 1)
    assert rows("SELECT id FROM servicetitan_credentials WHERE access_token IS NULL") == [(tenants[0],)]
    assert rows("SELECT count(*) FROM audit_log") == trail


def test_counts_of_token_refreshes_go_with_the_figures_by_hour(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any
):
    """One row a tenant and day: 3.6 million a year for ten thousand tenants."""
    for id_, days in ((tenants[0], 91), (tenants[0], 90), (tenants[1], 400), (tenants[1], 0)):
        day = (NOW - timedelta(days=days)).date()
        rows("INSERT INTO token_refreshes (credential_id, day) VALUES (:id, :day)", id=id_, day=day)
    assert delete_old_rows(engine, settings, now=NOW).deleted["token_refreshes"] == 2
    kept = rows("SELECT credential_id, CAST(:now AS date) - day FROM token_refreshes ORDER BY 1", now=NOW.date())
    assert kept == [(tenants[0], 90), (tenants[1], 0)]


def test_changes_of_verdicts_go_after_their_time_and_the_latest_verdicts_stay(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any, tmp_path: Path
):
    acme, _ = tenants
    rows(
        "INSERT INTO check_history (credential_id, asset, check_name, status, severity, at, message, figures) "
        "SELECT :id, 'tenant', 'freshness', 'failed', 'error', CAST(:now AS timestamptz) - make_interval(days => n), "
        "'day ' || n, '{}' FROM unnest(ARRAY[200, 181, 179]) n",
        id=acme, now=NOW,
    )  # fmt: skip
    rows(
        "INSERT INTO check_verdicts (credential_id, asset, check_name, status, severity, since, checked_at, message, "
        "figures) VALUES (:id, 'tenant', 'freshness', 'failed', 'error', :old, :old, 'x', '{}')",
        id=acme, old=NOW - timedelta(days=400),
    )  # fmt: skip
    kept = settings.model_copy(update={"archive_folder": tmp_path})
    assert delete_old_rows(engine, kept, now=NOW).deleted["check_history"] == 2
    assert rows("SELECT message FROM check_history") == [("day 179",)]
    assert rows("SELECT count(*) FROM check_verdicts") == [(1,)]
    assert [one["message"] for one in archived(tmp_path, "check_history")] == ["day 200", "day 181"]


def test_old_reconciliations_go_with_what_they_found_but_for_each_tenant_s_newest(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any
):
    put = (
        "WITH r AS (INSERT INTO reconciliations (credential_id, sync_type, asked, started_at) "
        "VALUES (:id, 'manual', '{}', :at) RETURNING id) "
        "INSERT INTO reconciliation_entities (reconciliation_id, entity, compared, verdict, records_here, "
        "missing_here, gone_there, different, repaired, requests, bytes, document) "
        "SELECT id, 'jobs', 'totals', 'equal', 1, 0, 0, 0, 0, 4, 100, '{}' FROM r"
    )
    for id_, days in ((tenants[0], 402), (tenants[0], 401), (tenants[0], 1), (tenants[1], 900)):
        rows(put, id=id_, at=NOW - timedelta(days=days))
    assert delete_old_rows(engine, settings, now=NOW).deleted["reconciliations"] == 2
    kept = rows("SELECT r.credential_id, e.entity FROM reconciliations r JOIN reconciliation_entities e "
                "ON e.reconciliation_id = r.id ORDER BY 1")  # fmt: skip
    assert kept == [(tenants[0], "jobs"), (tenants[1], "jobs")]
    assert rows("SELECT count(*) FROM reconciliation_entities") == [(2,)]


def test_zero_days_keep_everything(engine: Engine, settings: Settings, tenants: list[int], rows: Any):
    put_many(rows, tenants[0], 3, NOW - timedelta(days=4000))
    rows("INSERT INTO token_refreshes (credential_id, day) VALUES (:id, '2015-01-01')", id=tenants[0])
    for_ever = dict.fromkeys(
        (
            "sync_log_days",
            "hourly_figures_days",
            "dagster_history_days",
            "dismissed_rejects_days",
            "reconciliations_days",
        ),
        0.0,
    )
    assert delete_old_rows(engine, settings.model_copy(update=for_ever), now=NOW).deleted.total() == 0


def test_a_tenant_whose_syncs_are_deleted_is_still_known_to_hold_rows(
    engine: Engine, settings: Settings, tenants: list[int], rows: Any
):
    """Its credential must not be pointed at another ServiceTitan tenant."""
    put_many(rows, tenants[0], 2, NOW - timedelta(days=40))
    newest = "(SELECT max(id) FROM servicetitan_sync_logs)"
    rows(f"UPDATE servicetitan_sync_logs SET records_processed = 0 WHERE id = {newest}")  # noqa: S608
    delete_old_rows(engine, settings, now=NOW)
    with engine.connect() as connection:
        assert [registration._has_rows(connection, id_) for id_ in tenants] == [True, False]


def test_two_at_once_do_not_delete_beside_each_other(engine: Engine, settings: Settings, tenants: list[int]):  # noqa: ARG001
    with engine.connect() as another:
        another.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        with pytest.raises(ConfigurationError, match="another process does so now"):
            delete_old_rows(engine, settings, now=NOW)
        another.invalidate()
    assert delete_old_rows(engine, settings, now=NOW).is_complete
