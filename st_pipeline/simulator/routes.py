"""Which operation an address means. Derived from the facts; a new entity needs nothing here."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from st_pipeline.simulator.api_catalogue import EntityFacts, all_facts

Kind = Literal["list", "export", "detail", "nested"]


_SHORTEST = 6  # parts of "/crm/v2/tenant/1/customers", the empty first one included
_ID_DIGITS = 18  # fits int64


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: what it returns of which entity."""

    facts: EntityFacts
    kind: Kind


@dataclass(frozen=True, slots=True)
class Match:
    """A route with the numbers in its address."""

    route: Route
    tenant_id: int
    record_id: int


@cache
def _routes() -> dict[str, Route]:
    routes: dict[str, Route] = {}
    for facts in all_facts().values():
        routes[facts.list_path] = Route(facts, "list")
        for path in (facts.export_path, facts.old_export_path):
            if path:
                routes[path] = Route(facts, "export")
        if facts.detail_path:
            routes[facts.detail_path] = Route(facts, "detail")
        if facts.parent:
            routes[facts.parent.path] = Route(facts, "nested")
    return routes


def match(path: str) -> Match | None:
    """The operation at `/{module}/v2/tenant/{tenant}/…`; None where the gateway knows none."""
    parts = path.split("/")
    if len(parts) < _SHORTEST or parts[3] != "tenant" or not _is_id(parts[4]):
        return None
    ids = [part for part in parts[5:] if _is_id(part)]
    template = "/".join([*parts[:4], "{tenant}", *("{id}" if _is_id(part) else part for part in parts[5:])])
    route = _routes().get(template)
    return Match(route, int(parts[4]), int(ids[0]) if ids else 0) if route else None


def _is_id(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _ID_DIGITS
