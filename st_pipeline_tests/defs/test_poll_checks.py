"""Checks run beside the polls: nobody waits for them before the end, and nothing of them is lost."""

import threading
from collections.abc import Collection, Iterator

import dagster as dg
import pytest

from st_pipeline.checks.spec import CheckedTenant, Verdict
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.poll_checks import THREADS, PollChecks
from st_pipeline.servicetitan.deadline import NO_DEADLINE

TENANTS = [CheckedTenant(number, f"company-{number}") for number in range(1, THREADS + 3)]


class Evaluations:
    """Stands for the evaluation, which ends when it is let go, and for what is shown of it."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun: list[str] = []
        self.shown: list[str] = []

    def evaluate(self, tenant: CheckedTenant, _changed: Collection[str]) -> list[Verdict]:
        """As a thread does."""
        self.begun.append(tenant.partition_key)
        assert self.may_end.wait(30)
        return []

    def show(
        self, tenant: CheckedTenant, materialized: Collection[str], _found: Collection[Verdict]
    ) -> Iterator[dg.AssetMaterialization]:
        """An event for each."""
        self.shown.append(tenant.partition_key)
        for name in materialized:
            yield dg.AssetMaterialization(asset_key(name), partition=tenant.partition_key)


@pytest.fixture
def made() -> Iterator[Evaluations]:
    evaluations = Evaluations()
    yield evaluations
    evaluations.may_end.set()


def test_a_slow_evaluation_holds_up_nobody_and_all_are_shown_in_order_at_the_end(made: Evaluations):
    with PollChecks(made.evaluate, made.show) as checks:
        for tenant in TENANTS:
            checks.begin(tenant, ["jobs"], ["jobs"])
            assert list(checks.shown()) == []
        made.may_end.set()
        assert len(list(checks.shown(wait=True))) == len(TENANTS)
    assert made.shown == [tenant.partition_key for tenant in TENANTS]


def test_a_poll_that_changed_nothing_begins_none(made: Evaluations):
    with PollChecks(made.evaluate, made.show) as checks:
        checks.begin(TENANTS[0], [], [])
        assert list(checks.shown(wait=True)) == []
    assert made.begun == made.shown == []


def test_when_the_run_s_time_is_up_what_was_not_begun_repeats_the_known_verdicts(made: Evaluations):
    with PollChecks(made.evaluate, made.show, NO_DEADLINE.within(0, "it is over")) as checks:
        for tenant in TENANTS:
            checks.begin(tenant, ["jobs"], ["jobs"])
        threading.Timer(0.05, made.may_end.set).start()
        assert len(list(checks.shown(wait=True))) == len(TENANTS)
    assert len(made.begun) <= THREADS
    assert made.shown == [tenant.partition_key for tenant in TENANTS]
