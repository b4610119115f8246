"""What ServiceTitan documents about each entity, read from `facts.json`: paths, parameters, fields, scopes.

Here: the file's notation and the types it becomes. Not here: what the server does with a fact. Source: ServiceTitan's
own OpenAPI documents.

Notation. A field's name ends in `?` where the documents allow null, in `!` where they do not and null was seen all the
same. Its type is `int64`, `int32`, `decimal`, `double`, `boolean`, `date-time`, `date`, `duration`, `string`,
`string:html` (a format), `enum:A|B`, `string~A|B` (open text with usual values), `{…}` (object) or `[…]` (array).
A parameter is `[type]` or `[type, test, field]`: a record passes when any value at `field` passes `test`. A fourth part
`entity.theirs=ours` means that `field` is one of another entity's: a record passes when such a record's `theirs` is the
record's `ours`.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

FACTS_FILE = Path(__file__).with_name("facts.json")


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
    """One query parameter: how its text is read and, if it filters, what it is compared with."""

    name: str
    kind: str
    values: tuple[str, ...] = ()
    test: str | None = None
    path: tuple[str, ...] = ()
    through: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """The record a nested list hangs on: `/customers/{id}/contacts`."""

    entity: str
    field: str
    path: str
    must_be_active: bool


@dataclass(frozen=True, slots=True)
class EntityFacts:
    """All the server needs to know to serve one entity."""

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
def all_facts() -> dict[str, EntityFacts]:
    """Every list by name: an entity, or of one that is several lists `entity.owner` (custom fields)."""
    raw: dict[str, dict[str, Any]] = msgspec.json.decode(FACTS_FILE.read_bytes())
    facts: dict[str, EntityFacts] = {}
    for name, entry in raw.items():
        lists = entry.get("lists", {name: {}})
        facts |= {list_name: _entity(list_name, {**entry, **own}) for list_name, own in lists.items()}
    return facts


@cache
def lists_of(entity: str) -> tuple[str, ...]:
    """The lists that make up an entity: itself, and for custom fields those of all owners."""
    return tuple(name for name in all_facts() if name == entity or name.startswith(entity + "."))


@cache
def entity_names() -> tuple[str, ...]:
    """The entities, each once however many lists it is."""
    return tuple(dict.fromkeys(name.partition(".")[0] for name in all_facts()))


def _entity(name: str, entry: dict[str, Any]) -> EntityFacts:
    documented = entry["sort_fields"]
    if documented == "undocumented":  # `sort` exists, its values are not listed: the three that every list accepts
        documented = ["Id", "CreatedOn", "ModifiedOn"]
    return EntityFacts(
        name=name,
        list_path=entry["list_path"],
        export_path=entry["export_path"],
        old_export_path=entry.get("old_export_path"),
        detail_path=entry.get("detail_path"),
        scope=entry["scope"],
        active_filter=entry["active_filter"],
        active_filter_default=entry["active_filter_default"],
        sort_fields=tuple(documented or ()),
        list_params={key: _parameter(key, value) for key, value in entry["list_params"].items()},
        export_params={key: _parameter(key, value) for key, value in entry["export_params"].items()},
        fields=_fields(entry["fields"]),
        export_only_fields=_fields(entry["export_only_fields"]),
        detail_only_fields=_fields(entry.get("detail_only_fields", {})),
        include_flags=entry.get("include_flags", {}),
        required_one_of=tuple(entry.get("required_one_of", ())),
        required_params=tuple(entry.get("required_params", ())),
        page_zero_is_an_error=entry.get("page_zero_is_an_error", False),
        parent=Parent(**entry["parent"]) if "parent" in entry else None,
    )


def _parameter(name: str, entry: list[str]) -> Parameter:
    kind, _, values = entry[0].partition("enum:")
    parameter = Parameter(name, kind + "enum" if values else kind, tuple(values.split("|")) if values else ())
    if len(entry) > 1:
        parameter = replace(parameter, test=entry[1], path=tuple(entry[2].split(".")))
    if len(entry) > 3:  # noqa: PLR2004 - the fourth part
        theirs, ours = entry[3].split("=")
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
