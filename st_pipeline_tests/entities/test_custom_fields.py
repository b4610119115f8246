"""Custom fields: several lists under one name, and their values as rows."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.custom_fields import LISTS as OWNERS
from st_pipeline.errors import ScopeMissing
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.entities.conftest import Tenant, take_on
from st_pipeline_tests.entities.made_records import full_record, simulated_name

PROJECTS = "tn.jpm.projects:r"


def put_fields(tenant: Tenant) -> None:
    """Two fields of each owner, with the same two ids."""
    for one in OWNERS:
        for number in (1, 2):
            tenant.source.insert(simulated_name(one.name), full_record(one, number))


@pytest.fixture
def without_projects(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Tenant:
    """Its app has every scope but that of projects."""
    scopes = sorted({one.scope for one in LISTS.values()} - {PROJECTS})
    tenant = take_on(servicetitan_tenant(scopes=scopes), settings, engine)
    put_fields(tenant)
    return tenant


def test_a_scope_missing_for_one_owner_loses_no_other(without_projects: Tenant):
    result = without_projects.sync("custom_fields", "tag_types")
    (failed,) = [outcome for outcome in result.outcomes if outcome.error is not None]
    assert (failed.entity, type(failed.error)) == ("custom_fields", ScopeMissing)
    assert "custom_fields_projects" in str(failed.message)
    assert failed.result.notes == ["7 of 8 lists were read"]
    rows = without_projects.rows("SELECT owner, count(*) AS fields FROM st_custom_fields GROUP BY owner")
    assert {row["owner"]: row["fields"] for row in rows} == {
        one.name.removeprefix("custom_fields_"): 2 for one in OWNERS if one.scope != PROJECTS
    }
    (log,) = without_projects.rows(
        "SELECT e.entity, e.status, e.records_created, l.records_created AS total FROM sync_log_entities e "
        "JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id WHERE e.entity LIKE 'custom_fields%'"
    )
    assert log == {"entity": "custom_fields", "status": "failed", "records_created": 14, "total": 14}


def test_the_scope_granted_later_brings_the_rest(without_projects: Tenant):
    without_projects.sync("custom_fields")
    without_projects.source.change(scopes=None)
    without_projects.source.revoke_tokens()  # one fetched before holds the old scopes for its 15 minutes
    result = without_projects.sync("custom_fields")
    assert (result.success, result.counts.created) == (True, 2)


def test_the_entity_is_complete_up_to_the_list_that_lags_most(tenant: Tenant):
    put_fields(tenant)
    moments = "SELECT entity, complete_through, last_full_at FROM sync_cursors WHERE entity LIKE 'custom_fields%'"
    tenant.sync("custom_fields")
    cursors = {row["entity"]: row for row in tenant.rows(moments)}
    whole = cursors.pop("custom_fields")
    assert len(cursors) == 8
    for moment in ("complete_through", "last_full_at"):
        assert whole[moment] == min(row[moment] for row in cursors.values()) is not None


def test_a_lost_network_is_not_tried_again_for_each_list(tenant: Tenant):
    """A refused credential ends the tenant at the first list."""
    tenant.source.change(client_secret="another")
    result = tenant.sync("custom_fields")
    assert not result.success
    assert tenant.asked().get("custom_fields.projects.list", 0) == 0


def test_values_are_rows_with_the_field_they_belong_to(tenant: Tenant):
    for name in ("customers", "invoices", "jobs"):
        made = full_record(ENTITIES[name], 1)
        tenant.source.insert(name, made)
    tenant.sync()
    rows = tenant.rows(
        "SELECT entity, st_id, type_id, name, value FROM st_custom_field_values ORDER BY entity, st_id, name"
    )
    by_entity: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_entity.setdefault(row["entity"], []).append(row)
    assert {name: len(found) for name, found in by_entity.items()} == {"customers": 2, "invoices": 2, "jobs": 2}
    assert {row["value"] for row in rows} == {"value 1 é"}
    assert {row["type_id"] is None for row in by_entity["invoices"]} == {True}, "invoices show no type"
    assert {row["type_id"] is None for row in by_entity["jobs"]} == {False}


ODD = {
    "null": 0,
    "[]": 0,
    '"text"': 1,
    '[{"name": "A", "value": "1", "typeId": 12}, {"name": "B", "value": null, "typeId": "x"}]': 2,
    "[null, 5]": 2,
}


@pytest.mark.parametrize("value", ODD)
def test_an_odd_list_of_values_does_not_break_the_view(tenant: Tenant, value: str):
    """One row that is shaped otherwise must not fail everybody's query."""
    tenant.source.insert("customers", b'{"id":1,"name":"x","active":true,"customFields":%s}' % value.encode())
    tenant.sync("customers")
    rows = tenant.rows("SELECT name, value, type_id FROM st_custom_field_values ORDER BY name")
    assert len(rows) == ODD[value]


def test_a_deleted_record_shows_no_values(tenant: Tenant):
    tenant.source.insert("customers", full_record(ENTITIES["customers"], 1))
    tenant.sync("customers")
    tenant.execute("UPDATE st_customers SET deleted_at = now()")
    assert tenant.rows("SELECT * FROM st_custom_field_values") == []
