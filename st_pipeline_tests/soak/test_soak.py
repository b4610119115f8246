import pytest
from sqlalchemy import text

from st_pipeline_tests.soak import checks
from st_pipeline_tests.soak.deployment import Deployment, deployed
from st_pipeline_tests.soak.soak import Soak

SEED, TENANTS, ROUNDS = 11, 10, 8


@pytest.mark.lab
def test_after_an_hour_of_faults_kills_and_changes_every_tenant_s_tables_equal_the_source():
    with deployed() as deployment:
        tally = Soak(deployment, SEED).run(TENANTS, ROUNDS)
        assert tally.differences == []
        assert tally.share_successful >= 0.99, tally.failed_unplanned
        assert tally.kills >= 1
        assert tally.rows[-1] <= tally.rows[ROUNDS // 2] * 1.2  # tenants were added
        _plant(deployment)
        assert len(checks.differences(deployment)) >= 3


def _plant(deployment: Deployment) -> None:
    """What a broken engine would leave behind: without it, checks that compare nothing would let everything pass."""
    with deployment.engine.begin() as connection:
        connection.execute(text("UPDATE tenant_polls SET claimed_until = now(), claimed_by = gen_random_uuid()"))
        connection.execute(text("DELETE FROM st_invoices WHERE ctid IN (SELECT ctid FROM st_invoices LIMIT 1)"))
        connection.execute(text("UPDATE servicetitan_sync_logs SET status = 'running', completed_at = NULL"))
