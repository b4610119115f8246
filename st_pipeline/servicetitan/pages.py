"""Pages of records: the two styles of ServiceTitan's paging, and fetching ahead.

Here: which request comes next, and when there is none. Not here: one request (client.py), what a record holds.
ServiceTitan: `hasMore` is the only safe end of a walk, over empty pages too; a feed's token works after the end.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import msgspec

from st_pipeline.entities.spec import EntitySpec, Presence
from st_pipeline.errors import CursorRejected, InvalidApiResponseFormat, PermanentApiError
from st_pipeline.servicetitan.client import ServiceTitanClient

IDS_A_REQUEST = 50  # ServiceTitan: more is 400
BEGINNING = "1900-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `number` from 1; `continue_from` on feeds; `total` where it was asked for."""

    number: int
    records: Sequence[msgspec.Raw]
    has_more: bool
    continue_from: str | None = None
    total: int | None = None


class Envelope(msgspec.Struct, rename="camel"):
    """What lists and feeds have in common, and what each adds. Unknown keys are ignored."""

    data: list[msgspec.Raw]
    has_more: bool
    continue_from: str | None = None
    total_count: int | None = None


def iter_feed(client: ServiceTitanClient, spec: EntitySpec, *, start: str | None, prefetch: int = 1) -> Iterator[Page]:
    """An export feed from a stored token, a date, or (None) the beginning, to its end.

    Raises CursorRejected when the start is refused; InvalidApiResponseFormat when a token repeats.
    """
    return _ahead(_feed_pages(client, spec, start), prefetch)


def _feed_pages(client: ServiceTitanClient, spec: EntitySpec, start: str | None) -> Iterator[Page]:
    if spec.feed_path is None:
        raise ValueError(f"{spec.name} has no feed")
    token, number = start, 1
    while True:
        doing = f"read the feed of {spec.name} for tenant {client.access.tenant}, page {number}"
        params = {"includeRecentChanges": "true"} | ({"from": token} if token is not None else {})
        try:
            envelope = _envelope(client.get(spec.feed_path, params, doing=doing, scope=spec.scope), doing)
        except PermanentApiError as error:
            if number == 1 and start is not None and error.status == 400:  # noqa: PLR2004
                raise CursorRejected(f"{doing}: the stored position is refused", error.status) from error
            raise
        if envelope.continue_from is None:
            raise InvalidApiResponseFormat(f"{doing}: the page has no continueFrom")
        if envelope.has_more and envelope.continue_from == token:
            raise InvalidApiResponseFormat(f"{doing}: continueFrom repeats, the feed would never end")
        token = envelope.continue_from
        yield Page(number, envelope.data, envelope.has_more, continue_from=token)
        if not envelope.has_more:
            return
        number += 1


def iter_list(
    client: ServiceTitanClient,
    spec: EntitySpec,
    *,
    modified_from: str | None = None,
    modified_before: str | None = None,
    start_page: int = 1,
    prefetch: int = 1,
) -> Iterator[Page]:
    """A list, all states, from `modified_from` (inclusive) to `modified_before` (exclusive).

    Raises InvalidApiResponseFormat when a page repeats.
    """
    return _ahead(_list_pages(client, spec, modified_from, modified_before, start_page), prefetch)


def _list_pages(
    client: ServiceTitanClient,
    spec: EntitySpec,
    modified_from: str | None,
    modified_before: str | None,
    start_page: int,
) -> Iterator[Page]:
    params = {**spec.list_params, "pageSize": str(client.settings.list_page_size)}
    if spec.sort is not None:
        params["sort"] = spec.sort
    if modified_from is not None:
        params["modifiedOnOrAfter"] = modified_from
    if modified_before is not None:
        params["modifiedBefore"] = modified_before
    number, previous = start_page, None
    while True:
        doing = f"list {spec.name} for tenant {client.access.tenant}, page {number}"
        asked = params | {"page": str(number)} | ({"includeTotal": "true"} if number == start_page else {})
        envelope = _envelope(client.get(spec.list_path, asked, doing=doing, scope=spec.scope), doing)
        content = [bytes(record) for record in envelope.data]
        if envelope.has_more and content and content == previous:
            raise InvalidApiResponseFormat(f"{doing}: the page is the same as the one before")
        yield Page(number, envelope.data, envelope.has_more, total=envelope.total_count)
        if not envelope.has_more:
            return
        number, previous = number + 1, content


def fetch_by_ids(client: ServiceTitanClient, spec: EntitySpec, ids: Sequence[int]) -> list[msgspec.Raw]:
    """The records of these ids that exist, in any state."""
    found: list[msgspec.Raw] = []
    for start in range(0, len(ids), IDS_A_REQUEST):
        asked = ",".join(map(str, ids[start : start + IDS_A_REQUEST]))
        doing = f"look up {spec.name} by id for tenant {client.access.tenant}"
        params = {**spec.list_params, "ids": asked, "pageSize": str(IDS_A_REQUEST)}
        found += _envelope(client.get(spec.list_path, params, doing=doing, scope=spec.scope), doing).data
    return found


def count(client: ServiceTitanClient, spec: EntitySpec) -> int:
    """How many records the list shows, in any state."""
    doing = f"count {spec.name} for tenant {client.access.tenant}"
    params = {**spec.list_params, "pageSize": "1", "includeTotal": "true"}
    if spec.presence is Presence.ACTIVE_FLAG:
        params["modifiedOnOrAfter"] = BEGINNING
    total = _envelope(client.get(spec.list_path, params, doing=doing, scope=spec.scope), doing).total_count
    if total is None:
        raise InvalidApiResponseFormat(f"{doing}: the answer has no totalCount")
    return total


_decoder = msgspec.json.Decoder(Envelope)
_CONTROL_TO_SPACE = bytes(max(byte, 0x20) for byte in range(256))
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _envelope(body: bytes, doing: str) -> Envelope:
    """Read a page. Text in one record that JSON does not allow must not cost the whole page."""
    try:
        try:
            return _decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _decoder.decode(mended(body))
    except msgspec.ValidationError as error:
        raise InvalidApiResponseFormat(f"{doing}: the answer is no page: {error}") from None
    except msgspec.DecodeError:
        raise InvalidApiResponseFormat(f"{doing}: the body is no JSON page; cut off on its way?") from None


def mended(body: bytes) -> bytes:
    """The body with half surrogate pairs as U+FFFD and bare control characters as spaces; both are no JSON."""
    return _ESCAPE.sub(_mend_escape, body.translate(_CONTROL_TO_SPACE))


def _mend_escape(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match["half"] else match[0]


def _ahead(pages: Iterator[Page], prefetch: int) -> Iterator[Page]:
    """The same pages, with up to `prefetch` fetched by another thread while the caller works on one.

    Closing the generator lets the request under way end and starts no other; no thread is left.
    """
    if prefetch == 0:
        yield from pages
        return
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as fetcher, closing(_Source(pages)) as source:
        waiting = [fetcher.submit(source.next_page) for _ in range(prefetch)]
        while (page := waiting.pop(0).result()) is not None:
            waiting.append(fetcher.submit(source.next_page))
            yield page


class _Source:
    """An iterator of pages that can be told to stop."""

    def __init__(self, pages: Iterator[Page]) -> None:
        self._pages = pages
        self._ended = False

    def next_page(self) -> Page | None:
        """The next page, None at the end, after an error, and once closed."""
        if self._ended:
            return None
        try:
            return next(self._pages, None)
        except BaseException:
            self._ended = True
            raise

    def close(self) -> None:
        """Start no further request."""
        self._ended = True
