"""Custom field types: a list per owner.

Here: the types. Those of customers and locations are in the catalogue, and their records name them. Not here: values,
which are in the owners' records.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from random import Random

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

_Type = tuple[str, str, tuple[str, ...]]
LISTS = "custom_fields"
_TYPES: dict[str, tuple[_Type, ...]] = {
    f"{LISTS}.jobs": (
        ("Permit number", "Text", ()),
        ("Lead source detail", "Dropdown", ("Yard sign", "Neighbor", "Repeat")),
        ("Filter size", "Dropdown", ("16x25x1", "20x20x1", "20x25x4")),
        ("Static pressure", "Numeric", ()),
    ),
    f"{LISTS}.projects": (("Project phase", "Dropdown", ("Rough-in", "Trim", "Closed")), ("Lot", "Text", ())),
    f"{LISTS}.customers": (("Do they rent?", "Dropdown", ("Yes", "No")),),
    f"{LISTS}.locations": (("Crawl space", "Dropdown", ("Yes", "No", "Unknown")),),
    f"{LISTS}.invoices": (("PO Number", "Text", ()), ("Approved by", "Text", ())),
    f"{LISTS}.payments": (("Lockbox", "Text", ()), ("Financing term", "Numeric", ())),
    f"{LISTS}.memberships": (("Renewal notes", "Text", ()), ("Visits used", "Numeric", ())),
    f"{LISTS}.equipment": (("Filter location", "Text", ()), ("Refrigerant", "Dropdown", ("R-22", "R-410A", "R-454B"))),
}
_KNOWN = {f"{LISTS}.customers": "custom_fields", f"{LISTS}.locations": "location_custom_fields"}  # in the catalogue


def _known(entity: str, company: Company) -> list[tuple[int, _Type]]:
    attribute = _KNOWN.get(entity)
    fields = getattr(company.catalogue, attribute) if attribute else ()
    return [(type_id, (name, "Text", ())) for type_id, name, _ in fields]


def _types(entity: str, company: Company, chance: Random, count: int) -> Iterator[Record]:
    """`count` more types in one list; in history, all types of the list."""
    known, names = _known(entity, company), _TYPES[entity]
    for _ in range(count if company.now is not None else len(known) + len(names)):
        number = len(company.stores[entity])
        if number < len(known):
            type_id, (name, kind, options) = known[number]
        else:
            place = number - len(known)
            name, kind, options = names[place % len(names)]
            type_id = company.new_id("custom fields")  # the same series for all lists, so an id is in one list only
            name = name if place < len(names) else f"{name} {number}"
        created, modified = company.moments(chance)
        is_equipment = entity == f"{LISTS}.equipment"
        record = {
            "id": type_id,
            "name": name,
            "dataType": kind,
            "dataTypeOptions": list(options) if options else None if chance.random() < 0.5 and not is_equipment else [],
        }
        if not is_equipment:  # ServiceTitan: this list has no timestamps, and its options are never null
            record |= {"createdOn": to_text(created), "modifiedOn": to_text(modified)}
        yield record


def _edited_type(_: Company, chance: Random, field: Record) -> Record:
    if field["dataType"] == "Dropdown":
        return {"dataTypeOptions": [*field["dataTypeOptions"], f"Other {1 + int(chance.random() * 99)}"]}
    return {"dataType": "Numeric" if field["dataType"] == "Text" else "Text"}


for _before, _entity in pairwise(("", *_TYPES)):
    # Always in this order, as they share a series of ids.
    _after = (_before,) if _before else ()
    generates(_entity, count=lambda _: 0, after=_after, when_asked=True)(partial(_types, _entity))
    changes(_entity)(_edited_type)
