"""Records that move while a list is read, and records that come back as they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline_tests.entities.conftest import Tenant
from st_pipeline_tests.entities.made_records import full_record, simulated_name
from st_pipeline_tests.entities.shapes import marks
from st_pipeline_tests.entities.test_every_entity_s_deletions import FULL, BetweenTwoPages

DAY = datetime(2026, 1, 1, tzinfo=UTC)
JANUARY = {"modified_from": DAY, "modified_to": DAY + timedelta(days=31)}
# Of the lists of custom fields one: they are read alike. All but contacts and jobs, whose windows read the feed.
READ_BY_LIST = [
    *(
        pytest.param(name, FULL, id=f"{name}-full", marks=marks(name))
        for name, spec in ENTITIES.items()
        if spec.feed_path is None
    ),
    *(
        pytest.param(name, JANUARY, id=f"{name}-window", marks=marks(name))
        for name, spec in ENTITIES.items()
        if not any(column.feed_only for column in spec.columns)
    ),
]


def put(tenant: Tenant, spec: EntitySpec, number: int) -> None:
    """So many records, changed a day apart: what a sync missed, the next one's look-back would not show."""
    for day in range(1, number + 1):
        tenant.source.insert(simulated_name(spec.name), full_record(spec, day))
        changes = {"modifiedOn": (DAY + timedelta(days=day)).isoformat().replace("+00:00", "Z")}
        tenant.source.patch(simulated_name(spec.name), max(tenant.ids(spec)), changes)


@pytest.mark.parametrize(("entity", "mode"), READ_BY_LIST)
def test_no_record_is_lost_when_others_move_up_while_a_list_is_read(tenant: Tenant, entity: str, mode: dict[str, Any]):
    """One of the first page is deleted, or leaves the window: the first one of the second page is never shown."""
    spec = ENTITIES[entity].read_as[0]
    put(tenant, spec, 8)
    ids = tenant.ids(spec)
    walks = 0

    def goes() -> None:
        nonlocal walks
        walks += 1
        if mode is JANUARY:
            tenant.source.patch(simulated_name(spec.name), ids[0], {})
        elif walks == 2:  # the first walk counts
            tenant.source.delete(simulated_name(spec.name), ids[0])

    transport = BetweenTwoPages(spec.list_path.replace("{tenant}", str(tenant.source.tenant_id)), goes)
    with tenant.syncing(transport, entity, **mode) as sync:
        (outcome,) = sync.entities()
    assert outcome.error is None
    assert {row["st_id"] for row in tenant.rows(f"SELECT st_id FROM {spec.table}")} == set(ids)  # noqa: S608


def test_a_record_that_is_back_byte_for_byte_is_unmarked_by_the_next_sync(tenant: Tenant):
    """Equipment's custom fields tell no time, so their list is read whole each time."""
    spec = ENTITIES["custom_fields"].read_as[-1]
    put(tenant, spec, 2)
    tenant.sync("custom_fields")
    gone = tenant.ids(spec)[0]
    record = tenant.source.record(simulated_name(spec.name), gone)
    tenant.source.delete(simulated_name(spec.name), gone)
    tenant.sync("custom_fields", **FULL)
    assert tenant.marks()[spec.name] == {gone}
    tenant.source.insert(simulated_name(spec.name), record)
    tenant.sync("custom_fields")
    assert tenant.marks()[spec.name] == set()


def test_a_record_that_is_back_inactive_is_unmarked_by_the_next_sync(tenant: Tenant):
    """A feed shows it as it shows a deleted one; the source is asked by id for each of those anyhow."""
    spec = ENTITIES["customers"]
    put(tenant, spec, 2)
    tenant.sync("customers")
    gone = tenant.ids(spec)[0]
    record = tenant.source.record("customers", gone)
    tenant.source.delete("customers", gone)
    tenant.sync("customers")
    assert tenant.marks()["customers"] == {gone}
    tenant.source.insert("customers", {**record, "active": False})
    tenant.source.patch("customers", gone, {})
    tenant.sync("customers")
    assert tenant.marks()["customers"] == set()
