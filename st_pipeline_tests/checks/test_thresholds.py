"""Which threshold holds, and that a wrong name or number is said, never ignored."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.registry import CHECKS
from st_pipeline.checks.spec import Check, Severity, Status, Threshold
from st_pipeline.checks.thresholds import ThresholdKey, Thresholds, allowed, named
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import check_thresholds
from st_pipeline.postgres.check_thresholds import OwnThreshold
from st_pipeline.settings import Settings, load_settings
from st_pipeline_tests.checks.planted import tenants_in_order, verdicts

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)
REJECTED = Check("rejected", ("tenant",), Severity.WARN, "x", "x", (Threshold("share", 0.01, "x"),), lambda _: ())


def test_a_tenant_s_own_comes_before_everybody_s_and_an_entity_s_before_that_of_all():
    def values(*keys: str) -> dict[ThresholdKey, float]:
        return {named(key, [REJECTED]): number for number, key in enumerate(keys, 1)}

    everybody = values("rejected.share", "invoices.rejected.share")
    mine = {(7, key): 100 * value for key, value in values("rejected.share", "payments.rejected.share").items()}
    thresholds = Thresholds({("rejected", "share"): 0.01}, everybody, mine)
    asked = [(8, "jobs"), (8, "invoices"), (7, "jobs"), (7, "payments"), (7, "invoices")]
    assert [thresholds.value(*one, "rejected", "share") for one in asked] == [1, 2, 100, 200, 100]
    assert thresholds.smallest("rejected", "share") == 0.01
    assert Thresholds({("rejected", "share"): 0.01}).value(7, "jobs", "rejected", "share") == 0.01


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("rejected.shares", "did you mean rejected.share?"),
        ("share", "`st-pipeline checks show` lists them"),
        ("a.invoices.rejected.share", "is not a threshold"),
        ("invoice.rejected.share", "invoice is not an entity or stream; did you mean invoices"),
        ("", "is not a threshold"),
    ],
)
def test_a_name_that_no_threshold_has_is_refused_with_similar_ones(written: str, said: str):
    with pytest.raises(ConfigurationError) as refused:
        named(written, [REJECTED])
    assert said in str(refused.value)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_number_that_cannot_be_meant_is_refused(value: float):
    with pytest.raises(ConfigurationError, match=r"jobs\.rejected\.share"):
        allowed(ThresholdKey("jobs", "rejected", "share"), value)


@pytest.mark.parametrize(
    ("written", "said"),
    [("rejected.share", "is not a threshold: write one such as"), ("rejected.share=2%", "'2%' is not a number")],
)
def test_the_setting_s_form_is_checked_when_it_is_read(monkeypatch: pytest.MonkeyPatch, written: str, said: str):
    monkeypatch.setenv("ST_PIPELINE_CHECK_THRESHOLDS", written)
    with pytest.raises(ConfigurationError, match=r"ST_PIPELINE_CHECK_THRESHOLDS: .*") as refused:
        load_settings()
    assert said in str(refused.value)


def test_everybody_s_and_a_tenant_s_own_decide_a_check(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    tenants = tenants_in_order(engine, 2, NOW)
    later = NOW + timedelta(minutes=61)

    def late(settings: Settings) -> list[str]:
        found = verdicts(engine, settings, tenants, later, "freshness")
        return [tenant for tenant, one in found.items() if one.status is Status.FAILED]

    assert late(settings) == ["company-1", "company-2"]
    monkeypatch.setenv(
        "ST_PIPELINE_CHECK_THRESHOLDS", "freshness.late_minutes = 90, invoices.freshness.late_minutes=99"
    )
    lenient = settings.model_copy(update={"check_thresholds": load_settings().check_thresholds})
    assert late(lenient) == []
    own = OwnThreshold(tenants[1].credential_id, "", "freshness", "late_minutes", 30)
    with engine.begin() as connection:
        check_thresholds.save(connection, own)
    assert late(lenient) == ["company-2"]
    with engine.begin() as connection:
        assert check_thresholds.delete(connection, *own[:4])
        assert not check_thresholds.delete(connection, *own[:4])
    assert late(lenient) == []


def test_with_a_wrong_name_in_the_setting_no_check_passes_and_each_says_why(engine: Engine, settings: Settings):
    wrong = settings.model_copy(update={"check_thresholds": {"fresh.late_minutes": 1.0}})
    (tenant,) = tenants_in_order(engine, 1, NOW)
    found = evaluate(engine, wrong, [tenant], now=NOW)
    assert {one.check for one in found} == {check.name for check in CHECKS}
    assert {one.status for one in found} == {Status.FAILED}
    assert all("ST_PIPELINE_CHECK_THRESHOLDS: 'fresh.late_minutes' is not" in one.message for one in found)
    with engine.connect() as connection, pytest.raises(ConfigurationError, match=r"freshness\.late_minutes"):
        Thresholds.load(connection, wrong, CHECKS)
