"""A spec that gained a column: rows that were written without it are filled, though nothing moved at the source."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.entity import sync_entity
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.entities.conftest import Tenant
from st_pipeline_tests.entities.made_records import full_record, simulated_name

# With a feed, without one, and several lists under one name; and a column that each gained.
GAINED = {"invoices": "summary", "campaigns": "name", "custom_fields": "data_type"}
RECORDS = 5


def before_it_gained(spec: EntitySpec, column: str) -> EntitySpec:
    """The spec one version ago."""
    columns = tuple(one for one in spec.columns if one.name != column)
    lists = tuple(before_it_gained(one, column) for one in spec.lists)
    rules = tuple(rule for rule in spec.rules if rule.column != column)
    return replace(spec, columns=columns, rules=rules, lists=lists, version=spec.version - 1)


@pytest.fixture(params=GAINED)
def filled(request: pytest.FixtureRequest, tenant: Tenant) -> Callable[[], int]:
    """A tenant that an older version loaded; how many of its rows have the column."""
    spec, column = ENTITIES[request.param], GAINED[request.param]
    for one in spec.read_as:
        for number in range(1, RECORDS + 1):
            tenant.source.insert(simulated_name(one.name), full_record(one, number))
    with TenantSync(tenant.engine, tenant.settings, tenant.name, SyncConfiguration(only=(spec.name,))) as sync:
        work = sync._work(spec.name)
        work.spec = before_it_gained(spec, column)  # type: ignore[union-attr]
        sync_entity(work)  # type: ignore[arg-type]
    return lambda: int(tenant.rows(f"SELECT count({column}) AS filled FROM {spec.table}")[0]["filled"])  # noqa: S608


def of(tenant: Tenant) -> tuple[str, int]:
    """The entity that was loaded, and its records."""
    (entity,) = (name for name in GAINED if tenant.rows(f"SELECT FROM {ENTITIES[name].table} LIMIT 1"))
    return entity, RECORDS * len(ENTITIES[entity].read_as)


def test_the_next_full_sync_fills_the_rows_of_an_older_version(tenant: Tenant, filled: Callable[[], int]):
    entity, records = of(tenant)
    times = f"SELECT max(modified_on) AS newest FROM {ENTITIES[entity].table}"  # noqa: S608
    newest = tenant.rows(times)
    assert filled() == 0
    full = tenant.sync(entity, incremental_only=False)
    assert (full.counts.updated, filled(), tenant.rows(times)) == (records, records, newest)
    assert tenant.sync(entity, incremental_only=False).counts.updated == 0
    assert tenant.differences(entity) == []


def test_a_record_that_changes_is_filled_before_that(tenant: Tenant, filled: Callable[[], int]):
    entity, _ = of(tenant)
    spec = ENTITIES[entity].read_as[0]
    tenant.change(spec, tenant.ids(spec)[0], "changed")
    assert tenant.sync(entity).errors == []
    assert filled() >= 1


def test_rewriting_fills_rows_whatever_version_they_say(tenant: Tenant, filled: Callable[[], int]):
    """As after a repair of how a column is read, with no new version: a full sync leaves equal rows as they are."""
    entity, records = of(tenant)
    tenant.execute(f"UPDATE {ENTITIES[entity].table} SET spec_version = {ENTITIES[entity].version}")  # noqa: S608
    assert tenant.sync(entity, incremental_only=False).counts.updated == 0
    assert filled() == 0
    assert tenant.sync(entity, incremental_only=False, rewrite=True).counts.updated == records
    assert filled() == records
    assert tenant.differences(entity) == []
