"""WHAT is synced: every entity, in the order of a tenant's sync.

Here: the registry; a module for each of ServiceTitan's areas has the entities. Not here: code that fetches, checks or
writes; this room imports no other.
"""

from st_pipeline.entities import (
    accounting,
    crm,
    custom_fields,
    equipmentsystems,
    jbce,
    jpm,
    marketing,
    memberships,
    sales,
    settings,
)
from st_pipeline.entities.spec import EntitySpec

AREAS = (settings, jbce, marketing, custom_fields, memberships, crm, jpm, sales, accounting, equipmentsystems)


def registry(specs: tuple[EntitySpec, ...]) -> dict[str, EntitySpec]:
    """Specs by name, each after those it depends on. Raises ValueError for a repeated or unknown name, and a cycle."""
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) < len(specs):
        names = [spec.name for spec in specs]
        raise ValueError(f"two entities named {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    ordered: dict[str, EntitySpec] = {}
    waiting = dict(by_name)
    while waiting:
        ready = [spec for spec in waiting.values() if all(name in ordered for name in spec.depends_on)]
        if not ready:
            raise ValueError(f"these entities depend on each other or on an unknown one: {', '.join(waiting)}")
        for spec in ready:
            ordered[spec.name] = waiting.pop(spec.name)
    return ordered


ENTITIES = registry(tuple(spec for area in AREAS for spec in area.ENTITIES))
# What is read one by one: the entities, and instead of one that consists of several lists, its lists.
LISTS = {one.name: one for spec in ENTITIES.values() for one in spec.read_as}
