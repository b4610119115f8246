"""An answer of ServiceTitan, read: its body, and the error it stands for.

Here: unpacking, and status to error, in one place. Not here: sending and retrying (client.py).
Errors are told apart by status and by documented fields, never by searching texts.
"""

import re
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
import msgspec

from st_pipeline.errors import (
    AccessRefused,
    InvalidApiResponseFormat,
    PermanentApiError,
    PipelineError,
    RateLimitExceeded,
    ScopeMissing,
    ServiceUnavailable,
)

SCOPE_TITLE = "Scope validation failed"
RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
# ServiceTitan: 429 {"status":429,"title":"Rate limit is exceeded. Try again in 50 seconds."}
_SECONDS = re.compile(r"(\d+(?:\.\d+)?) second")


class ErrorBody(msgspec.Struct, rename="camel"):
    """What an error's body may tell. ServiceTitan: six keys, of which gateway errors carry only some."""

    title: str | None = None
    trace_id: str | None = None
    errors: dict[str, msgspec.Raw] | None = None


def read_body(response: httpx.Response, limit_bytes: int, doing: str) -> bytes:
    """The body, unpacked. Raises InvalidApiResponseFormat: cut off, not what its encoding says, or beyond the limit."""
    packed = b"".join(response.iter_raw())
    if response.headers.get("content-encoding", "identity").lower() not in ("gzip", "deflate", "x-gzip"):
        body = packed
    else:
        unpack = zlib.decompressobj(GZIP_OR_ZLIB)
        try:
            body = unpack.decompress(packed, limit_bytes + 1)
        except zlib.error:
            raise InvalidApiResponseFormat(f"{doing}: the compressed body cannot be unpacked") from None
        if len(body) <= limit_bytes and not unpack.eof:
            raise InvalidApiResponseFormat(f"{doing}: the body was cut off")
    if len(body) > limit_bytes:
        raise InvalidApiResponseFormat(
            f"{doing}: the body is larger than {limit_bytes:,} bytes; raise ST_PIPELINE_MAX_RESPONSE_BYTES if it may be"
        )
    return body


def error_for(response: httpx.Response, body: bytes, doing: str, scope: str | None) -> PipelineError:
    """The error that an answer other than 200 stands for."""
    told = _told(body)
    status = response.status_code
    what = f"{doing}: HTTP {status}{f' (trace {told.trace_id})' if told.trace_id else ''}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = stated_wait(response.headers.get("retry-after"), told.title)
        return RateLimitExceeded(f"{what}, too many requests; lower ST_PIPELINE_RATE_LIMIT if it happens often", wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE:
        return ServiceUnavailable(
            f"{what}; ServiceTitan is in trouble, the next sync goes on from here",
            stated_wait(response.headers.get("retry-after"), None),
        )
    if status == HTTPStatus.FORBIDDEN and told.title == SCOPE_TITLE:
        return ScopeMissing(
            f"{what}: the app lacks scope {scope or 'for this entity'}. Add it to the app in the developer portal; then "
            "the company's ServiceTitan administrator must accept the app's new version"
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessRefused(
            f"{what}: refused. Check the app key (ST_PIPELINE_APP_KEY), the tenant id, and that the company's "
            "ServiceTitan administrator has connected the app; `st-pipeline credentials test` tells"
        )
    if status == HTTPStatus.NOT_FOUND:
        return PermanentApiError(
            f"{what}: ServiceTitan does not know this address for this tenant. Check the tenant id and that the app is "
            "connected; `st-pipeline credentials test` tells more",
            status,
        )
    named = f", it complains about {', '.join(sorted(told.errors))}" if told.errors else ""
    return PermanentApiError(f"{what}{named}; the request is refused and will be again", status)


def _told(body: bytes) -> ErrorBody:
    try:
        return msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorBody()


def stated_wait(retry_after: str | None, title: str | None) -> float | None:
    """Seconds to wait as `Retry-After` says (seconds or a date), else as the 429's title does."""
    if retry_after:
        try:
            return max(0.0, float(retry_after))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            pass
    found = _SECONDS.search(title or "")
    return float(found[1]) if found else None
