"""Pages of records: feeds and lists, ServiceTitan's two styles of paging.

Here: which request comes next, and which page is the last. Not here: sending one request, decoding the body of a page,
the thread that fetches ahead, what a record contains.
ServiceTitan: only `hasMore` tells the last page, also after empty pages; a feed's last token can be used again later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from threading import Event
from types import MappingProxyType

import msgspec

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import CursorRejected, InvalidApiResponseFormat, PermanentApiError
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.envelope import Envelope, read_envelope, record_ids
from st_pipeline.servicetitan.prefetch import prefetched

IDS_PER_REQUEST = 50  # ServiceTitan: more are refused with 400
MAX_EMPTY_PAGES_IN_A_ROW = 100
EVERYTHING: Mapping[str, str] = MappingProxyType({})  # no bounds
MAX_WALKS = 3  # of a list that keeps changing; the next full sync reads it again


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `number` from 1; `continue_from` on feeds; `total` where it was asked for."""

    number: int
    records: Sequence[msgspec.Raw]
    has_more: bool
    continue_from: str | None = None
    total: int | None = None


def iter_feed(client: ServiceTitanClient, spec: EntitySpec, *, start: str | None, prefetch: int = 1) -> Iterator[Page]:
    """Read an export feed to its end, from a stored token, a date, or (None) the beginning.

    Raises CursorRejected when ServiceTitan refuses the start; InvalidApiResponseFormat when paging would never end: a
    token or a page repeats, or MAX_EMPTY_PAGES_IN_A_ROW say that there is more.
    """
    return prefetched(partial(_feed_pages, client, spec, start), prefetch)


class BegunRead:
    """A read of a feed or a list whose first page is here; the read continues after it, if there is more."""

    def __init__(self, rest: Iterator[Page], stop: Event) -> None:
        self._rest, self._stop = rest, stop
        self.first = next(rest)

    @property
    def is_whole(self) -> bool:
        """Is the first page the last one, and does it show all that its total promises?"""
        return not self.first.has_more and len(self.first.records) >= (self.first.total or 0)

    def pages(self, prefetch: int) -> Iterator[Page]:
        """The first page, then the others."""
        yield self.first
        if not self.is_whole:
            yield from prefetched(lambda _stop: self._rest, prefetch, self._stop)


def begin_feed(client: ServiceTitanClient, spec: EntitySpec, *, start: str | None) -> BegunRead:
    """The first page of a feed, to be read on from there or not. Raises what iter_feed raises for a first page."""
    stop = Event()
    return BegunRead(_feed_pages(client, spec, start, stop), stop)


def begin_list(client: ServiceTitanClient, spec: EntitySpec, *, modified_from: str | None) -> BegunRead:
    """The first page of a list, as of a complete `iter_list`."""
    stop = Event()
    params = _list_params(client, spec, modified_from, None)
    return BegunRead(_walks(client, spec, params, MAX_WALKS, stop), stop)


def _feed_pages(client: ServiceTitanClient, spec: EntitySpec, start: str | None, stop: Event) -> Iterator[Page]:
    if spec.feed_path is None:
        raise ValueError(f"{spec.name} has no feed")
    token, number, seen, progress = start, 1, {start}, _EndlessPagingGuard()
    while True:
        doing = f"read the feed of {spec.name} for tenant {client.authentication.tenant}, page {number}"
        params = {"includeRecentChanges": "true"} | ({"from": token} if token is not None else {})
        try:
            page = _get_page(client, spec, spec.feed_path, params, doing, stop)
        except PermanentApiError as error:
            if number == 1 and start is not None and error.status == HTTPStatus.BAD_REQUEST:
                raise CursorRejected(f"{doing}: ServiceTitan refuses the stored cursor", error.status) from error
            raise
        if page.continue_from is None:
            raise InvalidApiResponseFormat(f"{doing}: the page has no continueFrom")
        if page.has_more and page.continue_from in seen:
            raise InvalidApiResponseFormat(f"{doing}: continueFrom repeats, so the feed would not end")
        progress.check(page, doing)
        token = page.continue_from
        seen.add(token)
        yield Page(number, page.data, page.has_more, continue_from=token)
        if not page.has_more:
            return
        number += 1


def iter_list(
    client: ServiceTitanClient,
    spec: EntitySpec,
    *,
    modified_from: str | None = None,
    modified_before: str | None = None,
    within: Mapping[str, str] = EVERYTHING,
    prefetch: int = 1,
    complete: bool = False,
) -> Iterator[Page]:
    """Read a list, all states, from `modified_from` (inclusive) to `modified_before` (exclusive).

    `within`: further bounds, by the names of the list's parameters. `complete`: read it again from its first page when
    it showed fewer records than its total: a record that disappears while pages are read shifts those behind it, so the
    first one of the next page is never shown.
    Raises InvalidApiResponseFormat when a page repeats, and after MAX_EMPTY_PAGES_IN_A_ROW that say there is more.
    """
    params = {**_list_params(client, spec, modified_from, modified_before), **within}
    return prefetched(partial(_walks, client, spec, params, MAX_WALKS if complete else 1), prefetch)


def _list_params(
    client: ServiceTitanClient, spec: EntitySpec, modified_from: str | None, modified_before: str | None
) -> dict[str, str]:
    params = {**spec.list_params, "pageSize": str(client.settings.list_page_size)}
    if spec.sort is not None:
        params["sort"] = spec.sort
    if modified_from is not None:
        params["modifiedOnOrAfter"] = modified_from
    if modified_before is not None:
        params["modifiedBefore"] = modified_before
    return params


def _walks(
    client: ServiceTitanClient, spec: EntitySpec, params: Mapping[str, str], walks: int, stop: Event
) -> Iterator[Page]:
    for _ in range(walks):
        total, shown = 0, 0
        for page in _list_pages(client, spec, params, stop):
            total, shown = total or page.total or 0, shown + len(page.records)
            yield page
        if shown >= total:
            return


def _list_pages(client: ServiceTitanClient, spec: EntitySpec, params: Mapping[str, str], stop: Event) -> Iterator[Page]:
    number, progress = 1, _EndlessPagingGuard()
    while True:
        doing = f"list {spec.name} for tenant {client.authentication.tenant}, page {number}"
        asked = {**params, "page": str(number)} | ({"includeTotal": "true"} if number == 1 else {})
        page = _get_page(client, spec, spec.list_path, asked, doing, stop)
        progress.check(page, doing)
        yield Page(number, page.data, page.has_more, total=page.total_count)
        if not page.has_more:
            return
        number += 1


class _EndlessPagingGuard:
    """Stops paging that would never end.

    Each page is compared with the one before it and with a landmark, which moves after 1, 2, 4, 8 … pages; so a cycle
    of any length is found (Brent's algorithm). Only the first and last record of both are kept: a page of 5,000
    invoices has 21 MB.
    """

    def __init__(self) -> None:
        self._empty_in_a_row, self._filled = 0, 0
        self._before: tuple[int, bytes, bytes] | None = None
        self._landmark: tuple[int, bytes, bytes] | None = None

    def check(self, page: Envelope, doing: str) -> None:
        """Compare the page with earlier ones. Raises InvalidApiResponseFormat."""
        if not page.has_more:
            return
        if not page.data:
            self._empty_in_a_row += 1
            if self._empty_in_a_row == MAX_EMPTY_PAGES_IN_A_ROW:
                raise InvalidApiResponseFormat(
                    f"{doing}: {MAX_EMPTY_PAGES_IN_A_ROW} empty pages in a row, so paging would not end"
                )
            return
        ends = len(page.data), bytes(page.data[0]), bytes(page.data[-1])
        if ends in (self._before, self._landmark):
            raise InvalidApiResponseFormat(f"{doing}: the page is the same as an earlier one, so paging would not end")
        self._empty_in_a_row, self._before = 0, ends
        self._filled += 1
        if self._filled.bit_count() == 1:  # a power of two
            self._landmark = ends


def fetch_by_ids(client: ServiceTitanClient, spec: EntitySpec, ids: Sequence[int]) -> list[msgspec.Raw]:
    """The records with these ids that exist, in any state.

    Raises InvalidApiResponseFormat when other records come back: ServiceTitan ignores parameters it does not know, and
    the records missing from such a response would be taken for deleted.
    """
    if not spec.ids_param:
        raise ValueError(f"{spec.name} cannot be looked up by ids")
    found: list[msgspec.Raw] = []
    for start in range(0, len(ids), IDS_PER_REQUEST):
        asked = ids[start : start + IDS_PER_REQUEST]
        doing = f"look up {spec.name} by id for tenant {client.authentication.tenant}"
        params = {**spec.list_params, "ids": ",".join(map(str, asked)), "pageSize": str(IDS_PER_REQUEST)}
        page = _get_page(client, spec, spec.list_path, params, doing)
        if page.has_more or not record_ids(page.data, doing) <= set(asked):
            raise InvalidApiResponseFormat(f"{doing}: the response has records that were not asked for")
        found += page.data
    return found


def count(client: ServiceTitanClient, spec: EntitySpec) -> int:
    """How many records the list shows, in any state."""
    if spec.feed_path is None:  # such lists are small, and that of equipment's custom fields has no total
        return sum(len(page.records) for page in iter_list(client, spec, prefetch=0))
    shown = total(client, spec)
    if shown is None:
        raise InvalidApiResponseFormat(f"{_counting(client, spec)}: the response has no totalCount")
    return shown


def total(
    client: ServiceTitanClient,
    spec: EntitySpec,
    *,
    created_before: str | None = None,
    within: Mapping[str, str] = EVERYTHING,
) -> int | None:
    """The list's own total, in any state, of records created before that (exclusive). One small request.

    `within`: further bounds, by the names of the list's parameters. None: the list has no total, as that of equipment's
    custom fields. ServiceTitan: that list requires `page`, too.
    """
    params = {**spec.list_params, "page": "1", "pageSize": "1", "includeTotal": "true", **within}
    if created_before is not None:
        params["createdBefore"] = created_before
    return _get_page(client, spec, spec.list_path, params, _counting(client, spec)).total_count


def _counting(client: ServiceTitanClient, spec: EntitySpec) -> str:
    return f"count {spec.name} for tenant {client.authentication.tenant}"


def _get_page(
    client: ServiceTitanClient,
    spec: EntitySpec,
    path: str,
    params: Mapping[str, str],
    doing: str,
    stop: Event | None = None,
) -> Envelope:
    read = partial(read_envelope, doing=doing)
    return client.get(path, params, read=read, doing=doing, entity=spec.name, scope=spec.scope, stop=stop)
