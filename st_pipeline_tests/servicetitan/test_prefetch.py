"""The second thread: how far ahead it fetches, and that it ends when it is no longer needed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import pytest

from st_pipeline.servicetitan.prefetch import prefetched

WAIT_SECONDS = 5
LABEL: ContextVar[str] = ContextVar("label", default="none")


def _wait_for(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.001)


def _fetchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fetch-ahead"]


class _Source:
    """Counts what it was asked for."""

    def __init__(self, items: int, error: BaseException | None = None) -> None:
        self.items, self.error = items, error
        self.begun: list[int] = []
        self.labels: list[str] = []

    def __call__(self, _stop: threading.Event) -> Iterator[int]:
        for number in range(self.items):
            self.begun.append(number)
            self.labels.append(LABEL.get())
            yield number
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("ahead", [0, 1, 2, 8])
def test_everything_comes_in_order_and_no_thread_is_left(ahead: int):
    assert list(prefetched(_Source(50), ahead)) == list(range(50))
    assert _fetchers() == []


@pytest.mark.parametrize("ahead", [1, 3])
def test_it_is_ahead_by_so_much_and_no_more(ahead: int):
    """One page in work and `ahead` waiting: that is the memory it takes."""
    source = _Source(100)
    pages = prefetched(source, ahead)
    for taken in (1, 2, 3):
        next(pages)
        _wait_for(lambda: len(source.begun) == taken + ahead)  # noqa: B023 - called at once
    time.sleep(0.02)
    assert len(source.begun) == 3 + ahead
    pages.close()


def test_without_prefetch_there_is_no_thread():
    source = _Source(3)
    pages = prefetched(source, 0)
    next(pages)
    assert (_fetchers(), source.begun) == ([], [0])


def test_nothing_is_fetched_before_somebody_wants_it():
    source = _Source(3)
    prefetched(source, 1)
    assert (_fetchers(), source.begun) == ([], [])


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_comes_after_the_items_before_it(ahead: int, error: BaseException):
    pages = prefetched(_Source(3, error), ahead)
    assert [next(pages), next(pages), next(pages)] == [0, 1, 2]
    with pytest.raises(type(error)):
        next(pages)
    assert _fetchers() == []


def test_a_consumer_that_fails_ends_the_thread():
    source = _Source(1000)

    def consume() -> None:
        for _ in prefetched(source, 2):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        consume()
    _wait_for(lambda: not _fetchers())
    assert len(source.begun) <= 4


def test_a_source_that_waits_is_woken_by_the_end():
    """A back-off of a minute must not hold a run that was asked to stop."""
    waits, woken = threading.Event(), []

    def source(stop: threading.Event) -> Iterator[int]:
        yield 1
        waits.set()
        woken.append(stop.wait(60))

    pages = prefetched(source, 1)
    next(pages)
    assert waits.wait(WAIT_SECONDS)
    started = time.monotonic()
    pages.close()
    assert time.monotonic() - started < 1
    assert (woken, _fetchers()) == ([True], [])


def test_a_request_under_way_is_not_waited_for_to_its_end():
    asked, release = threading.Event(), threading.Event()

    def source(_stop: threading.Event) -> Iterator[int]:
        yield 1
        asked.set()
        release.wait(60)
        yield 2

    pages = prefetched(source, 1)
    next(pages)
    assert asked.wait(WAIT_SECONDS)
    started = time.monotonic()
    pages.close()
    assert time.monotonic() - started < 3
    release.set()
    _wait_for(lambda: not _fetchers())


def test_the_thread_logs_with_the_labels_of_the_sync():
    LABEL.set("sync 7")
    source = _Source(2)
    list(prefetched(source, 1))
    assert source.labels == ["sync 7", "sync 7"]
