"""What happens between chunks."""

import uuid
from collections.abc import Callable, Iterator

import msgspec
import pytest
from sqlalchemy import Engine

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import SyncStopped
from st_pipeline.postgres import stops
from st_pipeline.servicetitan.pages import Page
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.entity import write_pages
from st_pipeline.sync.prepare import Reading


@pytest.mark.parametrize("records", [[], [msgspec.Raw(b'{"id":1}')]])
def test_a_stop_is_seen_and_the_lease_extended_while_pages_fill_no_chunk(
    make_work: Callable[..., EntityContext], engine: Engine, records: list[msgspec.Raw]
):
    """Nothing is written between such pages, and there may be a hundred of them, each with all its tries."""
    work, read, ends = make_work(ENTITIES["tag_types"]), [], []

    def pages() -> Iterator[Page]:
        for number in range(1, 100):
            read.append(number)
            with engine.begin() as other:
                ends.append(other.exec_driver_sql("SELECT expires_at FROM tenant_leases").scalar_one())
                if number == 3:
                    stops.request(other, uuid.UUID(int=1), "stopped by a person")
            yield Page(number, records, has_more=True, continue_from=str(number))

    with pytest.raises(SyncStopped, match="stopped by a person"):
        write_pages(Reading(work), pages())
    assert read == [1, 2, 3]
    assert ends[0] < ends[1] < ends[2]
