"""The files of a new entity or of new columns, from the documents: `python -m st_pipeline.tools.scaffold tag_types`.

Here: from the API catalogue to a spec, and the command. Not here: the catalogue, the text of blocks and migrations,
and what only a person knows (a description, what an entity waits for): the block is a beginning. CONTRIBUTING.md walks
through it.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import msgspec
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.crm import EVER_MODIFIED
from st_pipeline.entities.spec import Column, DeletionSign, EntitySpec, Kind, key_column, key_rules
from st_pipeline.errors import ConfigurationError
from st_pipeline.simulator.api_catalogue import CATALOGUE_FILE, CatalogueEntry, Field, catalogue_entries
from st_pipeline.tools.entity_block import add_columns, add_entity
from st_pipeline.tools.entity_migration import add_migration

KINDS = {
    "int64": Kind.INTEGER,
    "int32": Kind.INTEGER,
    "decimal": Kind.DECIMAL,
    "double": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "date-time": Kind.TIMESTAMP,
    "date": Kind.DAY,
    "array": Kind.JSON,
}  # any other is text
# ServiceTitan: accounting writes money as text, and no document says which texts are money.
MONEY_AS_TEXT = {"subTotal", "salesTax", "total", "balance", "discountTotal", "unappliedAmount"}


def spec_of(entry: CatalogueEntry) -> EntitySpec:
    """The spec as far as the documents tell: paths, parameters, every field as a column."""
    area = entry.list_path.split("/")[1].replace("-", "_")
    feed_only = {field.name for field in entry.export_only_fields}
    goes_by_flag = "active" in feed_only and not entry.active_filter and "ids" not in entry.list_params
    columns = [
        replace(column, feed_only=column.path[0] in feed_only)
        for field in (*entry.fields, *entry.export_only_fields)
        for column in _columns(field, (), area, may_be_null=False)
    ]
    return EntitySpec(
        name=entry.name,
        area=area,
        title=entry.name.replace("_", " ").capitalize(),
        list_path=entry.list_path,
        feed_path=entry.export_path,
        list_params=MappingProxyType({**_every_state(entry), **(EVER_MODIFIED if goes_by_flag else {})}),
        sort="+Id" if "sort" in entry.list_params and "Id" in _documented_sorts(entry.name) else None,
        ids_param="ids" in entry.list_params,
        deletion_sign=DeletionSign.INACTIVE if goes_by_flag else DeletionSign.ABSENT,
        scope=entry.scope,
        columns=tuple(_with_names_that_sql_takes(entry.name, columns)),
        rules=key_rules(),
    )


def _every_state(entry: CatalogueEntry) -> dict[str, str]:
    """What a list needs in order to show inactive records, and what it hides unless asked."""
    asked = {entry.active_filter: "All" if entry.active_filter == "activeState" else "Any"}
    return {key: value for key, value in asked.items() if key} | dict.fromkeys(entry.include_flags, "true")


def _documented_sorts(name: str) -> list[str]:
    """The sort fields that the documents name; CatalogueEntry has a guess where they list none."""
    listed = msgspec.json.decode(CATALOGUE_FILE.read_bytes())[name.partition(".")[0]]["sort_fields"]
    return listed if isinstance(listed, list) else []


def _columns(field: Field, above: tuple[str, ...], area: str, *, may_be_null: bool) -> Iterator[Column]:
    path = (*above, field.name)
    may_be_null = may_be_null or field.nullable or field.null_seen_live
    if field.kind == "object":
        for each in field.properties:
            yield from _columns(each, path, area, may_be_null=may_be_null)
        return
    is_money = area == "accounting" and field.kind == "string" and not above and field.name in MONEY_AS_TEXT
    if path == ("id",):
        yield key_column()
    else:
        kind = Kind.DECIMAL if is_money else KINDS.get(field.kind, Kind.TEXT)
        yield Column(
            ".".join(path),
            kind,
            known_values=field.values,
            description="HTML" if field.format == "html" else "",
            never_null=not may_be_null,
        )


def _with_names_that_sql_takes(entity: str, columns: Sequence[Column]) -> Iterator[Column]:
    """`end` becomes `appointment_end`: a reserved word would need quotes in every query."""
    for column in columns:
        is_reserved = column.name in RESERVED_WORDS
        yield replace(column, name=f"{entity.removesuffix('s')}_{column.name}") if is_reserved else column


def main(names: Sequence[str], checkout: Path) -> None:
    """Write what can be written for these entities and print the files. Raises ConfigurationError."""
    entries = catalogue_entries()
    unknown = sorted(set(names) - entries.keys())
    if unknown or not names:
        raise ConfigurationError(
            f"not in the API catalogue: {', '.join(unknown) or 'no name was given'}; first add it to api_catalogue.json"
        )
    specs = {name: spec_of(entries[name]) for name in names}
    new = [spec for name, spec in specs.items() if name not in ENTITIES]
    grown = {ENTITIES[name]: missing_columns(ENTITIES[name], spec) for name, spec in specs.items() if name in ENTITIES}
    complete = sorted(spec.name for spec, columns in grown.items() if not columns)
    if complete:
        raise ConfigurationError(
            f"{', '.join(complete)}: an entity already, with every field that api_catalogue.json documents"
        )
    folder = checkout / "st_pipeline" / "entities"
    written = [path for spec in new for path in add_entity(folder, spec)]
    written += [add_columns(folder, spec, columns) for spec, columns in grown.items()]
    written.append(add_migration(checkout / "sql" / "versions", new, grown))
    for path in dict.fromkeys(written):
        print(path.relative_to(checkout))  # noqa: T201 - a command


def missing_columns(standing: EntitySpec, documented: EntitySpec) -> list[Column]:
    """The documented fields that have no column yet."""
    sources = {column.source for column in standing.columns}
    return [column for column in documented.columns if column.source not in sources]


if __name__ == "__main__":
    try:
        main(sys.argv[1:], Path.cwd())
    except ConfigurationError as error:
        sys.exit(str(error))
