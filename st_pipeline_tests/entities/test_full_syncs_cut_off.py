"""A full sync that was cut off, and one with another task after it: every row ends as the later of the two wants it."""

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ServiceUnavailable
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.entity import sync_entity
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.entities.conftest import ROWS_A_CHUNK, ROWS_A_PAGE, Tenant
from st_pipeline_tests.entities.made_records import full_record
from st_pipeline_tests.entities.test_every_entity_s_deletions import FULL
from st_pipeline_tests.entities.test_new_columns import before_it_gained

RECORDS = 12
REWRITE = {**FULL, "rewrite": True}
STALE = "SELECT st_id FROM {table} WHERE local_synced_at < :moment"


def put(tenant: Tenant, entity: str) -> None:
    for number in range(1, RECORDS + 1):
        tenant.source.insert(entity, full_record(ENTITIES[entity], number))


def load(tenant: Tenant, entity: str) -> None:
    put(tenant, entity)
    assert tenant.sync(entity).errors == []


def fail_after_two_pages(tenant: Tenant, entity: str) -> None:
    """From the third page of its records on; what the first two hold is committed by then."""
    spec = ENTITIES[entity]
    counting = 0 if spec.feed_path else 1  # before it reads a list: its total
    path = (spec.feed_path or spec.list_path).replace("{tenant}", str(tenant.source.tenant_id))
    tenant.source.fault("status", status=502, entity=entity, path=path, after_requests=counting + 2)


def cut_off(tenant: Tenant, entity: str, **options: bool) -> None:
    fail_after_two_pages(tenant, entity)
    result = tenant.sync(entity, **options)
    assert (len(result.errors), result.counts.processed) == (1, 2 * ROWS_A_PAGE)
    tenant.source.clear_faults()


@pytest.mark.parametrize("entity", ["invoices", "campaigns"])
def test_rewriting_after_a_pass_that_was_cut_off_rewrites_every_row(tenant: Tenant, entity: str):
    load(tenant, entity)
    cut_off(tenant, entity, **FULL)
    assert tenant.sync(entity, **REWRITE).counts.updated == RECORDS


@pytest.mark.parametrize("entity", ["invoices", "campaigns"])
def test_a_rewriting_pass_that_was_cut_off_is_finished_as_one_by_the_nightly_sync(tenant: Tenant, entity: str):
    """The nightly sync finishes that pass; a retry would then take the rewriting for done."""
    load(tenant, entity)
    (began,) = tenant.rows("SELECT clock_timestamp() AS at")
    cut_off(tenant, entity, **REWRITE)
    assert tenant.sync(entity, sync_type="scheduled", **FULL).errors == []
    assert tenant.rows(STALE.format(table=ENTITIES[entity].table), moment=began["at"]) == []
    assert tenant.sync(entity, **FULL).counts.updated == 0  # only that pass


def sync_one_version_ago(tenant: Tenant) -> None:
    """A full sync of invoices by the software that did not know the column yet."""
    configuration = SyncConfiguration(only=("invoices",), batch_size=ROWS_A_CHUNK, incremental_only=False)
    with TenantSync(tenant.engine, tenant.settings, tenant.name, configuration) as sync:
        work = sync._work("invoices")
        work.spec = before_it_gained(ENTITIES["invoices"], "summary")  # type: ignore[union-attr]
        sync_entity(work)  # type: ignore[arg-type]


def test_a_column_gained_after_a_pass_was_cut_off_is_filled_in_every_row(tenant: Tenant):
    put(tenant, "invoices")
    sync_one_version_ago(tenant)
    fail_after_two_pages(tenant, "invoices")
    with pytest.raises(ServiceUnavailable):
        sync_one_version_ago(tenant)
    tenant.source.clear_faults()
    assert tenant.sync("invoices", **FULL).counts.updated == RECORDS
    assert tenant.rows("SELECT count(summary) AS filled FROM st_invoices") == [{"filled": RECORDS}]
