"""What several files of this folder share."""

from collections.abc import Callable, Iterator

import pytest

from st_pipeline.rates import Rate
from st_pipeline_tests.onboarding import SyncedCompany
from st_pipeline_tests.sync.polled_company import SIZES, Polled


@pytest.fixture
def polled(synced_company: Callable[..., SyncedCompany]) -> Iterator[Polled]:
    """A company after its first sync."""
    with synced_company(**SIZES).copied() as (source, settings, engine):
        changes = {"rate_limit": Rate(1000, 1), "poll_threads": 2, "max_attempts": 2}
        yield Polled(source, settings.model_copy(update=changes), engine)
        source.clear_faults()
