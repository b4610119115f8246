"""The specs against what ServiceTitan documents, and the tables against what people do with them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, inspect, text

from st_pipeline.entities import ENTITIES, LISTS, registry
from st_pipeline.entities.spec import Column, EntitySpec, Group, Kind, key_column
from st_pipeline.simulator.api_catalogue import Field, catalogue_entries, entity_names
from st_pipeline.tools.entity_migration import JOINED
from st_pipeline_tests.entities.made_records import catalogue_entry, leaves, simulated_name

KINDS = {
    "int64": {Kind.INTEGER},
    "int32": {Kind.INTEGER},
    "decimal": {Kind.DECIMAL},
    "double": {Kind.FLOAT},
    "boolean": {Kind.BOOLEAN},
    "date-time": {Kind.TIMESTAMP, Kind.DAY},
    "date": {Kind.DAY},
    "array": {Kind.JSON},
    "string": {Kind.TEXT},
    "enum": {Kind.TEXT},
    "duration": {Kind.TEXT},
}
# Accounting writes money as text.
MONEY_AS_TEXT = {
    "invoices": {"subTotal", "salesTax", "total", "balance", "discountTotal"},
    "payments": {"total", "unappliedAmount"},
}
# Midnight means a calendar day.
DAYS = {"invoices": {"invoiceDate", "dueDate"}}


def nullable(fields: tuple[Field, ...], above: str = "", *, inside: bool = False) -> Iterator[str]:
    """Paths of fields that the documents let be null, or that were seen null, or whose record may be null."""
    for field in fields:
        may_be = inside or field.nullable or field.null_seen_live
        if may_be:
            yield f"{above}{field.name}"
        yield from nullable(field.properties, f"{above}{field.name}.", inside=may_be)


def test_every_documented_entity_and_list_is_synced():
    assert {simulated_name(name) for name in LISTS} == set(catalogue_entries())
    assert set(ENTITIES) == set(entity_names())


@pytest.mark.parametrize("name", LISTS)
def test_every_documented_field_is_a_column_of_its_kind(name: str):
    spec, entry = LISTS[name], catalogue_entry(LISTS[name])
    documented = dict(leaves((*entry.fields, *entry.export_only_fields)))
    columns = {column.source: column for column in spec.columns}
    may_be_null = set(nullable(entry.fields))
    # Documented as never null, but an e-mail address has no settings of a phone.
    may_be_null |= {"phoneSettings.phoneNumber", "phoneSettings.doNotText"}
    if spec.area == "custom_fields":
        may_be_null |= {"createdOn", "modifiedOn"}  # the columns are of all owners, equipment among them
    no_times = {"createdOn", "modifiedOn"} if name == "custom_fields_equipment" else set()
    assert set(columns) - no_times == set(documented)
    for source, field in documented.items():
        allowed = {Kind.DECIMAL} if source in MONEY_AS_TEXT.get(name, ()) else KINDS[field.kind]
        assert columns[source].kind in allowed, source
        assert columns[source].known_values == field.values, source
        assert (columns[source].kind is Kind.DAY) == (field.kind == "date" or source in DAYS.get(name, ())), source
        assert columns[source].never_null == (source not in may_be_null and source != "id"), source
    assert {column.source for column in spec.columns if column.feed_only} == {f.name for f in entry.export_only_fields}


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_asked_as_documented(name: str):
    spec, entry = LISTS[name], catalogue_entry(LISTS[name])
    assert (spec.list_path, spec.scope) == (entry.list_path, entry.scope)
    assert spec.feed_path == (None if name == "membership_types" else entry.export_path)
    assert set(spec.list_params) <= set(entry.list_params), "unknown parameters are ignored, without a word"
    assert set(entry.required_params) <= {*spec.list_params, "page", "pageSize"}
    assert entry.active_filter is None or spec.list_params[entry.active_filter] in ("Any", "All")
    assert spec.ids_param == ("ids" in entry.list_params)
    assert spec.sort is None or (spec.sort.lstrip("+") in entry.sort_fields and "sort" in entry.list_params)


def test_each_is_read_after_what_it_depends_on():
    order = list(ENTITIES)
    for spec in ENTITIES.values():
        assert [name for name in spec.depends_on if order.index(name) > order.index(spec.name)] == []
    groups = list(Group)
    for spec in ENTITIES.values():
        assert max((groups.index(ENTITIES[name].group) for name in spec.depends_on), default=0) <= groups.index(
            spec.group
        )


def one_list(name: str, **changes: object) -> EntitySpec:
    return replace(
        EntitySpec(name=name, area="a", title=name, list_path="/a", scope="s", columns=(key_column(),)),
        **changes,  # type: ignore[arg-type]
    )


WRONG = {
    "named twice": lambda: one_list("a", columns=(key_column(), Column("x", Kind.TEXT), Column("x", Kind.TEXT))),
    "belongs to the pipeline": lambda: one_list("a", columns=(key_column(), Column("fullData", Kind.JSON))),
    "no key column": lambda: one_list("a", key=("owner", "st_id")),
    "needs a list and its scope": lambda: one_list("a", scope=""),
    "or several lists": lambda: one_list("a", lists=(one_list("b"),)),
    "names an unknown column": lambda: one_list("a", totals=("total",)),
    "two entities named a": lambda: registry((one_list("a"), one_list("a"))),
    "depend on each other": lambda: registry((one_list("a", after=("b",)), one_list("b", refers_to=("a",)))),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_spec_is_refused_where_it_stands(words: str):
    with pytest.raises(ValueError, match=words):
        WRONG[words]()


def joined_columns() -> Iterator[tuple[str, str]]:
    for spec in ENTITIES.values():
        for name in JOINED if spec.feed_path else ():
            if spec.has(name):
                yield spec.table, name


def test_what_people_join_by_is_indexed(engine: Engine):
    found = inspect(engine)
    expected = set(joined_columns())
    indexed = {
        (table, index["column_names"][1])
        for table, _ in expected
        for index in found.get_indexes(table)
        if index["column_names"][0] == "credential_id"
    }
    assert len(expected) > 20
    assert expected - indexed == set()


def test_the_view_of_custom_fields_takes_every_table_that_has_them(engine: Engine):
    tables = {spec.table for spec in ENTITIES.values() if spec.has("custom_fields")}
    with engine.connect() as connection:
        query = "SELECT table_name FROM information_schema.view_table_usage WHERE view_name = 'st_custom_field_values'"
        assert set(connection.execute(text(query)).scalars()) == tables
    assert len(tables) == 7
