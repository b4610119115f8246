"""Bodies that are cut, packed or huge."""

import socket
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from st_pipeline.errors import InvalidApiResponseFormat, ServiceUnavailable
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.network import TimeLimits, open_http_client
from st_pipeline.servicetitan.transport import BodyTooLarge, no_tls, send_request, unpacked
from st_pipeline_tests.servicetitan.conftest import Vendor, answer, get, list_page, listening, packed, refusal

Make = Callable[..., ServiceTitanClient]
BODY = b'{"data":[' + b"1," * 5000 + b"1]}"


@pytest.mark.parametrize("cut", [1, 8, 12, 20])
def test_a_cut_gzip_body_is_asked_for_again(client: ServiceTitanClient, vendor: Vendor, cut: int):
    """A gzip body without its trailer may unpack to the whole text, but without the checksum it is not trusted."""
    vendor.will(packed(BODY, cut=cut), packed(BODY))
    assert get(client) == BODY
    assert client.statistics.requests == 2


def test_a_gzip_header_alone_and_no_body_at_all_are_cut_bodies(make_client: Make, vendor: Vendor):
    vendor.will(answer(200, b"", {"content-encoding": "gzip"}), answer(200, b"\x1f\x8b", {"content-encoding": "gzip"}))
    with pytest.raises(InvalidApiResponseFormat, match="cut off"):
        get(make_client(max_attempts=2))


def test_a_flipped_bit_is_noticed(make_client: Make, vendor: Vendor):
    compress = zlib.compressobj(wbits=31)
    raw = bytearray(compress.compress(BODY) + compress.flush())
    raw[-6] ^= 1  # in the checksum
    vendor.will(answer(200, bytes(raw), {"content-encoding": "gzip"}))
    with pytest.raises(InvalidApiResponseFormat, match="cannot be unpacked"):
        get(make_client(max_attempts=1))


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [("", BODY), ("identity", BODY), ("deflate", zlib.compress(BODY)), ("GZIP", zlib.compress(BODY, wbits=31))],
)
def test_each_encoding_of_http_is_unpacked(encoding: str, raw: bytes):
    assert unpacked(raw, encoding, "x", 1 << 20) == BODY


def test_an_encoding_nobody_asked_for_is_reported(make_client: Make, vendor: Vendor):
    vendor.will(answer(200, b"\x0b", {"content-encoding": "br"}))
    with pytest.raises(InvalidApiResponseFormat, match="not asked for"):
        get(make_client(max_attempts=1))
    assert vendor.asked[0].headers["accept-encoding"] == "gzip"


def test_a_gzip_bomb_is_refused_at_the_limit_and_not_fetched_again(make_client: Make, vendor: Vendor):
    vendor.will(packed(b'{"data":"' + bytes(20_000_000)))
    with pytest.raises(BodyTooLarge, match="ST_PIPELINE_MAX_RESPONSE_BYTES") as caught:
        get(make_client(max_response_bytes=1_000_000))
    assert not caught.value.retry_helps
    assert len(vendor.asked) == 1


def test_a_bomb_is_unpacked_no_further_than_the_limit():
    """What matters is not the error but that the memory was never taken."""
    bomb = zlib.compress(bytes(100_000_000), wbits=31)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            unpacked(bomb, "gzip", "x", 1_000_000)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 5_000_000


def test_a_plain_body_beyond_the_limit_is_not_read_to_its_end(make_client: Make, vendor: Vendor):
    read = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                read.append(1)
                yield b"x" * 1000

    vendor.will(httpx.Response(200, stream=Endless()))
    with pytest.raises(BodyTooLarge):
        get(make_client(max_response_bytes=10_000))
    assert len(read) == 11


def test_a_body_of_exactly_the_limit_passes(make_client: Make, vendor: Vendor):
    vendor.will(packed(BODY), answer(200, BODY))
    client = make_client(max_response_bytes=len(BODY))
    assert get(client) == get(client) == BODY


def test_a_refusal_counts_by_its_status_even_with_a_broken_body(make_client: Make, vendor: Vendor):
    """A 401 whose body is cut must lead to a new token, not to a fruitless repetition with the dead one."""
    cut = packed(BODY, cut=9)
    vendor.will(httpx.Response(401, headers=cut.headers, stream=cut.stream), list_page())
    get(make_client(max_attempts=1))
    assert vendor.bearers == ["token-1", "token-2"]


def test_a_huge_error_page_is_not_read_to_its_end(make_client: Make, vendor: Vendor):
    vendor.will(answer(500, b"x" * 10_000_000), refusal(404))
    with pytest.raises(ServiceUnavailable):
        get(make_client(max_attempts=1))


def _fetch(url: str) -> bytes:
    limits = TimeLimits(request_seconds=5, connect_seconds=5)
    with open_http_client(no_tls()) as http:
        request = http.build_request("GET", url)
        return send_request(http, request, "read a page", limit_bytes=1 << 20, limits=limits).body


def test_a_connection_that_closes_within_the_body_is_an_outage():
    def short(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data":[]}')

    with listening(short) as url, pytest.raises(ServiceUnavailable, match="RemoteProtocolError"):
        _fetch(url)


def test_what_the_peer_sent_is_not_quoted():
    """The HTTP library quotes a broken status line in its error, and the traceback would show that error."""

    def garbage(connection: socket.socket) -> None:
        connection.sendall(b"name: Jane Doe, 12 Main Street\r\n\r\n")

    with listening(garbage) as url, pytest.raises(ServiceUnavailable) as caught:
        _fetch(url)
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
