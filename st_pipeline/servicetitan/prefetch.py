"""Fetch ahead of a consumer in a second thread.

Here: the thread, how far ahead it may run, and how it ends. Not here: what is fetched.
"""

import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

END_SECONDS = 1.0
"""How long a consumer that stops early waits for the request in flight; the thread ends with that request anyway."""


def prefetched(
    source: Callable[[threading.Event], Iterator[T]], ahead: int, stop: threading.Event | None = None
) -> Iterator[T]:
    """The items of `source(stop)`, up to `ahead` of them fetched while the consumer works on the one before.

    An error of the source is raised here, after the items before it. Closing this generator sets `stop`, and the source
    starts no new request. With `ahead` 0 there is no thread.
    """
    stop = stop or threading.Event()
    if ahead == 0:
        yield from source(stop)
        return
    room = threading.Semaphore(ahead)
    ready: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            items = source(stop)
            while room.acquire() and not stop.is_set():
                ready.put((next(items),))
        except StopIteration:
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the consumer must get it
            ready.put(error)

    # The context carries the sync's and the run's ids into the log lines of the thread.
    thread = threading.Thread(target=copy_context().run, args=(work,), name="fetch-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item[0]
    finally:
        stop.set()
        room.release()
        thread.join(END_SECONDS)
