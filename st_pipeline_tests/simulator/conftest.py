"""Tenants, and an independent client, for the simulator's tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.simulator.independent_client import NO_LIMIT, PATHS, IndependentClient


@pytest.fixture(scope="session")
def company(servicetitan_simulator: SimulatorControl) -> Iterator[IndependentClient]:
    """A mid-sized company that tests only read."""
    tenant = servicetitan_simulator.create_tenant(seed=5, customers=400, invoices=1200, settings=NO_LIMIT)
    yield IndependentClient(tenant).log_in()
    tenant.remove()


@pytest.fixture
def small(servicetitan_tenant: Callable[..., SimulatedTenant]) -> Callable[..., IndependentClient]:
    """A small company of a test's own, logged in."""

    def make(**spec: Any) -> IndependentClient:
        spec = {"seed": 6, "customers": 60, "invoices": 120, **spec}
        spec["settings"] = {**NO_LIMIT, **spec.get("settings", {})}
        return IndependentClient(servicetitan_tenant(**spec)).log_in()

    return make


@pytest.fixture(scope="session")
def everything(company: IndependentClient) -> dict[str, list[dict[str, Any]]]:
    """The whole of each list, with all parts."""
    flags = dict.fromkeys(catalogue_entries()["membership_types"].include_flags, "true")
    return {entity: company.walk_list(entity, **(flags if entity == "membership_types" else {})) for entity in PATHS}
