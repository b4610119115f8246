"""What failed comes last, and which failures are outages."""

import pytest

from st_pipeline.errors import InvalidApiResponseFormat, RateLimitExceeded, ScopeMissing, ServiceUnavailable
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.entity_order import failed_last, is_outage

JOBS_LAST = ["customers", "locations", "jobs", "appointments", "estimates"]


def test_without_a_failure_the_order_stays():
    assert failed_last(list(SYNCED), set()) == list(SYNCED)


def test_what_failed_comes_last_and_keeps_its_order():
    assert failed_last(["tag_types", "campaigns", "business_units", "technicians"], {"campaigns", "tag_types"}) == [
        "business_units", "technicians", "tag_types", "campaigns",
    ]  # fmt: skip


def test_what_depends_on_it_follows_it_at_any_distance():
    """Appointments need jobs, jobs need customers: an entity tried before what it needs would not be tried at all."""
    assert failed_last(JOBS_LAST, {"customers"}) == ["locations", "customers", "jobs", "appointments", "estimates"]
    assert failed_last(JOBS_LAST, {"estimates"}) == JOBS_LAST
    assert failed_last([*JOBS_LAST, "technicians"], {"jobs"}) == [
        "customers", "locations", "technicians", "jobs", "appointments", "estimates",
    ]  # fmt: skip


def test_a_failed_entity_that_is_not_asked_for_moves_nothing():
    assert failed_last(["jobs", "technicians"], {"customers"}) == ["jobs", "technicians"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceUnavailable("503"), True),
        (RateLimitExceeded("429"), True),
        (InvalidApiResponseFormat("cut off"), True),
        (ScopeMissing("403"), False),
        (ValueError("ours"), False),
        (None, False),
    ],
)
def test_an_outage_is_a_request_without_a_usable_answer(error: Exception | None, expected: bool):
    assert is_outage(error) is expected
