from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from benchmarks.memory import MB, onboard, peak_of_a_full_sync
from st_pipeline.simulator.control import SimulatedTenant

# Pages and chunks so small that the smaller tenant already fills all that may be in flight at once.
SMALL = {
    "ST_PIPELINE_LIST_PAGE_SIZE": "500",
    "ST_PIPELINE_ROWS_PER_CHUNK": "500",
    "ST_PIPELINE_RATE_LIMIT": "1000/second",
}
ROWS_A_FEED_PAGE = {"export_page_size": 500, "rate_limit_per_second": None}
FEW, MANY = 2_000, 10_000
MAY_GROW_BY = 8 * MB


@pytest.mark.lab  # four processes that load 12,000 invoices
def test_memory_does_not_grow_with_the_number_of_invoices(
    servicetitan_tenant: Callable[..., SimulatedTenant], engine: Engine
):
    """The 8,000 invoices more are 34 MB: keeping a quarter of their bytes is above the limit. 3 MB are usual."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    peaks = []
    for invoices in (FEW, MANY):
        tenant = servicetitan_tenant(customers=200, invoices=invoices, seed=1, settings=ROWS_A_FEED_PAGE)
        variables = onboard(url, f"invoices-{invoices}", tenant)
        records, peak = peak_of_a_full_sync(f"invoices-{invoices}", {**variables, **SMALL})
        assert records > invoices
        peaks.append(peak)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM invoices_stream")).scalar() == FEW + MANY
    assert peaks[1] - peaks[0] < MAY_GROW_BY, [peak // MB for peak in peaks]
