"""Pages to batches: no record is lost or given twice, and no token comes before the records of its page."""

from collections.abc import Iterator

import msgspec
import pytest

from st_pipeline.errors import InvalidApiResponseFormat, OutOfTime, PipelineError, ServiceUnavailable
from st_pipeline.servicetitan.pages import Page
from st_pipeline.sync.batches import Batch, batches

SIZE = 3


def pages(*sizes: int, tokens: str = "abcdefgh") -> Iterator[Page]:
    """Pages of so many records, numbered through, each with a token; `-` in its place for none."""
    first = 1
    for number, size in enumerate(sizes, 1):
        records = [msgspec.Raw(str(one).encode()) for one in range(first, first + size)]
        first += size
        token = tokens[number - 1].replace("-", "")
        yield Page(number, records, has_more=number < len(sizes), continue_from=token or None)


def batch(records: str, token: str | None = None, of_pages: int = 0) -> Batch:
    return Batch([one.encode() for one in records], token, of_pages)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([0], [batch("", "a", 1)]),
        ([2], [batch("12", "a", 1)]),
        ([3], [batch("123", "a", 1)]),
        ([7], [batch("123", None, 1), batch("456"), batch("7", "a")]),
        ([2, 2], [batch(""), batch("123", "a", 2), batch("4", "b")]),
        ([3, 0], [batch("123", "a", 1), batch("", "b", 1)]),
        ([1, 1, 1, 1], [batch(""), batch(""), batch("123", "c", 3), batch("4", "d", 1)]),
        ([6, 1], [batch("123", None, 1), batch("456", "a"), batch("7", "b", 1)]),
        ([0, 0], [batch(""), batch("", "b", 2)]),
    ],
)
def test_records_come_in_batches_with_the_token_of_the_last_page_that_ended(sizes: list[int], expected: list[Batch]):
    """A page that fills no batch gives an empty one, at which the lease is extended."""
    assert list(batches(pages(*sizes), SIZE)) == expected


def test_a_page_without_a_token_takes_no_earlier_token_back():
    assert list(batches(pages(1, 1, tokens="a-"), SIZE)) == [batch(""), batch("12", "a", 2)]


@pytest.mark.parametrize("error", [ServiceUnavailable("down"), OutOfTime("late"), InvalidApiResponseFormat("no page")])
def test_what_came_before_an_outage_is_still_given_and_then_the_error(error: PipelineError):
    """An answer that is not a page says that something is wrong with what came, too: nothing more is given."""

    def source() -> Iterator[Page]:
        yield Page(1, [msgspec.Raw(b"1")], has_more=True, continue_from="a")
        raise error

    given = []

    def read() -> None:
        for one in batches(source(), SIZE):
            given.append(one)  # noqa: PERF402 - also what came before the error

    with pytest.raises(type(error)):
        read()
    assert given == [batch(""), *([] if isinstance(error, InvalidApiResponseFormat) else [batch("1", "a", 1)])]
