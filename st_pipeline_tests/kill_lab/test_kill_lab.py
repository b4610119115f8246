from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from st_pipeline_tests.kill_lab.lab import Lab
from st_pipeline_tests.kill_lab.series import run_kills

SEED = 20
KILLS = 60
# What a broken engine would leave behind, and the words that must name it.
PLANTED = {
    "UPDATE servicetitan_sync_logs SET status = 'running', completed_at = NULL": "syncs still running",
    "UPDATE sync_log_entities SET status = 'running' WHERE entity = 'invoices'": "entities still running",
    "INSERT INTO stream_pending SELECT credential_id, 'invoices_stream', 1 FROM tenants": "stream keys still waiting",
    "DELETE FROM st_locations WHERE name LIKE '%a%'": "locations: live rows is",
    "UPDATE st_invoices SET total = total + 1 WHERE total > 9": "invoices: sum of total is",
    "UPDATE st_memberships SET deleted_at = NULL": "memberships: ",
    "UPDATE members_stream SET customer_city = 'Elsewhere'": "members_stream: customer_city of ",
    "DELETE FROM invoices_stream": "invoices_stream: ",
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.mark.lab
def test_sixty_killed_syncs_lose_nothing_double_nothing_and_leave_nothing_running(lab: Lab):
    tally = run_kills(lab, SEED, KILLS)
    assert tally.failures == []
    assert tally.kills.total() >= KILLS  # the last round may kill twice
    assert tally.modes.keys() == {"first load", "full", "incremental"}


@pytest.mark.lab
def test_the_lab_sees_what_a_broken_engine_would_leave(lab: Lab):
    """Without this a check that compares nothing would let every kill pass."""
    tenant = lab.add_tenant("planted", seed=3)
    assert lab.sync(tenant, full=True).exit_code == 0
    assert lab.differences(tenant, after_full=True) == []
    engine = create_engine(lab.url)
    with engine.begin() as connection:
        for statement in PLANTED:
            assert connection.execute(text(statement)).rowcount > 0, statement
    engine.dispose()
    found = lab.differences(tenant, after_full=True)
    assert [words for words in PLANTED.values() if not any(one.startswith(words) for one in found)] == []
