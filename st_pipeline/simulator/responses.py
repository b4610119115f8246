"""What the server sends: responses, the error bodies that ServiceTitan documents, compression.

Here: `Response` and those bodies. Not here: which one a request gets.
"""

import secrets
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
HTML_PAGE = (
    b"<!DOCTYPE html><html><head><title>Service unavailable</title></head><body><h1>We will be back</h1></body></html>"
)
_TITLES = {400: "One or more validation errors occurred.", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
_SECTIONS = {400: "6.5.1", 403: "6.5.3", 404: "6.5.4", 405: "6.5.5", 409: "6.5.8", 500: "6.6.1"}


@dataclass(slots=True)
class Response:
    """Status, body and headers, and how much of it reaches the client: all, half the body, or nothing."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delivery: Literal["whole", "truncated", "closed_midway", "dropped"] = "whole"


def json_response(status: int, body: object) -> Response:
    """Any value that JSON can express."""
    return Response(status, msgspec.json.encode(body))


def error(status: int, title: str | None = None, errors: dict[str, list[str]] | None = None) -> Response:
    """ServiceTitan: `ApiErrorResponse`, after RFC 7807; all six keys are required."""
    section = _SECTIONS.get(status)
    kind = (
        f"https://tools.ietf.org/html/rfc7231#section-{section}" if section else "https://tools.ietf.org/html/rfc7235"
    )
    return json_response(
        status,
        {
            "type": kind,
            "title": title or _TITLES.get(status, "An error occurred while processing your request."),
            "status": status,
            "traceId": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
            "errors": errors or {},
            "data": {},
        },
    )


def invalid(parameter: str, message: str) -> Response:
    """400 for one parameter."""
    return error(400, errors={parameter: [message]})


def invalid_value(parameter: str, value: str) -> Response:
    """400 in the words seen live: `The value '-completedOn' is not valid for Sort.` for a parameter's value."""
    return invalid(parameter, f"The value '{value}' is not valid for {parameter[:1].upper()}{parameter[1:]}.")


def gateway_not_found() -> Response:
    """An address that the gateway does not know; the body has only two keys."""
    return json_response(404, {"status": 404, "title": "Unable to match incoming request to an operation"})


def too_many_requests(wait_seconds: int, *, header: bool) -> Response:
    """429, with the wait in the title, and sometimes in `Retry-After` too."""
    body = {"status": 429, "title": f"Rate limit is exceeded. Try again in {wait_seconds} seconds."}
    response = json_response(429, body)
    if header:
        response.headers["Retry-After"] = str(wait_seconds)
    return response


def gzip(body: bytes) -> bytes:
    """Level 1: a 20 MB page in a tenth of a second. Releases the interpreter lock, so it can run in a thread."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


class CompressedPages:
    """The compressed form of bodies already served, by their content; the least recently used is dropped first."""

    def __init__(self, limit_bytes: int = 64 * 1024 * 1024) -> None:
        self._limit_bytes, self._held_bytes = limit_bytes, 0
        self._pages: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def get(self, body: bytes) -> bytes | None:
        """The compressed body, if it is still here."""
        key = (len(body), hash(body))
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def put(self, body: bytes, page: bytes) -> None:
        """Keep a compressed body."""
        key = (len(body), hash(body))
        self._held_bytes += len(page) - len(self._pages.pop(key, b""))
        self._pages[key] = page
        while self._held_bytes > self._limit_bytes:
            self._held_bytes -= len(self._pages.popitem(last=False)[1])


class Refused(Exception):
    """Raised wherever a request is refused; `response` is what it gets."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def page_envelope(page: dict[str, Any], data: list[bytes]) -> bytes:
    """The keys of `page` in their order, then `data`: records that are encoded already."""
    return msgspec.json.encode(page)[:-1] + b',"data":[' + b",".join(data) + b"]}"
