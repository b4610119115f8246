"""The next batch is checked in a thread while Postgres writes this one, where nothing is compared with the table."""

import gc
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from st_pipeline.errors import ServiceUnavailable
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.prepare import checked_ahead, collector_paused, prepare_chunk
from st_pipeline_tests.sync.scripted_reading import Tables, reading, record


@pytest.mark.parametrize("is_first_load", [True, False])
def test_only_a_first_load_checks_the_next_batch_while_this_one_is_written(is_first_load: bool):
    third_came = threading.Event()

    def batches() -> Iterator[Batch]:
        yield Batch([record(1)], pages=1)
        yield Batch([record(2)], pages=1)
        third_came.set()
        yield Batch([record(3)], pages=1)

    with reading(Tables(), table_was_empty=is_first_load) as read:
        ahead = checked_ahead(read, batches())
        assert next(ahead) == (Batch([record(1)], pages=1), None)
        batch, checked = next(ahead)
        assert (batch.records, checked is not None) == ([record(2)], is_first_load)
        assert third_came.wait(10 if is_first_load else 0) is is_first_load  # while batch 2 would be written
        assert [list(prepare_chunk(read, *one).ids) for one in ahead] == [[3]]


def test_an_error_of_the_source_comes_after_the_batches_before_it():
    def batches() -> Iterator[Batch]:
        yield Batch([record(1)])
        yield Batch([record(2)])
        raise ServiceUnavailable("page 3 does not come")

    with reading(Tables(), table_was_empty=True) as read:
        ahead = checked_ahead(read, batches())
        assert [next(ahead)[0].records, next(ahead)[0].records] == [[record(1)], [record(2)]]
        with pytest.raises(ServiceUnavailable):
            next(ahead)


def test_pages_that_fill_no_batch_do_not_keep_the_next_batch_waiting():
    """They only say that the source is at work, which nobody needs to hear while a chunk is written."""
    filled = threading.Event()

    def batches() -> Iterator[Batch]:
        yield Batch([record(1)])
        yield Batch([record(2)])
        yield from [Batch([])] * 3
        filled.set()
        yield Batch([record(3)])

    with reading(Tables(), table_was_empty=True) as read, closing(checked_ahead(read, batches())) as ahead:
        assert [next(ahead)[0].records, next(ahead)[0].records] == [[record(1)], [record(2)]]
        assert filled.wait(10)  # while batch 2 would be written
        assert [batch.records for batch, _ in ahead if batch.records] == [[record(3)]]


def test_whoever_stops_early_stops_the_thread():
    given: list[int] = []

    def batches() -> Iterator[Batch]:
        for number in range(1, 100):
            given.append(number)
            yield Batch([record(number)])

    with reading(Tables(), table_was_empty=True) as read:
        with closing(checked_ahead(read, batches())) as ahead:
            next(ahead), next(ahead)
        ended = len(given)
        assert ended <= 4
        assert not [thread for thread in threading.enumerate() if thread.name == "fetch-ahead"]
    assert len(given) == ended


def test_the_collector_is_on_again_when_the_last_of_two_pauses_ends():
    assert gc.isenabled()
    first, second = collector_paused(), collector_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()  # the second thread's chunk is still being checked
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_the_collector_is_on_again_after_a_chunk_that_failed():
    def fail() -> None:
        with collector_paused():
            assert not gc.isenabled()
            raise ValueError("a bad chunk")

    with pytest.raises(ValueError, match="a bad chunk"):
        fail()
    assert gc.isenabled()


def test_a_collector_that_somebody_switched_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
