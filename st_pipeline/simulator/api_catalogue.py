"""What ServiceTitan documents about each entity, read from `api_catalogue.json`: paths, parameters, fields, scopes.

Here: the file's notation and the types it is read into. Not here: what the server does with them. Source:
ServiceTitan's own OpenAPI documents.

Notation. A field's name ends in `?` where the documents allow null, in `!` where they do not but null was seen all the
same. Its type is `int64`, `int32`, `decimal`, `double`, `boolean`, `date-time`, `date`, `duration`, `string`,
`string:html` (a format), `enum:A|B`, `string~A|B` (open text with usual values), `{…}` (object) or `[…]` (array).
A parameter is `[type]` or `[type, test, field]`: a record passes when any value at `field` passes `test`. A fourth part
`entity.theirs=ours` means that `field` belongs to another entity: a record passes when `ours` equals `theirs` of a
record of that entity that passes the test.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

CATALOGUE_FILE = Path(__file__).with_name("api_catalogue.json")


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record. `kind` is `object`, `array`, `enum` or a scalar type of the notation above."""

    name: str
    kind: str
    nullable: bool
    null_seen_live: bool = False
    format: str | None = None
    values: tuple[str, ...] = ()
    properties: tuple["Field", ...] = ()
    items: "Field | None" = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: how its text is parsed and, if it filters, which field it is compared with."""

    name: str
    kind: str
    values: tuple[str, ...] = ()
    test: str | None = None
    path: tuple[str, ...] = ()
    through: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """The record that a nested list belongs to: `/customers/{id}/contacts`."""

    entity: str
    field: str
    path: str
    must_be_active: bool


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What the server needs to know to serve one list."""

    name: str
    list_path: str
    export_path: str | None
    old_export_path: str | None
    detail_path: str | None
    scope: str
    active_filter: str | None
    active_filter_default: str | None
    sort_fields: tuple[str, ...]
    list_params: dict[str, Parameter]
    export_params: dict[str, Parameter]
    fields: tuple[Field, ...]
    export_only_fields: tuple[Field, ...] = ()
    detail_only_fields: tuple[Field, ...] = ()
    include_flags: dict[str, str] = field(default_factory=dict)
    required_one_of: tuple[str, ...] = ()
    required_params: tuple[str, ...] = ()
    page_zero_is_an_error: bool = False
    parent: Parent | None = None


@cache
def catalogue_entries() -> dict[str, CatalogueEntry]:
    """Every list by name: the entity's name, or `entity.owner` when it consists of several lists (custom fields)."""
    file: dict[str, dict[str, Any]] = msgspec.json.decode(CATALOGUE_FILE.read_bytes())
    entries: dict[str, CatalogueEntry] = {}
    for name, raw in file.items():
        lists = raw.get("lists", {name: {}})
        entries |= {list_name: _entry(list_name, {**raw, **own}) for list_name, own in lists.items()}
    return entries


@cache
def lists_of(entity: str) -> tuple[str, ...]:
    """The lists of an entity: one, and for custom fields one for each owner."""
    return tuple(name for name in catalogue_entries() if name == entity or name.startswith(entity + "."))


@cache
def entity_names() -> tuple[str, ...]:
    """The entities, each once, however many lists it has."""
    return tuple(dict.fromkeys(name.partition(".")[0] for name in catalogue_entries()))


def _entry(name: str, raw: dict[str, Any]) -> CatalogueEntry:
    documented = raw["sort_fields"]
    if documented == "undocumented":  # `sort` exists, but not its values: those that every list accepts
        documented = ["Id", "CreatedOn", "ModifiedOn"]
    return CatalogueEntry(
        name=name,
        list_path=raw["list_path"],
        export_path=raw["export_path"],
        old_export_path=raw.get("old_export_path"),
        detail_path=raw.get("detail_path"),
        scope=raw["scope"],
        active_filter=raw["active_filter"],
        active_filter_default=raw["active_filter_default"],
        sort_fields=tuple(documented or ()),
        list_params={key: _parameter(key, value) for key, value in raw["list_params"].items()},
        export_params={key: _parameter(key, value) for key, value in raw["export_params"].items()},
        fields=_fields(raw["fields"]),
        export_only_fields=_fields(raw["export_only_fields"]),
        detail_only_fields=_fields(raw.get("detail_only_fields", {})),
        include_flags=raw.get("include_flags", {}),
        required_one_of=tuple(raw.get("required_one_of", ())),
        required_params=tuple(raw.get("required_params", ())),
        page_zero_is_an_error=raw.get("page_zero_is_an_error", False),
        parent=Parent(**raw["parent"]) if "parent" in raw else None,
    )


def _parameter(name: str, raw: list[str]) -> Parameter:
    kind, _, values = raw[0].partition("enum:")
    parameter = Parameter(name, kind + "enum" if values else kind, tuple(values.split("|")) if values else ())
    if len(raw) > 1:
        parameter = replace(parameter, test=raw[1], path=tuple(raw[2].split(".")))
    if len(raw) > 3:  # noqa: PLR2004 - the fourth part
        theirs, ours = raw[3].split("=")
        entity, theirs = theirs.split(".")
        parameter = replace(parameter, through=(entity, theirs, ours))
    return parameter


def _fields(tree: dict[str, Any]) -> tuple[Field, ...]:
    return tuple(_field(key, value) for key, value in tree.items())


def _field(key: str, notation: Any) -> Field:
    name = key.rstrip("?!")
    nullable, seen = key.endswith("?"), key.endswith("!")
    if isinstance(notation, dict):
        return Field(name, "object", nullable, seen, properties=_fields(notation))
    if isinstance(notation, list):
        return Field(name, "array", nullable, seen, items=_field("", notation[0]))
    if notation.startswith("enum:"):
        return Field(name, "enum", nullable, seen, values=tuple(notation[5:].split("|")))
    kind, _, known = notation.partition("~")
    kind, _, text_format = kind.partition(":")
    return Field(
        name, kind, nullable, seen, format=text_format or None, values=tuple(known.split("|")) if known else ()
    )
