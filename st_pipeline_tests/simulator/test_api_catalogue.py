"""The API catalogue: what it contains, and that the server can serve all of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from st_pipeline.simulator.api_catalogue import CatalogueEntry, Field, catalogue_entries, entity_names, lists_of
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.simulator.control_api import _TENANT_ROUTES
from st_pipeline.simulator.faults import Kind, Rule
from st_pipeline.simulator.filters import _COMPARERS, _OPERATORS
from st_pipeline.simulator.generate.activity import ACTIONS
from st_pipeline.simulator.generate.registry import GENERATORS, in_order
from st_pipeline.simulator.settings import Settings
from st_pipeline.simulator.tenant import TenantSpec
from st_pipeline_tests.simulator.independent_client import NO_LIMIT, IndependentClient

ALL = list(catalogue_entries().values())


def all_fields(fields: tuple[Field, ...]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from all_fields(field.properties)
        if field.items:
            yield from all_fields((field.items,))


def test_an_entity_of_several_lists_is_one_entity():
    assert set(entity_names()) == {entry.name.partition(".")[0] for entry in ALL}
    assert "custom_fields" in entity_names()
    assert set(lists_of("custom_fields")) == {entry.name for entry in ALL if entry.name.startswith("custom_fields.")}
    assert [lists_of(name) for name in entity_names() if "." in name or len(lists_of(name)) > 1] == [
        lists_of("custom_fields")
    ]


def test_no_address_means_two_things():
    paths = [
        path for f in ALL for path in (f.list_path, f.export_path, f.detail_path, f.parent and f.parent.path) if path
    ]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.name)
def test_the_server_can_work_with_every_fact(entry: CatalogueEntry):
    tops = {field.name for field in entry.fields}
    kinds = {
        "int32",
        "int64",
        "decimal",
        "double",
        "boolean",
        "string",
        "date-time",
        "date",
        "duration",
        "enum",
        "object",
        "array",
    }
    assert {field.kind for field in all_fields(entry.fields)} <= kinds
    assert all(field.values for field in all_fields(entry.fields) if field.kind == "enum")
    for parameter in entry.list_params.values():
        if parameter.test:
            known = {*_OPERATORS, "one_of", "contact_phone", "has"}
            assert parameter.test in known or parameter.test in entry.list_params
            entity, theirs, ours = parameter.through or (entry.name, "id", "id")
            other = {field.name for field in catalogue_entries()[entity].fields}
            assert parameter.path[0] in other or parameter.test == "contact_phone"
            assert (theirs in other, ours in tops) == (True, True)
    assert entry.active_filter is None or entry.active_filter in entry.list_params
    assert set(entry.include_flags.values()) <= tops
    assert {name[0].lower() + name[1:] for name in entry.sort_fields} <= tops | {"name"}


def test_a_parameter_that_names_its_comparison_offers_those_we_know():
    assert set(catalogue_entries()["invoices"].list_params["balanceFilter.Comparer"].values) == set(_COMPARERS)


def test_everything_that_is_served_is_made_by_a_generator():
    assert set(GENERATORS) == {entry.name for entry in ALL}


def test_generators_come_after_those_they_build_on():
    order = [generator.entity for generator in in_order()]
    assert set(order) == set(GENERATORS) <= set(catalogue_entries())
    for generator in in_order():
        assert all(order.index(earlier) < order.index(generator.entity) for earlier in generator.after)


def test_the_docs_name_every_setting_fault_and_control_address():
    docs = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    names = [
        *Settings.__struct_fields__,
        *get_args(Kind),
        *TenantSpec.__struct_fields__,
        *ACTIONS,
        *Rule.__struct_fields__,
    ]
    assert [name for name in names if f"`{name}`" not in docs] == []
    assert [name for _, name in _TENANT_ROUTES if f"…/{name}" not in docs and name] == []


VALUES = ("1", "-1", "99999999999999999999", "true", "2026-01-01", "abc", "A,B", "+Id", " ", "\x00", "é", "1e400", "")


@pytest.fixture(scope="module")
def company(servicetitan_simulator: SimulatorControl) -> Iterator[IndependentClient]:
    """A small company that will have a record of each kind that makes no sense."""
    tenant = servicetitan_simulator.create_tenant(seed=5, customers=20, invoices=20, settings=NO_LIMIT)
    yield IndependentClient(tenant).log_in()
    tenant.remove()


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.name)
def test_no_value_of_any_parameter_makes_the_server_fail(company: IndependentClient, entry: CatalogueEntry):
    company.tenant.insert(entry.name, b'{"id":1,"name":5,"total":"x","address":[],"balance":{},"createdOn":"never"}')
    for path, parameters in ((entry.list_path, entry.list_params), (entry.export_path, entry.export_params)):
        for name in parameters if path else ():
            for value in VALUES:
                url = str(path).format(tenant=company.tenant.tenant_id)
                answer = company.http.get(
                    url, params={name: value, "pageSize": "1"} if name != "pageSize" else {name: value}
                )
                assert answer.status_code in (200, 400), (name, value, answer.text)
