"""Contract violations: nulls, enum values and keys in records that ServiceTitan's documents rule out.

Here: changing the bytes that are served. Not here: the stored records, which stay as they are.
"""

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from st_pipeline.simulator.api_catalogue import CatalogueEntry, Field
from st_pipeline.simulator.faults import ActiveRule
from st_pipeline.simulator.store import encode

_KEPT = ("id", "modifiedOn", "createdOn")  # never changed: a client may rely on these


def violate_contract(entry: CatalogueEntry, data: list[bytes], rules: Sequence[ActiveRule]) -> list[bytes]:
    """Change a share of the records as the rules say."""
    for active in rules:
        data = [_changed(entry, body, active) if active.chance.random() < active.rule.rate else body for body in data]
    return data


def _changed(entry: CatalogueEntry, body: bytes, active: ActiveRule) -> bytes:
    try:
        record = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return body
    match active.rule.kind:
        case "extra_keys":
            record["aiSummary"] = {"score": active.chance.random(), "labels": ["new", None]}
        case "nulls":
            present = [
                field
                for field in entry.fields
                if not field.nullable and field.name in record and field.name not in _KEPT
            ]
            if present:
                record[active.chance.choice(present).name] = None
        case "enums":
            _rename_an_enum(entry.fields, record, active.chance)
    return encode(record)


def _rename_an_enum(fields: tuple[Field, ...], record: dict[str, Any], chance: random.Random) -> None:
    names = [field.name for field in fields if field.values and isinstance(record.get(field.name), str)]
    if names:
        record[chance.choice(names)] = "AddedWithoutNotice"
