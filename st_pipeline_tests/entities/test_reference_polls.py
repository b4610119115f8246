"""Scheduled polls: which lists rest, and what that does to the log and to the streams."""

from datetime import datetime

import pytest

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline_tests.entities.conftest import Tenant
from st_pipeline_tests.entities.made_records import full_record, simulated_name

RESTING = {name for name, spec in ENTITIES.items() if spec.feed_path is None}


def poll(tenant: Tenant, minutes: float = 60) -> set[str]:
    """Poll, and the entities that ServiceTitan was asked for."""
    tenant.settings = tenant.settings.model_copy(update={"reference_poll_minutes": minutes})
    tenant.asked()
    result = tenant.sync(sync_type="scheduled")
    assert result.errors == []
    asked = {operation.rpartition(".")[0] for operation in tenant.asked()} - {""}
    assert {outcome.entity for outcome in result.outcomes} >= set(ENTITIES) - RESTING
    return asked


@pytest.fixture
def polled(tenant: Tenant) -> Tenant:
    """A tenant that was read in full, then polled once."""
    tenant.source.insert("membership_types", full_record(ENTITIES["membership_types"], 1))
    tenant.sync()
    return tenant


LISTED = {simulated_name(one.name) for name in RESTING for one in ENTITIES[name].read_as}
FED = {name for name, spec in LISTS.items() if spec.feed_path is not None}


def test_lists_without_a_feed_rest_until_they_are_due(polled: Tenant):
    assert sorted(RESTING) == ["call_reasons", "campaigns", "custom_fields", "job_types", "membership_types"]
    assert poll(polled) == FED
    assert poll(polled, minutes=0) == FED | LISTED
    assert poll(polled) == FED


def test_a_list_that_is_due_is_read_whichever_the_others(polled: Tenant):
    polled.execute("UPDATE sync_cursors SET last_polled_at = now() - interval '61 minutes' WHERE entity = 'job_types'")
    assert poll(polled) == FED | {"job_types"}


def test_a_person_s_sync_leaves_nothing_out(polled: Tenant):
    polled.asked()
    polled.sync()
    assert {operation.rpartition(".")[0] for operation in polled.asked()} >= FED | LISTED


def test_a_list_that_failed_is_read_again_with_the_next_poll(polled: Tenant):
    polled.source.fault("status", status=400, entity="campaigns")
    assert not polled.sync().success
    polled.source.clear_faults()
    assert poll(polled) == FED | {"campaigns"}


def test_a_stream_is_complete_up_to_the_list_that_rests(polled: Tenant):
    """Names of membership types may have changed since: the stream must not promise more than was read."""

    def moments() -> dict[str, datetime]:
        rows = polled.rows("SELECT entity, complete_through FROM sync_cursors")
        return {row["entity"]: row["complete_through"] for row in rows}

    before = moments()["membership_types"]
    poll(polled)
    assert moments()["membership_types"] == moments()["members_stream"] == before
    assert moments()["invoices_stream"] > before
    poll(polled, minutes=0)
    assert moments()["members_stream"] > before
