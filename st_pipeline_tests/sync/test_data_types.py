"""What people call parts of the data, and what each word stands for."""

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.streams import STREAMS
from st_pipeline.sync.data_types import SYNCED, synced_by


def test_all_is_every_entity_and_then_every_stream():
    assert synced_by("all") == tuple(SYNCED) == (*ENTITIES, *STREAMS)


@pytest.mark.parametrize(
    ("data_type", "has", "lacks"),
    [
        ("customers", {"customers", "locations", "memberships", "members_stream"}, {"invoices", "invoices_stream"}),
        ("invoices", {"invoices", "payments", "invoices_stream"}, {"customers", "members_stream"}),
        ("both", {"customers", "memberships", "members_stream", "invoices", "invoices_stream"}, {"jobs", "estimates"}),
    ],
)
def test_a_word_stands_for_its_areas_and_the_streams_built_from_them(data_type: str, has: set[str], lacks: set[str]):
    named = synced_by(data_type)
    assert has <= set(named)
    assert not lacks & set(named)
    assert sorted(named, key=list(SYNCED).index) == list(named)


def test_names_are_read_as_people_write_them_and_come_in_the_usual_order():
    assert synced_by("invoices_stream, jobs ,customers") == ("customers", "jobs", "invoices_stream")


def test_the_first_unknown_name_is_told():
    with pytest.raises(KeyError, match="'invoice'"):
        synced_by("job,customers,invoice")
