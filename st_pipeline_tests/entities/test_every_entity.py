"""Each entity's life, from the first load to a deletion, against records with a value in every documented field."""

from datetime import UTC, datetime

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import DeletionSign, EntitySpec
from st_pipeline_tests.entities.conftest import Tenant
from st_pipeline_tests.entities.made_records import empty_record, full_record, simulated_name

FULL, EMPTY, LATER = (1, 2, 3, 4, 6, 7), 5, 8


def put(tenant: Tenant, spec: EntitySpec, *numbers: int) -> None:
    """Records of these numbers into each of the entity's lists: with the same ids, as owners do not share them."""
    for one in spec.read_as:
        for number in numbers:
            made = empty_record if number == EMPTY else full_record
            tenant.source.insert(simulated_name(one.name), made(one, number))


def assert_equal(tenant: Tenant, spec: EntitySpec) -> None:
    """The table holds what the source has, column by column."""
    for one in spec.read_as:
        assert tenant.held(one) == tenant.expected(one)
    assert len(tenant.held(spec)) == sum(len(tenant.ids(one)) for one in spec.read_as)


@pytest.mark.parametrize("entity", ENTITIES)
def test_an_entity_is_loaded_kept_up_to_date_and_cleaned(tenant: Tenant, entity: str):
    spec = ENTITIES[entity]
    put(tenant, spec, *FULL, EMPTY)
    first = spec.read_as[0]
    path = (first.list_path if first.is_read_from_list else first.feed_path) or ""
    path = path.replace("{tenant}", str(tenant.source.tenant_id))
    tenant.source.fault("status", status=400, entity=simulated_name(first.name), path=path, after_requests=2)
    broken = tenant.sync(entity)
    assert not broken.success
    assert broken.counts.processed > 0, "the first chunk is committed before the third page fails"

    tenant.source.clear_faults()
    assert tenant.sync(entity).success
    assert_equal(tenant, spec)
    filled = [row for row in tenant.held(spec) if row["name" if spec.has("name") else "created_on"] is not None]
    assert [name for name in filled[0] if all(row[name] is None for row in filled)] == [], "columns that stay empty"

    for one in spec.read_as:
        tenant.change(one, tenant.ids(one)[0], "changed")
    put(tenant, spec, LATER)
    changed = tenant.sync(entity)
    assert (changed.counts.created, changed.counts.updated) == (len(spec.read_as), len(spec.read_as))
    assert_equal(tenant, spec)
    assert tenant.sync(entity).counts.changed == 0

    for one in spec.read_as:
        tenant.source.delete(simulated_name(one.name), tenant.ids(one)[1])
    is_told_by_the_feed = spec.feed_path is not None and (spec.ids_param or spec.deletion_sign is DeletionSign.INACTIVE)
    assert tenant.sync(entity).counts.deleted == (1 if is_told_by_the_feed else 0)
    full = tenant.sync(entity, incremental_only=False)
    assert (full.success, full.counts.deleted) == (True, 0 if is_told_by_the_feed else len(spec.read_as))
    assert_equal(tenant, spec)


WITH_FEED_ONLY = [name for name, spec in ENTITIES.items() if any(column.feed_only for column in spec.columns)]


@pytest.mark.parametrize("entity", WITH_FEED_ONLY)
def test_a_window_keeps_what_only_the_feed_shows(tenant: Tenant, entity: str):
    """Read from the list, a record would lose its active flag."""
    spec = ENTITIES[entity]
    put(tenant, spec, *FULL)
    tenant.sync(entity)
    tenant.execute(f"UPDATE {spec.table} SET spec_version = 0")  # noqa: S608 - as if written by an earlier version
    window = tenant.sync(entity, modified_from=datetime(2026, 3, 1, tzinfo=UTC))
    assert window.counts.updated == len(FULL)
    assert [row["active"] for row in tenant.held(spec)] == [True] * len(FULL)


def test_all_entities_in_one_sync(tenant: Tenant):
    """In their order, each with what it depends on, with the streams behind."""
    for spec in ENTITIES.values():
        put(tenant, spec, *FULL)
    result = tenant.sync(incremental_only=False)
    assert result.errors == []
    assert result.counts.created == len(FULL) * sum(len(spec.read_as) for spec in ENTITIES.values())
    for spec in ENTITIES.values():
        assert_equal(tenant, spec)
