"""The shapes that entities fall into, by what the engine branches on: one entity of each stands for the others.

Here: what a shape is, and parameters of tests that run over shapes. Not here: tests.
What must hold for each entity is tested for each entity. How an entity behaves in a mode is tested for one entity of
each shape by `make test`, and for the others by `make lab`.
"""

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from enum import Enum
from itertools import product
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import MODIFIED, EntitySpec
from st_pipeline.protocol import Mode
from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline_tests.entities.made_records import simulated_name

# What the engine passes on without asking what it is. Any other field of a spec makes shapes, a new one too.
ONLY_DATA = {
    "name", "area", "title", "description", "columns", "list_path", "scope", "list_params", "after", "refers_to",
    "rules", "totals", "group", "lists", "version",
}  # fmt: skip
Shape = tuple[object, ...]


def shape(spec: EntitySpec) -> Shape:
    """What the engine branches on, of an entity and of each list it is read as."""
    own = (_choice(each, getattr(spec, each.name)) for each in fields(spec) if each.name not in ONLY_DATA)
    by_columns = spec.has("active"), spec.has(MODIFIED), any(column.feed_only for column in spec.columns)
    lists = frozenset(shape(one) for one in spec.lists)
    return (*own, *by_columns, bool(lists) or tells_time(spec), lists)


def _choice(declared: Field[Any], value: object) -> object:
    """Is it left out, or said? Of an enumeration, which member."""
    default = declared.default if declared.default is not MISSING else None
    return value if isinstance(value, Enum) else value != default


def tells_time(spec: EntitySpec) -> bool:
    """Can the list be asked for what changed? The one of equipment's custom fields cannot."""
    return "modifiedOnOrAfter" in catalogue_entries()[simulated_name(spec.name)].list_params


def examples() -> dict[Shape, str]:
    """By shape, the first entity that has it."""
    found: dict[Shape, str] = {}
    for name, spec in ENTITIES.items():
        found.setdefault(shape(spec), name)
    return found


EXAMPLES = frozenset(examples().values())


def over_shapes(entities: Iterable[str] = ENTITIES) -> list[Any]:
    """Each of these entities as a test's parameter; those whose shape another one stands for are left to the lab."""
    return [pytest.param(entity, marks=marks(entity)) for entity in entities]


def over_shapes_and_modes() -> list[Any]:
    """The same in every mode."""
    return [
        pytest.param(entity, mode, id=f"{entity}-{mode}", marks=marks(entity))
        for entity, mode in product(ENTITIES, Mode)
    ]


def marks(entity: str) -> list[pytest.MarkDecorator]:
    """Does the lab alone test it?"""
    return [] if entity in EXAMPLES else [pytest.mark.lab]
