"""Contacts: removed is one that the feed shows as inactive, and one that the list no longer shows."""

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import DeletionSign
from st_pipeline.errors import DeletionRefused
from st_pipeline_tests.entities.conftest import Tenant
from st_pipeline_tests.entities.made_records import full_record
from st_pipeline_tests.entities.shapes import over_shapes
from st_pipeline_tests.entities.test_every_entity_s_deletions import FULL

CONTACTS = [name for name, spec in ENTITIES.items() if spec.deletion_sign is DeletionSign.INACTIVE]
RECORDS = 12


@pytest.fixture(params=over_shapes(CONTACTS))
def entity(request: pytest.FixtureRequest, tenant: Tenant) -> str:
    """One of the two, loaded."""
    entity: str = request.param
    for number in range(1, RECORDS + 1):
        tenant.source.insert(entity, full_record(ENTITIES[entity], number))
    assert tenant.sync(entity).errors == []
    assert tenant.marks()[entity] == set()
    return entity


def test_one_that_vanishes_without_a_word_of_the_feed_is_marked_by_a_full_sync_and_unmarked_when_it_is_back(
    tenant: Tenant, entity: str
):
    gone = tenant.ids(ENTITIES[entity])[3]
    record = tenant.source.record(entity, gone)
    tenant.source.delete(entity, gone, touch=False)
    assert tenant.sync(entity).counts.changed == 0
    assert tenant.sync(entity, **FULL).counts.deleted == 1
    assert tenant.marks()[entity] == {gone}
    assert tenant.differences(entity) == []
    tenant.source.insert(entity, record)
    assert tenant.sync(entity, **FULL).errors == []
    assert tenant.marks()[entity] == set()


def test_one_that_the_feed_shows_as_inactive_stays_removed_although_the_list_shows_it(tenant: Tenant, entity: str):
    """Whether the list hides inactive contacts is not documented."""
    removed = tenant.ids(ENTITIES[entity])[3]
    tenant.source.patch(entity, removed, {"active": False})
    for options in ({}, FULL, FULL):
        assert tenant.sync(entity, **options).errors == []
        assert tenant.marks()[entity] == {removed}
    assert removed in tenant.ids(ENTITIES[entity])


def test_more_than_the_guard_allows_are_not_marked_by_a_full_sync_in_whichever_way_they_went(
    tenant: Tenant, entity: str
):
    ids = tenant.ids(ENTITIES[entity])
    for st_id in ids[:6]:
        tenant.source.delete(entity, st_id, touch=False)
    for st_id in ids[6:11]:
        tenant.source.patch(entity, st_id, {"active": False})
    (outcome,) = tenant.sync(entity, **FULL).outcomes
    assert isinstance(outcome.error, DeletionRefused)
    assert tenant.marks()[entity] <= set(ids[6:11])
    assert tenant.sync(entity, allow_deletions=True, **FULL).errors == []
    assert tenant.marks()[entity] == set(ids[:11])
