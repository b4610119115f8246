"""What ServiceTitan does not document fails the check until it is acknowledged, and only newer things fail it again."""

from sqlalchemy import text

from st_pipeline.checks.spec import Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

FAILS = {("acme", "tenant", "drift")}
ACCEPT = text("UPDATE check_verdicts SET accepted = causes WHERE check_name = 'drift' AND status = 'failed'")


def plant(two: TwoCompanies, **changes: object) -> None:
    source = two.sources["acme"]
    source.patch("jobs", source.ids("jobs")[0], changes)
    two.sync("acme", only=("jobs",))


def test_a_new_key_and_a_new_value_fail_their_tenant_alone_until_each_is_acknowledged(two: TwoCompanies):
    plant(two, newKey=1)
    assert two.failing() == FAILS
    verdict = two.verdict("acme", "tenant", "drift")
    assert verdict.causes == ("jobs: unknown key: newKey",)
    assert verdict.figures["newest"][0]["field"] == "newKey"
    with two.engine.begin() as connection:
        connection.execute(ACCEPT)
    assert two.failing("drift") == set()
    plant(two, jobStatus="Jane Doe")
    assert two.failing("drift") == FAILS
    verdict = two.verdict("acme", "tenant", "drift")
    assert len(verdict.causes) == 2
    assert "Jane" not in f"{verdict.causes} {verdict.message} {verdict.figures}"
    with two.engine.begin() as connection:
        connection.execute(ACCEPT)
    assert two.verdict("acme", "tenant", "drift").status is Status.PASSED
