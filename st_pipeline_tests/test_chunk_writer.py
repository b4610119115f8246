"""What a chunk's transaction is wrapped in."""

import gc

import pytest

from st_pipeline.chunk_writer import collector_paused


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
