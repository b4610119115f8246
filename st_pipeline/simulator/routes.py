"""From an address to an operation.

Here: matching paths, which come from the API catalogue: a new entity needs no change here. Not here: the operations.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from st_pipeline.simulator.api_catalogue import CatalogueEntry, catalogue_entries

Kind = Literal["list", "export", "detail", "nested"]


_SHORTEST = 6  # parts of "/crm/v2/tenant/1/customers", including the empty first one
_ID_DIGITS = 18  # fits int64


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: which entity, and what it returns of it."""

    entry: CatalogueEntry
    kind: Kind


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and the numbers in the address."""

    route: Route
    tenant_id: int
    record_id: int


@cache
def _routes() -> dict[str, Route]:
    routes: dict[str, Route] = {}
    for entry in catalogue_entries().values():
        routes[entry.list_path] = Route(entry, "list")
        for path in (entry.export_path, entry.old_export_path):
            if path:
                routes[path] = Route(entry, "export")
        if entry.detail_path:
            routes[entry.detail_path] = Route(entry, "detail")
        if entry.parent:
            routes[entry.parent.path] = Route(entry, "nested")
    return routes


def match(path: str) -> Match | None:
    """The operation at `/{module}/v2/tenant/{tenant}/…`; None for an address that the gateway does not know."""
    parts = path.split("/")
    if len(parts) < _SHORTEST or parts[3] != "tenant" or not _is_id(parts[4]):
        return None
    ids = [part for part in parts[5:] if _is_id(part)]
    template = "/".join([*parts[:4], "{tenant}", *("{id}" if _is_id(part) else part for part in parts[5:])])
    route = _routes().get(template)
    return Match(route, int(parts[4]), int(ids[0]) if ids else 0) if route else None


def _is_id(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _ID_DIGITS
