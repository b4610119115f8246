"""What real syncs leave behind when things go wrong becomes the right problem, and no message leaks anything."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from st_pipeline.alerts import collect, disk
from st_pipeline.alerts.disk import Disk
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.alerts.receiver import Minutes, Receiver
from st_pipeline_tests.failure_scenarios import FAILURE_SCENARIOS
from st_pipeline_tests.leaks import plant

ONLY_CUSTOMERS = {"data_type": "customers", "incremental_only": False, "rewrite": True}
# How the sync is asked for, and what is wrong then.
EXPECTED: dict[str, tuple[dict[str, Any], str]] = {
    "every answer is 500": ({}, "sync_failing"),
    "another client secret": ({}, "credentials_refused"),
    "Postgres refuses a chunk": (ONLY_CUSTOMERS, "sync_failing"),
}
OPEN = "SELECT cause, tenant FROM alert_problems WHERE closed_at IS NULL AND part_of IS NULL"


def test_what_real_failures_leave_behind_is_told_without_a_secret_or_a_record(synced_acme: Acme, receiver: Receiver):
    acme, leaks = synced_acme, plant(synced_acme)
    acme.settings = acme.settings.model_copy(update={"max_attempts": 1, "retry_max_seconds": 0.01})
    minutes = Minutes(acme.engine, acme.settings, receiver, datetime.now(UTC))
    minutes.set(channels="ops:digest=json://{url}/ops", alert_least_free_bytes=0, alert_late_poll_minutes=10_000_000)
    told = {}
    for name, (options, _) in EXPECTED.items():
        with FAILURE_SCENARIOS[name][0](acme):
            acme.sync(**options)
        minutes.pass_(30, every=15)
        told[name] = minutes.rows(OPEN)
        assert acme.sync(**options).success
        minutes.pass_(600, every=300)
    assert told == {name: [(cause, "acme")] for name, (_, cause) in EXPECTED.items()}
    assert len(receiver.log) == 2 * len(EXPECTED)
    for message in receiver.log:
        leaks.hear("a message", message)
    leaks.hear_database(acme.engine)
    assert "table alert_problems" in leaks.places
    assert leaks.found() == []


def test_a_postgres_without_space_is_one_problem_of_the_disk(minutes: Minutes, receiver: Receiver):
    minutes.add("acme", "birch")
    for tenant in ("acme", "birch"):
        minutes.fail(tenant, "invoices", error="DatabaseFull", message="the disk of Postgres is full")
    minutes.pass_(30, every=10)
    assert receiver.titles() == ["ERROR: Postgres: a disk is full or nearly full"]


@pytest.mark.parametrize(("free_bytes", "state"), [(2048, "ok"), (2047, "warning"), (256, "warning"), (255, "wrong")])
def test_a_disk_is_full_below_an_eighth_of_what_should_be_free(free_bytes: int, state: str):
    assert Disk(Path("/srv"), free_bytes, 10_000).state(2048) == state


def test_a_disk_of_this_machine_with_too_little_space_is_a_problem(minutes: Minutes, tmp_path: Path):
    minutes.set(home=tmp_path / "not" / "there", archive_folder=tmp_path, alert_least_free_bytes=10**18)
    (one,) = collect.of_disks(minutes.settings)
    (found,) = disk.disks(minutes.settings)
    assert (one.cause, one.subject, one.severity) == ("disk_full", str(tmp_path), "error")
    assert found.folder == tmp_path


def test_several_assets_of_a_failed_check_are_one_problem_and_an_acknowledged_one_is_none(
    minutes: Minutes, receiver: Receiver
):
    minutes.add("acme", "birch")
    minutes.verdict("acme", "completeness", "failed", "3 of 100 records are missing")
    minutes.verdict("birch", "completeness", "failed", "5 of 100 records are missing")
    minutes.change("UPDATE check_verdicts SET asset = 'invoices'")
    minutes.verdict("acme", "completeness", "failed", "1 of 10 records are missing", severity="warn")
    minutes.change("UPDATE check_verdicts SET acknowledged_at = now(), acknowledged_by = 'ann' "
                   "WHERE credential_id = :id", id=minutes.ids["birch"])  # fmt: skip
    minutes.pass_(6, every=3)
    (message,) = receiver.log
    assert message.title == "ERROR: Acme (acme): check completeness failed"
    assert "What: 3 of 100 records are missing (and 1 more)" in message.body
    assert "How bad: assets invoices, tenant" in message.body
    assert "/assets/servicetitan/invoices?view=checks" in message.body


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE companies SET enabled = false",
        "INSERT INTO switches (scope, name) VALUES ('company', 'acme')",
        "INSERT INTO tenant_schedules (credential_id, paused_at) SELECT id, now() FROM servicetitan_credentials",
    ],
    ids=["disabled", "switched off", "paused"],
)
def test_what_people_have_stopped_is_no_problem(minutes: Minutes, receiver: Receiver, change: str):
    minutes.add("acme")
    minutes.fail("acme", "invoices")
    minutes.refuse("acme")
    minutes.verdict("acme", "freshness", "failed", "2 hours behind")
    minutes.due("acme")
    minutes.change(change)
    minutes.pass_(60, every=20)
    assert receiver.log == []
