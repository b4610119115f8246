"""An error that is kept to be told at the end keeps nothing of the page that it is about."""

import traceback
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest

from st_pipeline.errors import InvalidApiResponseFormat, without_frames
from st_pipeline_tests.acme import Acme

BODY_BYTES, PART_BYTES = 10_000_000, 100_000
ENTITIES = ("tag_types", "business_units", "custom_fields")  # the last is several lists


class LargeAndNoPage(httpx.SyncByteStream):
    """A body as from the network: nobody but its reader holds it."""

    def __iter__(self) -> Iterator[bytes]:
        """In parts."""
        yield b'{"data":"'
        yield from (b"x" * PART_BYTES for _ in range(BODY_BYTES // PART_BYTES))
        yield b'"}'


class Unreadable(httpx.BaseTransport):
    """The simulator, but for pages."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the simulator for tokens."""
        is_page = request.url.path != "/connect/token"
        return httpx.Response(200, stream=LargeAndNoPage()) if is_page else self._real.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


def test_entities_that_failed_hold_no_page_in_memory(acme: Acme):
    acme.settings = acme.settings.model_copy(update={"max_attempts": 1})
    outcomes = []
    tracemalloc.start()
    try:
        for entity in ENTITIES:  # one sync each: two such errors in a row end a sync
            with acme.syncing(Unreadable(), only=(entity,)) as sync:
                outcomes += sync.entities()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [type(outcome.error) for outcome in outcomes] == [InvalidApiResponseFormat] * len(ENTITIES)
    assert held < BODY_BYTES


def test_an_error_without_its_frames_keeps_its_words_and_its_cause():
    def fail(page: bytes) -> None:
        try:
            page.decode()
        except UnicodeDecodeError as error:
            raise ValueError("page 1 is not UTF-8") from error

    with pytest.raises(ValueError, match="page 1 is not UTF-8") as caught:
        fail(b"\xff")
    kept = without_frames(caught.value)
    assert (kept.__traceback__, type(kept.__cause__)) == (None, UnicodeDecodeError)
    assert traceback.format_exception(kept)[-1] == "ValueError: page 1 is not UTF-8\n"
