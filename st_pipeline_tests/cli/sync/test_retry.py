"""`st-pipeline retry-failed`: exactly what failed, as it was asked for, and nothing that has succeeded since."""

from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.sync.configuration import moment
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import Installation, widest

SCOPES = {scope for spec in ENTITIES.values() for scope in spec.scopes}


def plans(command: Command, *arguments: str) -> list[dict[str, Any]]:
    """What would be done again."""
    said = command("retry-failed", "--dry-run", "--json", *arguments)
    assert said.code == 0, said.all
    found: list[dict[str, Any]] = said.json
    return found


def test_what_failed_is_done_again_as_it_was_asked(installation: Installation, command: Command):
    """A full sync with its options, a window, and a poll: each tenant and entity that failed, and no other."""
    installation.add("acme", "birch", "cedar", "dune")
    for tenant in ("acme", "birch", "cedar"):
        installation.sources[tenant].fault("status", status=500, entity="job_types")
    full = {"incremental_only": False, "rewrite": True, "batch_size": 50}
    installation.synced("acme", only=("tag_types", "job_types"), **full)
    window = {"modified_from": moment("from", "2020-01-01"), "modified_to": moment("to", "2035-01-01")}
    installation.synced("birch", only=("job_types", "call_reasons"), **window)
    installation.synced("cedar", only=("tag_types", "job_types"), sync_type="scheduled")
    installation.synced("dune", only=("tag_types", "job_types"))

    found = {plan["tenant"]: plan for plan in plans(command)}
    assert {tenant: (plan["mode"], plan["entities"]) for tenant, plan in found.items()} == {
        "acme": ("full", ["job_types"]),
        "birch": ("window", ["job_types"]),
        "cedar": ("incremental", ["job_types"]),
    }
    assert found["acme"]["options"] == {"mode": "full", "rewrite": True, "batch_size": 50}
    said = command("retry-failed", "--dry-run")
    assert "acme: full sync of job_types (failed: 1)" in said.words
    assert widest(said.out) <= 80
    assert [plan["would_retry"] for plan in plans(command, "--max-retries", "2")] == [True, True, False]

    for source in installation.sources.values():
        source.clear_faults()
    installation.synced("cedar", only=("job_types",))  # has succeeded since, by another sync
    assert [plan["tenant"] for plan in plans(command)] == ["acme", "birch"]
    answer = command("retry-failed-syncs", "--json")
    assert answer.code == 0, answer.all
    assert [one["tenant"] for one in answer.json["tenants"]] == ["acme", "birch"]
    again = installation.rows(
        "SELECT t.partition_key, l.mode, l.sync_type, l.details->'asked' FROM servicetitan_sync_logs l "
        "JOIN tenants t USING (credential_id) WHERE l.dagster_run_id IS NOT NULL ORDER BY 1"
    )
    window_asked = {"modified_from": "2020-01-01T00:00:00+00:00", "modified_to": "2035-01-01T00:00:00+00:00"}
    assert again == [
        ("acme", "full", "manual", {"entities": ["job_types"], "rewrite": True, "batch_size": 50}),
        ("birch", "window", "manual", {"entities": ["job_types"], **window_asked}),
    ]
    assert plans(command) == []
    assert command("retry-failed").out == "nothing to retry\n"


def test_what_fails_again_is_exit_code_1_and_stays_to_be_retried(installation: Installation, command: Command):
    installation.add("acme")
    installation.sources["acme"].fault("status", status=500, entity="job_types")
    installation.synced("acme", only=("job_types",))
    said = command("retry-failed")
    assert (said.code, "acme: failed after" in said.out) == (1, True)
    (plan,) = plans(command)
    assert plan["failed_syncs"] == [1, 2]


def test_what_a_person_must_fix_can_be_skipped(installation: Installation, command: Command):
    """A missing scope, and what depends on it; what failed for another reason is retried."""
    installation.add("acme")
    source = installation.sources["acme"]
    source.change(scopes=sorted(SCOPES - {"tn.acc.invoices:r"}))
    source.fault("status", status=500, entity="payments")
    installation.synced("acme", data_type="invoices")
    assert plans(command)[0]["entities"] == ["invoices", "payments", "invoices_stream"]
    assert plans(command, "--exclude-auth-errors")[0]["entities"] == ["payments"]
    installation.change("DELETE FROM sync_log_entities WHERE entity = 'payments'")
    installation.change(
        "UPDATE servicetitan_sync_logs SET details = jsonb_set(details, '{asked,entities}', '[\"invoices\"]')"
    )
    assert plans(command, "--exclude-auth-errors") == []


def test_an_error_that_would_repeat_is_skipped_until_somebody_says_that_it_is_fixed(
    installation: Installation, command: Command
):
    """A crontab would repeat it every hour forever. What failed for another reason is retried."""
    installation.add("acme")
    source = installation.sources["acme"]
    source.fault("status", status=400, entity="invoices")
    source.fault("status", status=500, entity="job_types")
    installation.synced("acme", only=("invoices", "job_types", "invoices_stream"), incremental_only=False)
    assert installation.rows("SELECT error_kind FROM sync_log_entities WHERE entity = 'invoices'") == [
        ("PermanentApiError",)
    ]
    helped, left = plans(command)
    assert (helped["entities"], helped["would_retry"]) == (["job_types"], True)
    assert (left["entities"], left["would_retry"]) == (["invoices", "invoices_stream"], False)
    why = "fails again until the cause of PermanentApiError is fixed; then use --include-permanent"
    assert left["reason"] == why
    source.clear_faults()
    said = command("retry-failed")
    assert (said.code, f"acme: skipped: invoices, invoices_stream: {why}" in said.words) == (0, True)
    assert installation.last_asked()["entities"] == ["job_types"]
    again = command("retry-failed")  # however often
    assert (again.code, again.words.endswith("nothing to retry")) == (0, True)
    assert installation.value("SELECT count(*) FROM servicetitan_sync_logs") == 2
    (plan,) = plans(command, "--include-permanent")
    assert (plan["entities"], plan["would_retry"]) == (["invoices", "invoices_stream"], True)
    assert command("retry-failed", "--include-permanent").code == 0
    assert plans(command) == []


def test_what_a_killed_sync_had_not_begun_has_failed_too(installation: Installation, command: Command):
    installation.add("acme")
    installation.synced("acme", only=("tag_types", "job_types", "call_reasons"))
    installation.change("UPDATE servicetitan_sync_logs SET status = 'failed', message = 'the process ended'")
    installation.change("DELETE FROM sync_log_entities WHERE entity <> 'tag_types'")
    installation.change("DELETE FROM sync_cursors WHERE entity <> 'tag_types'")
    assert plans(command)[0]["entities"] == ["call_reasons", "job_types"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE servicetitan_credentials SET enabled = false", "disabled"),
        ("INSERT INTO tenant_schedules (credential_id, paused_at) SELECT id, now() FROM servicetitan_credentials",
         "paused"),
    ],
)  # fmt: skip
def test_disabled_and_paused_tenants_are_left(installation: Installation, command: Command, change: str, reason: str):
    _failed_once(installation)
    installation.change(change)
    assert [(plan["would_retry"], plan["reason"]) for plan in plans(command)] == [(False, reason)]
    assert command("retry-failed").out == f"acme: skipped: {reason}\nnothing to retry\n"


def test_a_tenant_being_synced_is_left_and_old_failures_too(installation: Installation, command: Command):
    _failed_once(installation)
    with installation.held("acme"):
        assert plans(command)[0]["reason"].startswith("being synced now, manual incremental sync")
    installation.change("UPDATE servicetitan_sync_logs SET started_at = started_at - interval '3 hours', "
                "completed_at = completed_at - interval '3 hours' WHERE status = 'failed'")  # fmt: skip
    assert plans(command, "--max-age", "2") == []
    assert len(plans(command, "-m", "4")) == 1


def _failed_once(installation: Installation) -> None:
    installation.add("acme")
    installation.sources["acme"].fault("status", status=500, entity="job_types")
    installation.synced("acme", only=("job_types",))
    installation.sources["acme"].clear_faults()
