"""Export feeds: `from`, `continueFrom`, the 15-minute lag.

Here: tokens and pages of feeds. Not here: lists. ServiceTitan: a feed has active, inactive and deleted records and no
filters, and returns a token even when there are no more records.
"""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from st_pipeline.simulator.api_catalogue import CatalogueEntry
from st_pipeline.simulator.clock import TICKS_PER_SECOND, to_ticks
from st_pipeline.simulator.query import Query
from st_pipeline.simulator.responses import Refused, Response, invalid, page_envelope
from st_pipeline.simulator.settings import Settings
from st_pipeline.simulator.store import EntityStore, Row

_BEGINNING = (-(2**62), 0)


class _Token(msgspec.Struct, array_like=True):
    """A reader's place in the feed: the last row it got, by change and key."""

    changed: int
    key: int
    at_end: bool
    issued: int


_token = msgspec.msgpack.Decoder(_Token)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """The rows of one page, and its envelope."""

    rows: list[Row]
    has_more: bool
    continue_from: str

    def response(self, data: list[bytes]) -> Response:
        """The response with these records."""
        return Response(200, page_envelope({"hasMore": self.has_more, "continueFrom": self.continue_from}, data))


@dataclass(frozen=True, slots=True)
class Feed:
    """One tenant's feed of one entity. Tokens are only valid for the same `audience` (tenant and environment)."""

    entry: CatalogueEntry
    store: EntityStore
    audience: str
    settings: Settings

    def page(self, query: Query, now: int, repeat: bool = False) -> FeedPage:
        """The next page after `from`. `repeat`: a fault, the rows and token of the previous page again."""
        token = self._start(query, now)
        recent = bool(query.value("includeRecentChanges"))
        lag = int(self.settings.recent_changes_lag_seconds * TICKS_PER_SECOND)
        rows, start, stop = self.store.since((token.changed, token.key), now if recent else now - lag)
        size = self.settings.export_page_sizes.get(self.entry.name, self.settings.export_page_size)
        first = start
        if repeat:
            first = max(0, start - size)
            stop = max(first, start)
        elif recent and token.at_end:
            first = self._repeats_from(rows, start, now - lag, size)
        last = max(min(first + size, stop), first)
        has_more = repeat or last < stop
        reached = (
            token
            if repeat or last <= start
            else _Token(rows[last - 1].changed, rows[last - 1].key, at_end=False, issued=0)
        )
        continue_from = self._write(_Token(reached.changed, reached.key, not has_more, now))
        return FeedPage(self._shown(rows[first:last], query), has_more, continue_from)

    def _repeats_from(self, rows: list[Row], start: int, recent_after: int, size: int) -> int:
        """ServiceTitan: with recent changes, rows may repeat in later responses. Here: a few of the last 15 minutes."""
        first = start
        while (
            first > 0
            and start - first < min(self.settings.recent_repeats, size - 1)
            and rows[first - 1].changed > recent_after
        ):
            first -= 1
        return first

    def _shown(self, rows: list[Row], query: Query) -> list[Row]:
        wanted = query.value("active", "Any")
        return rows if wanted == "Any" else [row for row in rows if row.active is (wanted == "True")]

    def _start(self, query: Query, now: int) -> _Token:
        text: Any = query.value("from")
        if text is None:
            return _Token(*_BEGINNING, at_end=False, issued=now)
        try:
            return _Token(to_ticks(text) - 1, 2**63 - 1, at_end=False, issued=now)
        except (ValueError, OverflowError):
            return self._read(text, now)

    def _seal(self, body: bytes) -> bytes:
        return zlib.crc32(body + f"{self.entry.name}|{self.audience}".encode()).to_bytes(4, "big")

    def _write(self, token: _Token) -> str:
        """Opaque text. It contains its time only if tokens expire; otherwise equal pages have equal bytes."""
        if self.settings.export_token_lifetime_seconds is None:
            token.issued = 0
        body = msgspec.msgpack.encode(token)
        return base64.urlsafe_b64encode(self._seal(body) + body).rstrip(b"=").decode()

    def _read(self, text: str, now: int) -> _Token:
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            token = _token.decode(raw[4:])
        except (ValueError, msgspec.DecodeError):
            raise Refused(invalid("from", "The continuation token is not valid.")) from None
        if raw[:4] != self._seal(raw[4:]):  # of another endpoint or tenant
            raise Refused(invalid("from", "The continuation token is not valid."))
        lifetime = self.settings.export_token_lifetime_seconds
        if lifetime is not None and now - token.issued > lifetime * TICKS_PER_SECOND:
            raise Refused(invalid("from", "The continuation token has expired."))
        return token
