"""Two companies after their first sync, which every test of a rule plants its problem in."""

from collections.abc import Iterator

import pytest

from st_pipeline.checks.source_totals import SLOW
from st_pipeline.embedded_postgres import embedded
from st_pipeline.rates import Rate
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline_tests.checks.two_companies import SIZES, TwoCompanies
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import SyncedCompanies, copy_database, sync_once

COMPANIES = {"acme": 7, "bolt": 8}  # seeds


@pytest.fixture(scope="session")
def synced_companies(
    postgres_server: embedded.EmbeddedServer,
    servicetitan_simulator: SimulatorControl,
    tmp_path_factory: pytest.TempPathFactory,
) -> SyncedCompanies:
    """`acme` and `bolt` after their first syncs, to be copied."""
    name = "template_two_companies"
    copy_database(postgres_server, TEMPLATE, name)
    sources = {company: servicetitan_simulator.create_tenant(**SIZES, seed=seed) for company, seed in COMPANIES.items()}
    return sync_once(postgres_server, name, sources, tmp_path_factory.mktemp("home"))


@pytest.fixture
def two(synced_companies: SyncedCompanies) -> Iterator[TwoCompanies]:
    """A copy for one test."""
    SLOW.until.clear()  # of an earlier test
    with synced_companies.copied() as (settings, engine):
        impatient = settings.model_copy(update={"rate_limit": Rate(1000, 1), "max_attempts": 2})
        yield TwoCompanies(dict(synced_companies.sources), impatient, engine)
