"""Records made up from what ServiceTitan documents: every field filled, or everything null that may be.

Here: from the API catalogue to a record, and what a table must then hold. Not here: the pipeline's decoding.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from st_pipeline.entities.spec import Column, EntitySpec, Kind
from st_pipeline.simulator.api_catalogue import CatalogueEntry, Field, catalogue_entries

BIG = 10_000_000_000  # beyond int32, as ServiceTitan's ids are
KEPT_WHEN_NULL = ("id", "createdOn", "modifiedOn", "active")
_encoder = msgspec.json.Encoder(decimal_format="number")


def simulated_name(list_name: str) -> str:
    """How the simulator names what we read under this name: it keeps an entity's lists apart by a dot."""
    return list_name.replace("custom_fields_", "custom_fields.")


def catalogue_entry(spec: EntitySpec) -> CatalogueEntry:
    """What is documented of a list."""
    return catalogue_entries()[simulated_name(spec.name)]


def text_field(spec: EntitySpec) -> str:
    """A key of its records that holds any text."""
    free = (c for c in spec.columns if c.kind is Kind.TEXT and not c.known_values and len(c.path) == 1)
    return next(column.source for column in free if column.source != "owner")


def full_record(spec: EntitySpec, number: int) -> bytes:
    """A record with a value in every field; money as the area writes it."""
    return _encoder.encode(_record(spec, number))


def empty_record(spec: EntitySpec, number: int) -> bytes:
    """A record of nulls, but for its id and times."""
    record = _record(spec, number)
    return _encoder.encode({key: value if key in KEPT_WHEN_NULL else None for key, value in record.items()})


def _record(spec: EntitySpec, number: int) -> dict[str, Any]:
    entry, kinds = catalogue_entry(spec), {column.source: column.kind for column in spec.columns}
    fields = (*entry.fields, *entry.export_only_fields)
    record = {field.name: _value(field, number, field.name, kinds) for field in fields}
    own = {"id": BIG + number, "active": True, "modifiedOn": f"2026-03-01T10:{number:02}:00.1234561Z"}
    return record | {key: value for key, value in own.items() if key in record}


def _value(field: Field, number: int, path: str, kinds: dict[str, Kind]) -> Any:
    if field.kind == "object":
        return {each.name: _value(each, number, f"{path}.{each.name}", kinds) for each in field.properties}
    if field.kind == "array":
        assert field.items is not None
        return [_value(field.items, number, f"{path}[]", kinds)] * 2
    if field.values:
        return field.values[number % len(field.values)]
    if kinds.get(path) is Kind.DECIMAL and field.kind == "string":
        return f"{number}.50"
    return {
        "int64": BIG + number,
        "int32": number,
        "decimal": Decimal(f"{number}.1700000000"),
        "double": number + 0.25,
        "boolean": number % 2 == 0,
        "date-time": f"2026-02-{number:02}T00:00:00Z",
        "date": f"2026-02-{number:02}",
        "duration": "08:00:00",
    }.get(field.kind, f"{field.name} {number} é")


def expected_row(spec: EntitySpec, record: dict[str, Any]) -> dict[str, Any]:
    """The columns that a record makes."""
    return {column.name: _held(column, _at(record, column.path)) for column in spec.columns}


def _at(record: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        record = None if record is None else record.get(key)
    return record


def _held(column: Column, value: Any) -> Any:
    if value is None:
        return None
    match column.kind:
        case Kind.DECIMAL:
            return Decimal(str(value))
        case Kind.TIMESTAMP:
            return datetime.fromisoformat(value).astimezone(UTC)  # which cuts a seventh digit off, too
        case Kind.DAY:
            return date.fromisoformat(value[:10])
        case Kind.JSON:
            return json.loads(json.dumps(value))
        case _:
            return value


def leaves(fields: tuple[Field, ...], above: str = "") -> Iterator[tuple[str, Field]]:
    """Every field that is no object, by its path."""
    for field in fields:
        if field.kind == "object":
            yield from leaves(field.properties, f"{above}{field.name}.")
        else:
            yield f"{above}{field.name}", field
