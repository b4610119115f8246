"""The total that a full sync's progress counts up to."""

from collections.abc import Callable, Iterator

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings
from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.expected_records import expected_records
from st_pipeline_tests.servicetitan.conftest import make_authentication

KEYS = ("environment", "client_id", "client_secret", "app_key")


@pytest.fixture
def tenant(servicetitan_tenant: Callable[..., SimulatedTenant]) -> SimulatedTenant:
    return servicetitan_tenant(customers=8, invoices=11, settings={"rate_limit_per_second": None})


@pytest.fixture
def client(tenant: SimulatedTenant) -> Iterator[ServiceTitanClient]:
    keys = {name: getattr(tenant, name) for name in KEYS}
    authentication = make_authentication(
        tenant.url, f"{tenant.url}/connect/token", servicetitan_tenant_id=tenant.tenant_id, **keys
    )
    with ServiceTitanClient(authentication, Settings(max_attempts=1)) as client:
        yield client


def test_it_is_the_number_of_all_records_in_every_list_of_the_entities_that_has_a_total(
    tenant: SimulatedTenant, client: ServiceTitanClient
):
    fields = [name for name in catalogue_entries() if name.startswith("custom_fields.")]
    assert len(fields) == len(ENTITIES["custom_fields"].read_as)
    fields.remove("custom_fields.equipment")  # its list has no total, and is not read for one
    assert tenant.ids("custom_fields.equipment")
    there = sum(len(tenant.ids(name)) for name in ("customers", "invoices", *fields))
    assert expected_records(client, ["customers", "invoices", "custom_fields"]) == there > 8 + 11
    assert tenant.requests()["by_operation"]["custom_fields.equipment.list"] == 1
    assert expected_records(client, []) == 0


def test_there_is_none_when_one_of_them_cannot_be_counted(tenant: SimulatedTenant, client: ServiceTitanClient):
    """A part of it would be exceeded while the sync still runs."""
    tenant.fault("status", status=403, entity="invoices")
    assert expected_records(client, ["customers", "invoices", "jobs"]) is None
    assert tenant.requests()["by_operation"].keys().isdisjoint({"jobs.list"})
