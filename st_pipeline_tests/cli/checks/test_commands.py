"""`st-pipeline checks`: what people and cron learn of it, acknowledging, and a tenant's own thresholds."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from st_pipeline.checks.registry import CHECKS
from st_pipeline_tests.checks.planted import execute, tenants_in_order
from st_pipeline_tests.cli.conftest import Command, assert_refused

REFUSED = (
    "UPDATE servicetitan_credentials SET connection_status = 'error', connection_message = 'it was withdrawn' "
    "WHERE id = :id"
)
IN_ORDER = "UPDATE servicetitan_credentials SET connection_status = 'connected', connection_message = NULL"
TRAIL = "SELECT action, tenant, result, details FROM audit_log ORDER BY id"
CREDENTIALS = ("--check", "credentials")


@pytest.fixture
def three(engine: Engine) -> Engine:
    """Three tenants, the second of which ServiceTitan refuses."""
    tenants = tenants_in_order(engine, 3, datetime.now(UTC))
    execute(engine, REFUSED, id=tenants[1].credential_id)
    return engine


def test_a_failing_check_is_listed_with_exit_code_1_until_it_recovers(three: Engine, command: Command):
    assert command("checks", "list").out == "nothing was checked yet\n"
    run = command("checks", "run", *CREDENTIALS)
    assert run.code == 1
    assert run.out.startswith("company-2: credentials has failed since 20")
    assert "    Its credentials do not work: it was withdrawn\n" in run.out
    assert run.out.endswith("1 failed, 2 passed, 0 not checkable\n")
    assert max(map(len, run.out.splitlines())) <= 80
    listed = command("checks", "list")
    assert (listed.code, listed.out) == (1, run.out)
    assert [one["tenant"] for one in command("checks", "list", "--json").json] == ["company-2"]
    assert command("checks", "list", "company-1").code == 0
    every = command("checks", "list", "--all", *CREDENTIALS).out
    assert "company-1: credentials has passed since 20" in every

    execute(three, IN_ORDER)
    assert command("checks", "list").code == 1  # it was not evaluated again
    assert command("checks", "run", *CREDENTIALS).code == 0
    assert command("checks", "list").out == "0 failed, 3 passed, 0 not checkable\n"
    said = command("checks", "show", "credentials", "--tenant", "company-2")
    assert said.code == 0
    assert "failed →" in said.words
    assert [one["status"] for one in command("checks", "show", "credentials", "--tenant", "company-2", "--json").json[
        "history"]] == ["passed", "failed"]  # fmt: skip


def test_what_needs_somebody_comes_first_and_the_list_ends_where_it_was_asked_to(three: Engine, command: Command):
    execute(three, "UPDATE servicetitan_credentials SET expires_on = current_date + 3 WHERE id <> 2")
    assert command("checks", "run", *CREDENTIALS).out.startswith("company-2: credentials has failed")
    short = command("checks", "list", "--limit", "1")
    assert short.out.startswith("company-2: credentials has failed")
    assert "1 of 3; --limit shows more" in short.out
    assert len(command("checks", "list", "--limit", "1", "--json").json) == 3


def test_a_disabled_tenant_is_listed_only_by_its_name(three: Engine, command: Command):
    command("checks", "run", *CREDENTIALS)
    execute(three, "UPDATE servicetitan_credentials SET enabled = false WHERE id = 2")
    assert command("checks", "list").code == 0
    assert command("checks", "run", *CREDENTIALS).out == "0 failed, 2 passed, 0 not checkable\n"
    assert command("checks", "list", "company-2").code == 1


def test_a_warning_is_shown_and_does_not_change_the_exit_code(three: Engine, command: Command):
    execute(three, IN_ORDER)
    execute(three, "UPDATE servicetitan_credentials SET expires_on = current_date + 3")
    said = command("checks", "run", *CREDENTIALS)
    assert said.code == 0
    assert "3 failed" in said.out
    assert "(warn)" in said.out


def test_an_acknowledged_check_fails_no_command_until_it_recovers(three: Engine, command: Command):
    command("checks", "run", *CREDENTIALS)
    because = ("--because", "they are being sold")
    said = command("checks", "ack", "company-2", "credentials", *because)
    assert (said.code, said.out) == (0, "company-2: credentials is acknowledged\n")
    listed = command("checks", "run", *CREDENTIALS)
    assert listed.code == 0
    assert "acknowledged by " in listed.out
    assert "they are being sold" in listed.out
    assert "1 failed (1 acknowledged)" in listed.out
    execute(three, IN_ORDER)
    command("checks", "run", *CREDENTIALS)
    execute(three, REFUSED, id=2)
    assert command("checks", "run", *CREDENTIALS).code == 1
    with three.connect() as connection:
        (row,) = connection.execute(text(TRAIL)).all()
    assert (row.action, row.tenant, row.result) == ("checks.ack", "company-2", "done")
    assert row.details == {"check": "credentials", "because": because[1], "until": None, "assets": "tenant"}


def test_an_acknowledgement_for_some_days_ends_with_them(three: Engine, command: Command):
    command("checks", "run", *CREDENTIALS)
    command("checks", "ack", "company-2", "credentials", "--days", "2", "--because", "x")
    listed = command("checks", "list")
    assert listed.code == 0
    assert "acknowledged until 20" in listed.out
    execute(three, "UPDATE check_verdicts SET acknowledged_until = now() - interval '1 minute'")
    assert command("checks", "run", *CREDENTIALS).code == 1


def test_drift_that_is_acknowledged_passes_at_once(three: Engine, command: Command):
    execute(
        three,
        "INSERT INTO field_drift (credential_id, entity, field, kind, value, records, first_seen_at, last_seen_at) "
        "SELECT id, 'invoices', 'color', 'unknown key', '', 3, now(), now() FROM servicetitan_credentials WHERE id = 2",
    )
    assert command("checks", "run", "--check", "drift").out.startswith("company-2: drift has failed")
    said = command("checks", "ack", "company-2", "drift", "--because", "we do not need it")
    assert said.out == "company-2: drift passes from now on\n"
    assert "0 failed" in command("checks", "run", "--check", "drift").out


@pytest.mark.usefixtures("three")
def test_all_checks_are_explained(command: Command):
    every = command("checks", "show", "--json").json
    assert [one["check"] for one in every] == [check.name for check in CHECKS]
    said = command("checks", "show").out
    assert max(map(len, said.splitlines())) <= 80
    for check in CHECKS:
        one = command("checks", "show", check.name)
        assert (one.code, max(map(len, one.out.splitlines())) <= 80) == (0, True)
        assert all(f"{check.name}.{threshold.name}" in one.words for threshold in check.thresholds)
        assert "it fails for nobody" in one.out


def test_a_tenant_s_own_threshold_holds_for_it_alone_until_it_is_dropped(three: Engine, command: Command):
    execute(three, "UPDATE sync_cursors SET complete_through = :at", at=datetime.now(UTC) - timedelta(minutes=55))
    run = ("checks", "run", "--check", "freshness")
    assert "3 failed" in command(*run).out
    name = "freshness.late_minutes"
    assert command("checks", "set", "company-1", name, "300").out == f"tenant company-1: {name} is 300\n"
    assert "2 failed, 1 passed" in command(*run).out
    shown = command("checks", "show", "freshness", "--tenant", "company-1", "--json").json
    assert [one["value"] for one in shown["thresholds"] if one["name"] == name] == [300]
    assert command("checks", "set", "company-1", name, "default").out == f"tenant company-1: {name} is 30\n"
    assert "3 failed" in command(*run).out
    with three.connect() as connection:
        found = [(row.action, row.details["value"]) for row in connection.execute(text(TRAIL))]
    assert found == [("checks.set", 300.0), ("checks.set", None)]


REFUSALS = {
    ("list", "--check", "fresh"): "unknown check fresh: did you mean freshness?",
    ("run", "--tenant", "company-9"): "unknown tenant 'company-9'",
    ("show", "fresh"): "unknown check fresh",
    ("show", "--tenant", "company-1"): "--tenant needs a check",
    ("ack", "company-1", "credentials", "--because", "x"): "does not fail, so there is nothing to acknowledge",
    ("ack", "company-1", "credentials", "--because", " "): "--because is empty",
    ("set", "company-1", "freshness.minutes", "1"): "did you mean freshness.late_minutes?",
    ("set", "company-1", "freshness.late_minutes", "2%"): "'2%' is not a number",
    ("set", "company-1", "service_quality.failed_syncs_share", "2"): "2 is not a share from 0 to 1; 2 % is 0.02",
    ("set", "company-9", "freshness.late_minutes", "1"): "unknown tenant 'company-9'",
}


@pytest.mark.usefixtures("three")
def test_a_wrong_name_or_number_is_refused(command: Command):
    for arguments, said in REFUSALS.items():
        assert_refused(command("checks", *arguments), said)


def test_a_wrong_setting_is_said_before_anything_is_evaluated(
    three: Engine, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ST_PIPELINE_CHECK_THRESHOLDS", "freshness.late=3")
    assert_refused(command("checks", "run"), "ST_PIPELINE_CHECK_THRESHOLDS: 'freshness.late' is not a threshold")
    with three.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM check_verdicts")).scalar_one() == 0
