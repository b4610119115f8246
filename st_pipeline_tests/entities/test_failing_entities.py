"""Each entity fails once while all change: what else fails by that, and that the next sync mends it."""

from itertools import cycle

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.streams import STREAMS
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.entities.conftest import Tenant

# ServiceTitan answers so where the app has no right, or for a while.
STATUSES = (403, 500)
# Written by hand, so that one who adds a wait to a spec says it twice. An entity that is not here stops nothing.
STOPS = {
    "membership_types": {"members_stream"},
    "memberships": {"members_stream"},
    "customer_contacts": {"members_stream"},
    "customers": {
        "jobs", "appointments", "estimates", "invoices", "payments", "equipment", "members_stream", "invoices_stream"
    },
    "locations": {"jobs", "appointments", "estimates", "invoices", "equipment", "invoices_stream"},
    "jobs": {"appointments", "estimates"},
    "invoices": {"invoices_stream"},
}  # fmt: skip
Outcomes = dict[str, str | None]


@pytest.fixture(scope="package")
def denied(loaded: tuple[Tenant, Tenant]) -> dict[str, Outcomes]:
    """By the entity that ServiceTitan refused: what became of each. Every sync has news of every entity to read."""
    company, found = loaded[0], {}
    for entity, status in zip(ENTITIES, cycle(STATUSES), strict=False):
        company.source.fault("status", status=status, entity=entity)
        for spec in ENTITIES.values():
            company.change(spec.read_as[0], company.ids(spec.read_as[0])[0], f"changed while {entity} fails")
        found[entity] = {outcome.entity: outcome.message for outcome in company.sync().outcomes}
        company.source.clear_faults()
    return found


@pytest.mark.parametrize("entity", ENTITIES)
def test_an_entity_that_fails_stops_only_what_means_nothing_without_it(denied: dict[str, Outcomes], entity: str):
    outcomes = denied[entity]
    assert outcomes.keys() == SYNCED.keys()
    assert {name for name, message in outcomes.items() if message is not None} == {entity} | STOPS.get(entity, set())
    assert "for tenant acme" in str(outcomes[entity])
    for name in STOPS.get(entity, set()):
        assert str(outcomes[name]).startswith(f"{name} of tenant acme: not tried, as ")


def test_the_next_sync_mends_what_failed_and_what_was_not_tried(denied: dict[str, Outcomes], company: Tenant):
    assert len(denied) == len(ENTITIES)
    result = company.sync()
    assert result.errors == []
    assert company.differences() == []
    waiting = "SELECT count(*) AS records FROM stream_pending p JOIN tenants t USING (credential_id) "
    assert company.rows(f"{waiting} WHERE t.partition_key = 'acme'") == [{"records": 0}]
    members = "SELECT count(*) AS records FROM {} s JOIN tenants t USING (credential_id) WHERE t.partition_key = 'acme'"
    for name in STREAMS:
        assert company.rows(members.format(name))[0]["records"] > 0
