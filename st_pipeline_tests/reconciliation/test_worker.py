"""The scheduled reconciliation: in its hours, whoever is due, each once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from st_pipeline.errors import ConfigurationError
from st_pipeline.reconciliation.worker import BEGINS_FOR_SECONDS, ReconciliationWorker, is_open
from st_pipeline.settings import Settings
from st_pipeline_tests.acme import Acme

IN_ITS_HOURS = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # 06:00 in Chicago
DUE = "UPDATE reconciliations SET started_at = started_at - interval '7 days'"


def compared(acme: Acme, now: datetime | None = None, **settings: Any) -> list[str]:
    """Who is compared, in a run that begins now."""
    always = {"reconciliation_cron": "* * * * *", **settings}
    worker = ReconciliationWorker(acme.engine, acme.settings.model_copy(update=always))
    if now is not None:
        worker.now = lambda: now
    return [f"{one.tenant} {one.verdict}" for one in worker.findings()]


@pytest.mark.parametrize(
    ("hour", "is_in"), [("11:29", False), ("11:31", True), ("14:29", True), ("14:31", False), ("23:00", False)]
)
def test_tenants_are_compared_for_three_hours_from_half_past_five(hour: str, is_in: bool):
    settings = Settings()  # 05:30 in Chicago
    assert is_open(settings, datetime.fromisoformat(f"2026-03-04T{hour}:00+00:00")) is is_in
    assert not is_open(settings.model_copy(update={"reconciliation_every_days": 0}), IN_ITS_HOURS)
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_RECONCILIATION_CRON"):
        is_open(settings.model_copy(update={"reconciliation_cron": "at noon"}), IN_ITS_HOURS)


def test_a_tenant_is_compared_once_a_week_and_what_was_found_is_kept(synced_acme: Acme):
    acme = synced_acme
    assert compared(acme) == ["acme equal"]
    assert acme.rows("SELECT sync_type, verdict, claimed_until FROM reconciliations") == [("scheduled", "equal", None)]
    assert acme.value("SELECT count(*) FROM reconciliation_entities") > 20
    assert compared(acme) == []
    acme.execute(DUE)
    assert compared(acme) == ["acme equal"]


def test_a_claim_holds_until_its_run_is_dead(synced_acme: Acme):
    acme = synced_acme
    compared(acme)
    dies = "UPDATE reconciliations SET ended_at = NULL, verdict = NULL, claimed_until = now() + CAST(:left AS interval)"
    acme.execute(dies, left="1 minute")
    assert compared(acme) == []
    acme.execute(dies, left="-1 minute")
    assert compared(acme) == ["acme equal"]


STANDS_IN_THE_WAY = {
    "the company is disabled": "UPDATE companies SET enabled = false",
    "the tenant is paused": "INSERT INTO tenant_schedules (credential_id, paused_at) "
    "SELECT credential_id, now() FROM tenants",
    "everything is off": "INSERT INTO switches (scope, name) VALUES ('everything', '')",
    "ServiceTitan refuses it": "UPDATE servicetitan_credentials SET connection_status = 'error'",
    "it was never loaded": "UPDATE servicetitan_credentials SET last_sync_at = NULL",
}


@pytest.mark.parametrize("reason", STANDS_IN_THE_WAY)
def test_nobody_is_compared_when(synced_acme: Acme, reason: str):
    synced_acme.execute(STANDS_IN_THE_WAY[reason])
    assert compared(synced_acme) == []


def test_outside_its_hours_nobody_is_compared(synced_acme: Acme):
    closed = IN_ITS_HOURS + timedelta(hours=6)
    assert compared(synced_acme, closed, reconciliation_cron="30 5 * * *") == []


def test_a_run_begins_with_nobody_when_little_of_its_time_is_left(synced_acme: Acme):
    times = iter((0.0, BEGINS_FOR_SECONDS))
    settings = synced_acme.settings.model_copy(update={"reconciliation_cron": "* * * * *"})
    worker = ReconciliationWorker(synced_acme.engine, settings, clock=lambda: next(times))
    assert list(worker.findings()) == []


def test_the_scheduled_comparison_repairs_where_the_setting_says_so(synced_acme: Acme):
    acme = synced_acme
    acme.execute("DELETE FROM st_invoices WHERE st_id = :id", id=acme.source.ids("invoices")[3])
    assert compared(acme) == ["acme differs"]
    acme.execute(DUE)
    assert compared(acme, reconciliation_repairs=True) == ["acme repaired"]
    assert acme.differences() == []
    assert acme.value("SELECT sync_type FROM servicetitan_sync_logs ORDER BY id DESC") == "scheduled"
