"""The order of a night, and when each tenant is expected to start."""

from datetime import UTC, datetime, timedelta

from st_pipeline.postgres.night_plan import Candidate
from st_pipeline.tenants.night_plan import UNKNOWN_SECONDS, placed

TWO = datetime(2026, 3, 14, 2, tzinfo=UTC)


def tenant(number: int, seconds: float | None, *, is_left_over: bool = False) -> Candidate:
    return Candidate(number, f"tenant-{number}", seconds, is_left_over)


def test_what_was_left_over_comes_first_then_the_large_ones():
    found = [tenant(1, 10), tenant(2, 300), tenant(3, None), tenant(4, 5, is_left_over=True), tenant(5, 300)]
    places = placed(found, TWO, workers=1)
    assert [place.credential_id for place in places] == [4, 2, 5, 3, 1]
    assert [place.place for place in places] == [1, 2, 3, 4, 5]
    assert places[3].expected_seconds == UNKNOWN_SECONDS


def test_each_starts_when_the_first_worker_is_free():
    places = placed([tenant(1, 300), tenant(2, 200), tenant(3, 150), tenant(4, 60)], TWO, workers=2)
    starts = [(place.starts_at - TWO).total_seconds() for place in places]
    assert starts == [0, 0, 200, 300]


def test_workers_end_at_about_the_same_time():
    """Within the length of the smallest: a large one that began last would keep one worker busy alone."""
    places = placed([tenant(number, 10 + number * 7 % 400) for number in range(500)], TWO, workers=3)
    ends = sorted((place.starts_at + timedelta(seconds=place.expected_seconds) for place in places), reverse=True)
    assert ends[0] - ends[2] < timedelta(seconds=60)


def test_a_night_without_tenants_has_no_places():
    assert placed([], TWO, workers=2) == []
