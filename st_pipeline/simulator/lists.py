"""List endpoints, GET by id, and lists below a record (`/customers/{id}/contacts`).

Here: paging and envelopes. Not here: which rows (`filters`), feeds (`feeds`).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from st_pipeline.simulator.api_catalogue import EntityFacts
from st_pipeline.simulator.filters import narrow, select, shuffled
from st_pipeline.simulator.query import Query
from st_pipeline.simulator.responses import Answer, Refused, error, invalid, invalid_value, page_envelope
from st_pipeline.simulator.settings import Settings
from st_pipeline.simulator.store import EntityStore, Row, encode
from st_pipeline.simulator.tenant import Tenant

DEFAULT_PAGE_SIZE = 50
MAXIMUM_PAGE_SIZE = 5000
Surprise = Callable[[list[bytes]], list[bytes]]
KEPT_SELECTIONS = 32  # of all tenants; a client that pages through one list asks the same question again and again


def unsurprising(data: list[bytes]) -> list[bytes]:
    """Records as they are: what a fault replaces."""
    return data


class Lists:
    """Answers list requests of every tenant."""

    def __init__(self) -> None:
        self._selections: OrderedDict[Hashable, list[Row]] = OrderedDict()

    def page(
        self, tenant: Tenant, facts: EntityFacts, query: Query, surprise: Surprise = unsurprising, repeat: bool = False
    ) -> Answer:
        """One page. `repeat`: a fault, the page before under this page's number."""
        page, size = _paging(facts, query, tenant.settings)
        _check_required(facts, query)
        return _answer(tenant, facts, self._selected(tenant, facts, query), query, (page, size), surprise, repeat)

    def nested(self, tenant: Tenant, facts: EntityFacts, parent_id: int, query: Query) -> Answer:
        """The rows that belong to one parent. ServiceTitan: 409 for the contacts of an inactive customer."""
        parent = facts.parent
        if parent is None:
            raise LookupError(f"{facts.name} has no parent")  # routes come from the facts: never
        paging = _paging(facts, query, tenant.settings)
        owner = tenant.stores[parent.entity].rows.get(parent_id)
        label = parent.entity.removesuffix("s").capitalize()
        if owner is None or owner.deleted:
            return error(404, f"{label} ID = {parent_id} is not found")
        if parent.must_be_active and not owner.active:
            return error(409, f"{label} ID = {parent_id} is not active")
        selected = self._selected(tenant, facts, query)
        rows = [row for row in selected if getattr(narrow(row, parent.field), parent.field, None) == parent_id]
        return _answer(tenant, facts, rows, query, paging, unsurprising, repeat=False)

    def _selected(self, tenant: Tenant, facts: EntityFacts, query: Query) -> list[Row]:
        stores, settings = tenant.stores, tenant.settings
        versions = tuple(stores[name].version for name in (facts.name, "customer_contacts", *query.looks_into()))
        unsaid = (settings.invoices_active_state_default, settings.bare_sort)
        key = (tenant.uid, facts.name, versions, unsaid, query.key("page", "pageSize", "includeTotal"))
        rows = self._selections.get(key)
        if rows is None:
            rows = self._selections[key] = select(facts, stores, query, settings)
            if len(self._selections) > KEPT_SELECTIONS:
                self._selections.popitem(last=False)
        return rows


def _answer(
    tenant: Tenant,
    facts: EntityFacts,
    rows: list[Row],
    query: Query,
    paging: tuple[int, int],
    surprise: Surprise,
    repeat: bool,
) -> Answer:
    page, size = paging
    store, settings = tenant.stores[facts.name], tenant.settings
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
    return Answer(200, page_envelope(envelope, surprise(bodies(facts, store, chosen, query))))


def bodies(facts: EntityFacts, store: EntityStore, rows: list[Row], query: Query) -> list[bytes]:
    """The records as a list shows them: some keys stay null unless the request includes them."""
    hidden = [key for flag, key in facts.include_flags.items() if not query.value(flag)]
    if hidden:
        return [_without(row, hidden) for row in rows]
    return [store.list_form(row) for row in rows]


def detail(tenant: Tenant, facts: EntityFacts, record_id: int) -> Answer:
    """GET by id: inactive records too, deleted ones not."""
    store = tenant.stores[facts.name]
    row = store.rows.get(record_id)
    if row is None or row.deleted:
        return error(
            404, f"{facts.name.removesuffix('s').replace('_', ' ').capitalize()} ID = {record_id} is not found"
        )
    if not facts.detail_only_fields:
        return Answer(200, store.list_form(row))
    more: dict[str, list[object]] = {field.name: [] for field in facts.detail_only_fields}
    return Answer(200, encode({**row.as_dict(), **more}))


def _without(row: Row, hidden: list[str]) -> bytes:
    try:
        record = row.as_dict()
    except msgspec.DecodeError:
        return row.body
    return encode({key: None if key in hidden else value for key, value in record.items()})


def _paging(facts: EntityFacts, query: Query, settings: Settings) -> tuple[int, int]:
    page, size = query.value("page", 1), query.value("pageSize", DEFAULT_PAGE_SIZE)
    if page < 0 or (page == 0 and facts.page_zero_is_an_error):
        raise Refused(invalid_value("page", str(page)))
    if size < 1:
        raise Refused(invalid_value("pageSize", str(size)))
    if size > MAXIMUM_PAGE_SIZE:
        if settings.page_size_over_maximum == "reject":
            raise Refused(invalid("pageSize", f"The maximum page size is {MAXIMUM_PAGE_SIZE}."))
        size = MAXIMUM_PAGE_SIZE
    return max(page, 1), size


def _check_required(facts: EntityFacts, query: Query) -> None:
    if facts.required_one_of and not any(name in query for name in facts.required_one_of):
        raise Refused(invalid(facts.required_one_of[0], f"One of {', '.join(facts.required_one_of)} is required."))
    for name in facts.required_params:
        if name not in query:
            raise Refused(invalid(name, f"The {name} field is required."))
