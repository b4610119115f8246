"""Each entity fails once while all change: what else fails by that, and that the next sync reads it."""

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


def sync_refusing(company: Tenant, entity: str, status: int) -> Outcomes:
    """What became of each entity in a sync that has news of all of them, while ServiceTitan refuses this one."""
    company.source.fault("status", status=status, entity=entity)
    for spec in ENTITIES.values():
        company.change(spec.read_as[0], company.ids(spec.read_as[0])[0], f"changed while {entity} fails")
    outcomes = company.sync().outcomes
    company.source.clear_faults()
    return {outcome.entity: outcome.message for outcome in outcomes}


# Those that stop others, and one that stops nothing; that none of the rest stops anything, the lab sees.
REFUSED = [
    pytest.param(entity, status, id=entity, marks=[] if entity in (*STOPS, "tag_types") else [pytest.mark.lab])
    for entity, status in zip(ENTITIES, cycle(STATUSES), strict=False)
]


@pytest.mark.parametrize(("entity", "status"), REFUSED)
def test_an_entity_that_fails_stops_only_what_means_nothing_without_it(company: Tenant, entity: str, status: int):
    outcomes = sync_refusing(company, entity, status)
    assert outcomes.keys() == SYNCED.keys()
    assert {name for name, message in outcomes.items() if message is not None} == {entity} | STOPS.get(entity, set())
    assert "for tenant acme" in str(outcomes[entity])
    for name in STOPS.get(entity, set()):
        assert str(outcomes[name]).startswith(f"{name} of tenant acme: not tried, as ")


def test_entities_stop_what_their_specs_say():
    """Of every entity, also those that stop nothing."""
    stopped: dict[str, set[str]] = {}
    for name, spec in SYNCED.items():
        for before in spec.after:
            stopped.setdefault(before, set()).add(name)
    for before in reversed(SYNCED):  # what waits for something that is stopped is stopped, too
        for name in tuple(stopped.get(before, ())):
            stopped[before] |= stopped.get(name, set())
    assert stopped == STOPS


def test_the_next_sync_reads_what_failed_and_what_was_not_tried(company: Tenant):
    outcomes = sync_refusing(company, "customers", 500)
    assert {name for name, message in outcomes.items() if message is not None} >= STOPS["customers"]
    result = company.sync()
    assert result.errors == []
    assert company.differences() == []
    waiting = "SELECT count(*) AS records FROM stream_pending p JOIN tenants t USING (credential_id) "
    assert company.rows(f"{waiting} WHERE t.partition_key = 'acme'") == [{"records": 0}]
    members = "SELECT count(*) AS records FROM {} s JOIN tenants t USING (credential_id) WHERE t.partition_key = 'acme'"
    for name in STREAMS:
        assert company.rows(members.format(name))[0]["records"] > 0
