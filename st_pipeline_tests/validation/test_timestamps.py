"""Moments as ServiceTitan writes them: cut to the microsecond, never rounded into another day or year."""

from datetime import UTC, datetime

import pytest

from st_pipeline.validation.timestamps import later, parse_timestamp

READ = {
    "2026-01-02T16:28:55.8446003Z": datetime(2026, 1, 2, 16, 28, 55, 844600, UTC),
    "2026-06-30T23:59:59.9999999Z": datetime(2026, 6, 30, 23, 59, 59, 999999, UTC),
    "9999-12-31T23:59:59.9999999Z": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    "1969-12-31T23:59:59.9999999Z": datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
    "2026-01-02T00:00:00": datetime(2026, 1, 2, tzinfo=UTC),
    "2026-03-08T02:30:00-05:00": datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
}


@pytest.mark.parametrize("text", READ)
def test_a_moment_is_cut_to_the_microsecond_and_in_utc(text: str):
    assert parse_timestamp(text) == READ[text]
    assert parse_timestamp(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-05:00", "0000-00-00T00:00:00Z"]
)
def test_text_that_is_no_moment_is_refused(text: str):
    with pytest.raises(ValueError, match=r".+"):
        parse_timestamp(text)


def test_the_later_of_two_moments_keeps_its_text():
    never = "9999-12-31T23:59:59.9999999Z"
    assert later("2026-01-02T16:28:55.8446003Z", never) == later(never, None) == never
