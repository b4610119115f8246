"""List endpoints, GET by id, and lists below a record (`/customers/{id}/contacts`).

Here: paging and envelopes. Not here: filters and sorting, feeds.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from st_pipeline.simulator.api_catalogue import CatalogueEntry
from st_pipeline.simulator.filters import narrow, select, shuffled
from st_pipeline.simulator.query import Query
from st_pipeline.simulator.responses import Refused, Response, error, invalid, invalid_value, page_envelope
from st_pipeline.simulator.settings import Settings
from st_pipeline.simulator.store import EntityStore, Row, encode
from st_pipeline.simulator.tenant import Tenant

DEFAULT_PAGE_SIZE = 50
MAXIMUM_PAGE_SIZE = 5000
Change = Callable[[list[bytes]], list[bytes]]
KEPT_SELECTIONS = 32  # of all tenants; a client that reads a list page by page needs the same selection for each


def unchanged(data: list[bytes]) -> list[bytes]:
    """The records as they are; a fault replaces this function."""
    return data


class Lists:
    """Handles list requests of every tenant."""

    def __init__(self) -> None:
        self._selections: OrderedDict[Hashable, list[Row]] = OrderedDict()

    def page(
        self, tenant: Tenant, entry: CatalogueEntry, query: Query, change: Change = unchanged, repeat: bool = False
    ) -> Response:
        """One page. `repeat`: a fault, the previous page under this page's number."""
        page, size = _paging(entry, query, tenant.settings)
        _check_required(entry, query)
        return _response(tenant, entry, self._selected(tenant, entry, query), query, (page, size), change, repeat)

    def nested(self, tenant: Tenant, entry: CatalogueEntry, parent_id: int, query: Query) -> Response:
        """The rows of one parent. ServiceTitan: 409 for the contacts of an inactive customer."""
        parent = entry.parent
        if parent is None:
            raise LookupError(f"{entry.name} has no parent")  # cannot happen: routes come from the catalogue
        paging = _paging(entry, query, tenant.settings)
        owner = tenant.stores[parent.entity].rows.get(parent_id)
        label = parent.entity.removesuffix("s").capitalize()
        if owner is None or owner.deleted:
            return error(404, f"{label} ID = {parent_id} is not found")
        if parent.must_be_active and not owner.active:
            return error(409, f"{label} ID = {parent_id} is not active")
        selected = self._selected(tenant, entry, query)
        rows = [row for row in selected if getattr(narrow(row, parent.field), parent.field, None) == parent_id]
        return _response(tenant, entry, rows, query, paging, unchanged, repeat=False)

    def _selected(self, tenant: Tenant, entry: CatalogueEntry, query: Query) -> list[Row]:
        stores, settings = tenant.stores, tenant.settings
        versions = tuple(stores[name].version for name in (entry.name, "customer_contacts", *query.looks_into()))
        unsaid = (settings.invoices_active_state_default, settings.bare_sort)
        key = (tenant.uid, entry.name, versions, unsaid, query.key("page", "pageSize", "includeTotal"))
        rows = self._selections.get(key)
        if rows is None:
            rows = self._selections[key] = select(entry, stores, query, settings)
            if len(self._selections) > KEPT_SELECTIONS:
                self._selections.popitem(last=False)
        return rows


def _response(
    tenant: Tenant,
    entry: CatalogueEntry,
    rows: list[Row],
    query: Query,
    paging: tuple[int, int],
    change: Change,
    repeat: bool,
) -> Response:
    page, size = paging
    store, settings = tenant.stores[entry.name], tenant.settings
    served = max(page - 1, 1) if repeat else page
    chosen = rows[(served - 1) * size : served * size]
    if settings.default_order == "shuffled" and "sort" not in query and "orderBy" not in query:
        chosen = shuffled(chosen)
    envelope = {
        "page": page,
        "pageSize": size,
        "hasMore": page * size < len(rows),
        "totalCount": len(rows) if query.value("includeTotal") else None,
    }
    return Response(200, page_envelope(envelope, change(bodies(entry, store, chosen, query))))


def bodies(entry: CatalogueEntry, store: EntityStore, rows: list[Row], query: Query) -> list[bytes]:
    """The records as a list shows them: some keys are null unless the request includes them."""
    hidden = [key for flag, key in entry.include_flags.items() if not query.value(flag)]
    if hidden:
        return [_without(row, hidden) for row in rows]
    return [store.list_form(row) for row in rows]


def detail(tenant: Tenant, entry: CatalogueEntry, record_id: int) -> Response:
    """GET by id. Shows inactive records, but not deleted ones."""
    store = tenant.stores[entry.name]
    row = store.rows.get(record_id)
    if row is None or row.deleted:
        return error(
            404, f"{entry.name.removesuffix('s').replace('_', ' ').capitalize()} ID = {record_id} is not found"
        )
    if not entry.detail_only_fields:
        return Response(200, store.list_form(row))
    more: dict[str, list[object]] = {field.name: [] for field in entry.detail_only_fields}
    return Response(200, encode({**row.as_dict(), **more}))


def _without(row: Row, hidden: list[str]) -> bytes:
    try:
        record = row.as_dict()
    except msgspec.DecodeError:
        return row.body
    return encode({key: None if key in hidden else value for key, value in record.items()})


def _paging(entry: CatalogueEntry, query: Query, settings: Settings) -> tuple[int, int]:
    page, size = query.value("page", 1), query.value("pageSize", DEFAULT_PAGE_SIZE)
    if page < 0 or (page == 0 and entry.page_zero_is_an_error):
        raise Refused(invalid_value("page", str(page)))
    if size < 1:
        raise Refused(invalid_value("pageSize", str(size)))
    if size > MAXIMUM_PAGE_SIZE:
        if settings.page_size_over_maximum == "reject":
            raise Refused(invalid("pageSize", f"The maximum page size is {MAXIMUM_PAGE_SIZE}."))
        size = MAXIMUM_PAGE_SIZE
    return max(page, 1), size


def _check_required(entry: CatalogueEntry, query: Query) -> None:
    if entry.required_one_of and not any(name in query for name in entry.required_one_of):
        raise Refused(invalid(entry.required_one_of[0], f"One of {', '.join(entry.required_one_of)} is required."))
    for name in entry.required_params:
        if name not in query:
            raise Refused(invalid(name, f"The {name} field is required."))
