"""A healthy tenant passes every check: after its first load, and while its data changes all day."""

from random import Random

import pytest

from st_pipeline.checks.registry import PAIRS
from st_pipeline.checks.spec import AWAITS, Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

# Lists without such a total, a tenant that is new, and one that was never compared.
NOT_CHECKABLE = {
    ("custom_fields", "completeness"),
    ("tenant", "volume"),
    ("tenant", "service_quality"),
    ("tenant", "reconciliation"),
}


def test_after_its_first_load_a_tenant_passes_every_check(two: TwoCompanies):
    found = two.verdicts()
    assert len(found) >= 2 * len(PAIRS)
    wrong = {
        (one.asset, one.check): one.message
        for one in found
        if one.status is not Status.PASSED and (one.asset, one.check) not in NOT_CHECKABLE
    }
    assert wrong == {}
    assert {one.status for one in found} == {Status.PASSED, Status.NOT_CHECKABLE}


@pytest.mark.parametrize("polls", [3, pytest.param(48, marks=pytest.mark.lab)])
def test_a_busy_tenant_passes_every_check_with_each_poll(two: TwoCompanies, polls: int):
    """Every poll evaluates all that changed, also what would rest for an hour."""
    two.settings = two.settings.model_copy(update={"checks_pause_minutes": 0})
    two.verdicts()
    source, chance = two.sources["acme"], Random(1)  # noqa: S311 - made-up changes
    for number in range(polls):
        source.advance(
            created=chance.randrange(4),
            changed=chance.randrange(20),
            merged=chance.randrange(2),
            deactivated=chance.randrange(3),
            deleted=chance.randrange(4),
            reactivated=chance.randrange(2),
            undeleted=chance.randrange(3),
        )
        source.advance(created={"payments": chance.randrange(3)}, deleted={"payments": chance.randrange(2)})
        result = two.sync("acme")
        changed = [one.entity for one in result.outcomes if one.result.counts.changed]
        assert changed
        found = two.after_poll("acme", *changed)
        wrong = {(one.asset, one.check): one.message for one in found if one.status is Status.FAILED}
        wrong |= {(one.asset, one.check): one.message for one in found if AWAITS in one.figures}
        assert wrong == {}, number
    two.sync("acme", incremental_only=False)
    assert two.failing() == set()
