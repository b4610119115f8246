"""Checks run after what changes them, save what is news, and never fail a sync."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from st_pipeline.checks import evaluate as evaluation
from st_pipeline.checks.evaluate import after_sync, current, evaluate, findings, time_driven
from st_pipeline.checks.registry import CHECKS, PAIRS
from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status
from st_pipeline.checks.thresholds import Thresholds
from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import Settings
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.checks.planted import tenants_in_order
from st_pipeline_tests.checks.two_companies import TwoCompanies

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)


def test_each_check_has_a_name_of_its_own_and_there_are_at_most_forty_pairs():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len(PAIRS) <= 40
    assert {asset for asset, _ in PAIRS} <= {TENANT, *SYNCED}
    assert all(check.description and check.advice for check in CHECKS)


def test_a_tick_writes_each_verdict_once_and_then_nothing(engine: Engine, settings: Settings):
    tenants_in_order(engine, 3, NOW)
    first = time_driven(engine, settings, NOW)
    assert {verdict.is_news for verdict in first} == {True}
    written = "SELECT count(*), max(checked_at) FROM check_verdicts"
    second = time_driven(engine, settings, NOW + timedelta(minutes=1))
    assert {verdict.is_news for verdict in second} == {False}
    with engine.connect() as connection:
        assert connection.execute(text(written)).one() == (len(first), NOW)
        assert connection.execute(text("SELECT count(*) FROM check_history")).scalar_one() == 0


def test_a_tick_forgets_what_fails_by_a_check_that_was_removed(engine: Engine, settings: Settings, tmp_path: Path):
    tenant = tenants_in_order(engine, 1, NOW)[0]
    own = settings.model_copy(update={"own_checks_folder": tmp_path})
    (tmp_path / "mine.sql").write_text("broken")
    evaluate(engine, own, [tenant], only=["mine"], now=NOW)
    failing = "SELECT check_name FROM check_verdicts WHERE status = 'failed'"
    with engine.connect() as connection:
        time_driven(engine, own, NOW)
        assert connection.execute(text(failing)).scalars().all() == ["mine"]
        (tmp_path / "mine.sql").unlink()
        time_driven(engine, own, NOW)
        assert connection.execute(text(failing)).scalars().all() == []


def test_a_full_sync_checks_everything_and_a_quiet_poll_nothing(engine: Engine, settings: Settings):
    tenant = tenants_in_order(engine, 2, NOW)[1]
    found = after_sync(engine, settings, tenant, (), is_full=True, now=NOW)
    assert {(one.asset, one.check) for one in found} == {(asset, check.name) for asset, check in PAIRS}
    assert {one.tenant for one in found} == {"company-2"}
    with engine.connect() as connection:
        assert {one.key for one in current(connection, tenant, {asset for asset, _ in PAIRS})} == {
            one.key for one in found
        }
    assert after_sync(engine, settings, tenant, (), is_full=False, now=NOW) == []


def test_a_poll_leaves_to_the_tick_what_is_asked_there_until_it_fails(engine: Engine, settings: Settings):
    tenant = tenants_in_order(engine, 2, NOW)[1]
    asked_with_ticks = {"freshness", "overruns", "credentials"}

    def after_poll() -> set[str]:
        return {one.check for one in after_sync(engine, settings, tenant, ["jobs"], is_full=False, now=NOW)}

    assert "service_quality" in after_poll()
    assert after_poll().isdisjoint(asked_with_ticks)
    with engine.begin() as connection:
        connection.execute(text("UPDATE servicetitan_credentials SET connection_status = 'error'"))
    time_driven(engine, settings, NOW)
    assert after_poll() & asked_with_ticks == {"credentials"}


def check_with(rule: object, assets: tuple[str, ...] = (TENANT,), reads: tuple[str, ...] = ()) -> Check:
    return Check("made_up", assets, Severity.WARN, "x", "x", (), rule, reads=reads)  # type: ignore[arg-type]


def asked(engine: Engine, settings: Settings, *assets: str) -> CheckInput:
    tenants = tenants_in_order(engine, 2, NOW)
    return CheckInput(engine, settings, tenants, frozenset(assets), NOW, Thresholds({}))


def test_a_rule_that_says_nothing_of_a_tenant_leaves_it_not_checkable(engine: Engine, settings: Settings):
    question = asked(engine, settings, "invoices", "payments")
    first = question.tenants[0].credential_id
    found = findings(check_with(lambda _: [Finding(first, "payments", Status.PASSED, "fine")]), question)
    assert [one.status for one in found] == [
        Status.NOT_CHECKABLE, Status.PASSED, Status.NOT_CHECKABLE, Status.NOT_CHECKABLE
    ]  # fmt: skip


def test_a_rule_that_fails_is_a_failed_check_without_the_data_in_its_error(engine: Engine, settings: Settings):
    question = asked(engine, settings, TENANT)

    def breaks(_: CheckInput) -> list[Finding]:
        raise ValueError("Jane Doe, 5 Elm Street")

    found = list(findings(check_with(breaks), question))
    assert {one.status for one in found} == {Status.FAILED}
    assert {one.message for one in found} == {"It could not be evaluated: ValueError"}

    def refuses(_: CheckInput) -> list[Finding]:
        raise ConfigurationError("the folder is gone")

    assert "the folder is gone" in next(findings(check_with(refuses), question)).message


@pytest.mark.parametrize(
    ("changed", "about"),
    [({"invoices"}, {"invoices", TENANT}), ({"jobs"}, set()), ({"payments"}, {TENANT}), (set(), set())],
)
def test_a_check_runs_again_when_what_it_reads_has_changed(changed: set[str], about: set[str]):
    check = check_with(None, ("invoices", TENANT), ("invoices", "payments"))
    assert check.is_about(frozenset(changed)) == about


def test_only_the_named_checks_and_assets_are_evaluated(engine: Engine, settings: Settings):
    tenants = tenants_in_order(engine, 2, NOW)
    found = evaluate(engine, settings, tenants, assets=[TENANT], only=["freshness"], now=NOW)
    assert [(one.tenant, one.asset, one.check) for one in found] == [
        ("company-1", TENANT, "freshness"), ("company-2", TENANT, "freshness")
    ]  # fmt: skip
    assert evaluate(engine, settings, tenants, assets=["nothing"], now=NOW) == []
    assert evaluation.evaluate(engine, settings, [], now=NOW) == []


def test_in_polls_what_reads_whole_tables_rests_for_an_hour_while_it_passes(two: TwoCompanies):
    two.verdicts()

    def evaluated(*changed: str) -> set[tuple[str, str]]:
        return {(one.asset, one.check) for one in two.after_poll("acme", *changed)}

    dear = {(asset, check.name) for asset, check in PAIRS if check.reads_all_rows and asset in ("payments", TENANT)}
    assert dear
    assert not dear & evaluated("payments")
    two.later = timedelta(minutes=61)
    assert dear <= evaluated("payments")
    assert not dear & evaluated("payments")


def test_in_polls_what_failed_is_evaluated_again_whatever_has_changed(two: TwoCompanies):
    two.execute("UPDATE st_payments SET applied_to = '[{\"appliedTo\": 1}]' WHERE credential_id = :acme")
    assert ("acme", "payments", "references") in two.failing()
    two.execute("DELETE FROM st_payments WHERE credential_id = :acme")
    found = {(one.asset, one.check): one for one in two.after_poll("acme", "jobs")}
    assert found["payments", "references"].status is Status.PASSED
    assert ("payments", "references") not in {(one.asset, one.check) for one in two.after_poll("acme", "jobs")}
