"""What is wrong with credentials fails their tenant's check alone, until it is put right."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.checks.spec import CheckedTenant, Severity, Status
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline_tests.checks.planted import execute, failed, tenants_in_order, verdicts
from st_pipeline_tests.checks.two_companies import TwoCompanies

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)


@pytest.fixture
def three(engine: Engine) -> list[CheckedTenant]:
    """Three tenants in order."""
    return tenants_in_order(engine, 3, NOW)


@pytest.mark.parametrize(
    ("planted", "severity", "word"),
    [
        ("connection_status = 'error', connection_message = 'it was withdrawn', refused_since = :now", "error", "with"),
        ("refused_since = :now, connection_message = '3 tenants'", "warn", "outage"),
        ("connection_message = 'the scope of estimates is missing'", "warn", "estimates"),
        ("expires_on = CAST(:now AS date) + 30", "warn", "in 30 days"),
        ("expires_on = CAST(:now AS date) - 1", "warn", "ended"),
    ],
)
def test_what_is_wrong_with_credentials_fails_their_tenant_until_it_is_put_right(
    engine: Engine, settings: Settings, three: list[CheckedTenant], planted: str, severity: str, word: str
):
    mine = f"UPDATE servicetitan_credentials SET {planted} WHERE id = :id AND :now IS NOT NULL"  # noqa: S608
    execute(engine, mine, id=three[1].credential_id, now=NOW)
    found = verdicts(engine, settings, three, NOW, "credentials")
    assert list(failed(found)) == ["company-2"]
    assert found["company-2"].severity is Severity(severity)
    assert word in found["company-2"].message
    execute(
        engine,
        "UPDATE servicetitan_credentials SET connection_status = 'connected', connection_message = NULL, "
        "refused_since = NULL, expires_on = NULL",
    )
    assert failed(verdicts(engine, settings, three, NOW, "credentials")) == {}


def test_credentials_that_are_new_or_disabled_are_not_checked(
    engine: Engine, settings: Settings, three: list[CheckedTenant]
):
    execute(engine, "UPDATE servicetitan_credentials SET enabled = false WHERE id = :id", id=three[0].credential_id)
    execute(
        engine,
        "UPDATE servicetitan_credentials SET connection_status = 'pending' WHERE id = :id",
        id=three[1].credential_id,
    )
    found = verdicts(engine, settings, three, NOW, "credentials")
    assert [one.status for one in found.values()] == [Status.NOT_CHECKABLE, Status.NOT_CHECKABLE, Status.PASSED]


@pytest.mark.parametrize(
    ("wrong", "right", "severity"),
    [
        ({"client_secret": "cs1.another"}, {}, Severity.ERROR),
        ({"scopes": ["tn.crm.customers:r"]}, {"scopes": None}, Severity.WARN),
    ],
)
def test_what_servicetitan_withdraws_fails_its_tenant_alone_until_it_is_given_back(
    two: TwoCompanies, wrong: dict[str, Any], right: dict[str, Any], severity: Severity
):
    source = two.sources["acme"]
    source.change(**wrong)
    source.revoke_tokens()
    assert not sync(two)
    assert two.failing() == {("acme", "tenant", "credentials")}
    assert two.verdict("acme", "tenant", "credentials").severity is severity
    source.change(**{"client_secret": source.client_secret, **right})
    source.revoke_tokens()
    assert sync(two)
    assert two.failing() == set()


def sync(two: TwoCompanies) -> bool:
    return synchronize_data("acme", SyncConfiguration(), settings=two.settings, engine=two.engine).success
