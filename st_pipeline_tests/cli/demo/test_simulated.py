"""The simulator in the background of `demo` and `dev`."""

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from st_pipeline.cli.demo.simulated import (
    RECORDS_FILE,
    forget_rows_of_an_earlier_simulator,
    point_at_simulator,
    running_simulator,
    simulated_tenants,
    start_simulator,
    stop_simulator,
)
from st_pipeline.environment_file import read_file
from st_pipeline.errors import PipelineError
from st_pipeline.settings import Settings
from st_pipeline.tenants.companies import add_company


@pytest.fixture
def companies(tmp_path: Path) -> str:
    """A file with one tenant, so that a start takes no time."""
    tenant = {"tenant_id": 7, "client_id": "cid.a", "client_secret": "cs.a", "app_key": "ak1.a", "customers": 3}
    path = tmp_path / "companies.json"
    path.write_text(json.dumps([tenant]))
    return str(path)


@pytest.fixture
def home(settings: Settings) -> Iterator[Settings]:
    """Settings whose simulator is stopped after the test, whatever happened."""
    yield settings
    stop_simulator(settings)


def test_a_second_start_attaches_to_the_running_one(home: Settings, companies: str):
    first, is_new = start_simulator(home, live=False, companies=companies)
    assert is_new
    assert start_simulator(home, live=False, companies=companies) == (first, False)
    with first.control() as control:
        assert [tenant["tenant_id"] for tenant in control.tenants()] == [7]


def test_one_that_stands_still_is_replaced_by_one_that_moves_on_from_its_records(home: Settings, companies: str):
    """`dev` after `demo`: what the tables hold is what the source has."""
    first, _ = start_simulator(home, live=False, companies=companies)
    with first.control() as control:
        made = control.advance(7, created=2)["customers"]["created"]
        before = control.truth(7)
    second, is_new = start_simulator(home, live=True, companies=companies)
    assert not is_new
    assert second.pid != first.pid
    assert not first.answers()
    with second.control() as control:
        assert set(made) <= set(control.ids("customers", 7))
        assert control.truth(7)["tag_types"] == before["tag_types"]
        control.advance(7, created=1)


def test_a_killed_simulator_is_noticed_and_started_again(home: Settings, companies: str):
    first, _ = start_simulator(home, live=False, companies=companies)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert running_simulator(home) is None
    assert start_simulator(home, live=False, companies=companies)[1]  # new: nobody knows how far the other was


def test_records_that_cannot_be_read_are_as_none(home: Settings, companies: str):
    home.home.mkdir(parents=True)
    (home.home / RECORDS_FILE).write_bytes(b"of another version")
    assert start_simulator(home, live=False, companies=companies)[1]


def test_its_records_are_the_owners_alone(home: Settings, companies: str):
    start_simulator(home, live=False, companies=companies)
    assert stop_simulator(home)
    assert stat.S_IMODE((home.home / RECORDS_FILE).stat().st_mode) == 0o600


def test_stop_ends_it_and_stopping_again_says_so(home: Settings, companies: str):
    state, _ = start_simulator(home, live=False, companies=companies)
    assert stop_simulator(home)
    assert not state.answers()
    assert not stop_simulator(home)


def test_companies_that_cannot_be_read_are_reported_with_the_log(home: Settings, tmp_path: Path):
    (tmp_path / "broken.json").write_text("[{]")
    with pytest.raises(PipelineError, match=r"simulator\.log"):
        start_simulator(home, live=False, companies=str(tmp_path / "broken.json"))


def test_the_environment_file_leads_to_the_simulator(
    home: Settings, companies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("PRODUCTION_API_URL", "PRODUCTION_AUTH_URL", "INTEGRATION_API_URL", "INTEGRATION_AUTH_URL", "APP_KEY"):
        monkeypatch.setenv(f"ST_PIPELINE_{name}", "")
    state, _ = start_simulator(home, live=False, companies=companies)
    point_at_simulator(state)
    values = read_file()
    assert values["ST_PIPELINE_PRODUCTION_API_URL"] == state.production_url
    assert values["ST_PIPELINE_INTEGRATION_AUTH_URL"] == f"{state.integration_url}/connect/token"


def test_only_rows_of_simulated_tenants_are_forgotten(engine: Engine):
    """A tenant that merely shares a simulated tenant's name keeps its rows."""
    simulated, lookalike = simulated_tenants()[0], simulated_tenants()[1]
    row = text("""
        INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret)
        SELECT id, 'production', :number, 'x', 'x' FROM companies WHERE slug = :slug RETURNING id
    """)
    invoice = text("""
        INSERT INTO st_invoices (credential_id, st_id, record_hash, spec_version, local_synced_at)
        VALUES (:id, 1, 1, 1, now())
    """)
    with engine.begin() as connection:
        for tenant, number in ((simulated, simulated.spec.tenant_id), (lookalike, 424242)):
            add_company(connection, tenant.company, name=tenant.spec.name)
            credential = connection.execute(row, {"slug": tenant.company, "number": number}).scalar_one()
            connection.execute(invoice, {"id": credential})
    assert forget_rows_of_an_earlier_simulator(engine) == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT credential_id FROM st_invoices")).scalars().all() == [credential]


def test_waiting_for_a_process_does_not_outlast_it(home: Settings):
    """A simulator that cannot start is reported at once, not after the two minutes a slow one gets."""
    started = time.monotonic()
    with pytest.raises(PipelineError):
        start_simulator(home, live=False, companies="/does/not/exist.json")
    assert time.monotonic() - started < 30
