"""Verdicts: what is news, what stays acknowledged, and what is written."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from st_pipeline.postgres.check_verdicts import LOCK, Severity, Status, Verdict, after, load, save
from st_pipeline_tests.checks.planted import tenants_in_order

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
HISTORY = text("SELECT status_before, status, at, message FROM check_history ORDER BY id")


def found(status: Status = Status.FAILED, at: datetime = NOW, credential_id: int = 1, **changed: object) -> Verdict:
    verdict = Verdict(credential_id, "company-1", "tenant", "made_up", status, Severity.WARN, at, at, "x", {"n": 1})
    return replace(verdict, **changed)  # type: ignore[arg-type]


def stored(status: Status = Status.FAILED, **changed: object) -> Verdict:
    return found(status, acknowledged_at=NOW, acknowledged_by="eve", acknowledged_because="known", **changed)


def test_the_same_again_is_no_news_and_stays_acknowledged():
    verdict = after(stored(), found(at=LATER))
    assert not verdict.is_news
    assert verdict.since == NOW
    assert verdict.checked_at == LATER
    assert verdict.acknowledged


@pytest.mark.parametrize(
    "change",
    [{"status": Status.PASSED}, {"status": Status.NOT_CHECKABLE}, {"severity": Severity.ERROR}, {"causes": ("new",)}],
)
def test_another_status_a_higher_severity_or_a_further_cause_is_news_and_ends_the_acknowledgement(
    change: dict[str, object],
):
    verdict = after(stored(), found(at=LATER, **change))
    assert verdict.is_news
    assert not verdict.acknowledged


def test_an_acknowledgement_may_end_by_itself():
    until = stored(acknowledged_until=LATER)
    assert after(until, found(at=LATER - timedelta(seconds=1))).acknowledged
    assert not after(until, found(at=LATER)).acknowledged


def test_causes_that_were_accepted_fail_no_check_until_a_further_one_comes():
    before = found(Status.PASSED, accepted=("a", "b"))
    passed = after(before, found(causes=("a",)))
    assert (passed.status, passed.is_news) == (Status.PASSED, False)
    assert "acknowledged" in passed.message
    failed = after(before, found(causes=("a", "c")))
    assert (failed.status, failed.is_news) == (Status.FAILED, True)
    assert failed.accepted == ("a", "b")


def test_each_change_of_status_is_one_row_of_history(engine: Engine):
    (tenant,) = tenants_in_order(engine, 1, NOW)
    moments = [NOW + timedelta(minutes=n) for n in range(6)]
    statuses = [Status.PASSED, Status.FAILED, Status.FAILED, Status.NOT_CHECKABLE, Status.NOT_CHECKABLE, Status.FAILED]
    for moment, status in zip(moments, statuses, strict=True):
        save(engine, [found(status, moment, tenant.credential_id, message=status.value)], only_changes=True)
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(HISTORY)] == [
            ("passed", "failed", moments[1], "failed"),
            ("failed", "not checkable", moments[3], "not checkable"),
            ("not checkable", "failed", moments[5], "failed"),
        ]
        (verdict,) = load(connection, status=Status.FAILED)
    assert (verdict.since, verdict.figures, verdict.tenant) == (moments[5], {"n": 1}, "company-1")


def test_two_at_once_who_see_the_same_change_write_it_once(engine: Engine):
    (tenant,) = tenants_in_order(engine, 1, NOW)
    save(engine, [found(Status.PASSED, credential_id=tenant.credential_id)], only_changes=True)
    with ThreadPoolExecutor(4) as pool, engine.connect() as other:
        # Nobody writes before all have seen the change.
        other.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        change = [found(at=LATER, credential_id=tenant.credential_id)]
        saving = [pool.submit(save, engine, change, only_changes=True) for _ in range(4)]
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = :lock")
        while other.execute(waiting, {"lock": LOCK}).scalar_one() < len(saving):
            pass
        other.rollback()
        news = [verdict.is_news for one in saving for verdict in one.result()]
    assert sorted(news) == [False, False, False, True]
    with engine.connect() as connection:
        assert len(connection.execute(HISTORY).all()) == 1


def test_what_fails_for_an_hour_is_written_again_though_only_changes_are(engine: Engine):
    (tenant,) = tenants_in_order(engine, 1, NOW)
    for minutes in (0, 59, 60):
        at = NOW + timedelta(minutes=minutes)
        save(engine, [found(at=at, credential_id=tenant.credential_id)], only_changes=True)
        with engine.connect() as connection:
            (verdict,) = load(connection)
        assert verdict.checked_at == (at if minutes != 59 else NOW)
        assert verdict.since == NOW


def test_a_tenant_that_was_removed_meanwhile_stops_nobody_and_takes_its_verdicts_along(engine: Engine):
    first, second = tenants_in_order(engine, 2, NOW)
    both = [found(credential_id=one.credential_id, tenant=one.partition_key) for one in (first, second)]
    save(engine, both, only_changes=False)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM servicetitan_credentials WHERE id = :id"), {"id": first.credential_id})
    save(engine, both, only_changes=False)
    with engine.connect() as connection:
        assert [one.tenant for one in load(connection)] == ["company-2"]
        assert connection.execute(text("SELECT count(*) FROM check_history")).scalar_one() == 1
