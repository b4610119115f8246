"""One HTTP exchange: send a request, return a response whose body is unpacked and of limited size.

Here: connection errors, size limits, compression. Not here: what a status means, retries, how a connection keeps to its
time limits. httpx's own errors are not chained: they contain the request with its keys, and quote what the peer sent.
"""

import functools
import ssl
import zlib
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from st_pipeline.errors import InvalidApiResponseFormat, ServiceUnavailable
from st_pipeline.servicetitan.network import TimeLimits, transport_for

GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
ERROR_BYTES = 64 * 1024
"""No more of an error's body is read. ServiceTitan's have less than 1 kB; a proxy's page may have any size."""


class BodyTooLarge(InvalidApiResponseFormat):
    """A body above the limit. It is not retried, as a retry would fetch all of it again."""

    retry_helps = False


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its body unpacked. An error's body that cannot be unpacked is empty."""

    status: int
    headers: httpx.Headers
    body: bytes


def send_request(
    http: httpx.Client, request: httpx.Request, doing: str, *, limit_bytes: int, limits: TimeLimits
) -> Response:
    """Send once. Everything from connecting to the body's last byte happens within the time limits.

    Raises ServiceUnavailable (no connection, no response in time) and InvalidApiResponseFormat (200 with a body that
    was cut off, is not encoded as its header says, or is larger than `limit_bytes`, compressed or not).
    """
    host = request.url.host
    request.extensions["timeout"] = timeouts = limits.timeouts()
    try:
        response = transport_for(http, request.url).handle_request(request)
        try:
            return Response(response.status_code, response.headers, _body(response, doing, limit_bytes))
        finally:
            response.close()
    except httpx.ConnectTimeout:
        why = f"no connection to {host} within {_seconds(timeouts['connect'])}"
    except httpx.TimeoutException:
        why = f"no complete response from {host} within {_seconds(timeouts['read'])}"
    except httpx.ConnectError as error:
        why = f"no connection to {host}: {error}"  # the system's own words: refused, unknown name, bad certificate
    except httpx.RequestError as error:
        why = f"the connection to {host} broke ({type(error).__name__})"
    raise ServiceUnavailable(f"{doing}: {why}; check the network if this continues; the next sync continues from here")


def _seconds(limit: float) -> str:
    return f"{round(limit, 1):g} s"


def _body(response: httpx.Response, doing: str, limit_bytes: int) -> bytes:
    wanted = response.status_code == HTTPStatus.OK
    most = limit_bytes if wanted else ERROR_BYTES
    packed = bytearray()
    for part in response.iter_raw():
        packed += part
        if len(packed) > most:
            break
    try:
        return unpacked(packed, response.headers.get("content-encoding", ""), doing, most)
    except InvalidApiResponseFormat:
        if wanted:
            raise
        return b""


def unpacked(packed: bytes | bytearray, encoding: str, doing: str, limit_bytes: int) -> bytes:
    """The body without its compression. Raises InvalidApiResponseFormat. Never much more than the limit in memory."""
    match encoding.strip().lower():
        case "" | "identity":
            body = bytes(packed[: limit_bytes + 1])
        case "gzip" | "x-gzip" | "deflate":
            body = _inflated(packed, doing, limit_bytes)
        case _:
            raise InvalidApiResponseFormat(f"{doing}: the body is compressed in a way that was not asked for")
    if len(body) > limit_bytes:
        raise BodyTooLarge(
            f"{doing}: the body is larger than {limit_bytes:,} bytes; raise ST_PIPELINE_MAX_RESPONSE_BYTES if that "
            "is expected, or lower ST_PIPELINE_LIST_PAGE_SIZE"
        )
    return body


def _inflated(packed: bytes | bytearray, doing: str, limit_bytes: int) -> bytes:
    unpack = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        # One call for the whole body: httpx unpacks part by part, which takes 0.6 ms/MB more.
        body = unpack.decompress(packed, limit_bytes + 1)
    except zlib.error:
        raise InvalidApiResponseFormat(f"{doing}: the compressed body cannot be unpacked") from None
    if len(body) <= limit_bytes and not unpack.eof:
        raise InvalidApiResponseFormat(f"{doing}: the body was cut off")
    return body


@functools.cache
def tls() -> ssl.SSLContext:
    """One context per process: loading the certificates takes 20 to 40 ms."""
    return httpx.create_ssl_context()


@functools.cache
def no_tls() -> ssl.SSLContext:
    """For plain HTTP to a simulator. It trusts no certificate, so HTTPS by mistake fails instead of leaking."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
