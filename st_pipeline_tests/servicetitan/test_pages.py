"""Walks over feeds and lists: which request comes next, and when there is none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import CursorRejected, InvalidApiResponseFormat, PermanentApiError
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import Page, begin_feed, begin_list, count, fetch_by_ids, iter_feed, iter_list
from st_pipeline_tests.servicetitan.conftest import Vendor, answer, feed_page, list_page, packed, refusal

Make = Callable[..., ServiceTitanClient]
INVOICES, CUSTOMERS, CONTACTS = ENTITIES["invoices"], ENTITIES["customers"], ENTITIES["customer_contacts"]
AHEAD = pytest.mark.parametrize("prefetch", [0, 1, 3])


def _ids(pages: Iterator[Page]) -> list[list[int]]:
    return [[json.loads(bytes(record))["id"] for record in page.records] for page in pages]


@AHEAD
def test_a_feed_is_read_from_token_to_token_past_empty_pages(client: ServiceTitanClient, vendor: Vendor, prefetch: int):
    vendor.will(
        feed_page({"id": 1}, token="b", more=True),
        feed_page(token="c", more=True),
        feed_page({"id": 2}, {"id": 3}, token="d"),
    )
    pages = list(iter_feed(client, INVOICES, start="a", prefetch=prefetch))
    assert _ids(iter(pages)) == [[1], [], [2, 3]]
    assert [(page.number, page.has_more, page.continue_from) for page in pages] == [
        (1, True, "b"), (2, True, "c"), (3, False, "d"),
    ]  # fmt: skip
    assert [request.url.path for request in vendor.asked] == ["/accounting/v2/tenant/4711/export/invoices"] * 3
    assert [vendor.params(n) for n in range(3)] == [{"includeRecentChanges": "true", "from": token} for token in "abc"]


def test_a_feed_without_a_start_is_read_from_the_beginning(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(feed_page(token="a"))
    assert _ids(iter_feed(client, INVOICES, start=None)) == [[]]
    assert vendor.params() == {"includeRecentChanges": "true"}


def test_a_token_with_any_characters_comes_back_as_it_was(client: ServiceTitanClient, vendor: Vendor):
    token = "a+b/c==&d %é"
    vendor.will(feed_page(token=token, more=True), feed_page(token=token + "x"))
    list(iter_feed(client, INVOICES, start=None))
    assert vendor.params()["from"] == token


@AHEAD
@pytest.mark.parametrize("tokens", ["a", "ba", "bcb"])
def test_a_feed_that_goes_round_in_circles_is_stopped(
    client: ServiceTitanClient, vendor: Vendor, tokens: str, prefetch: int
):
    vendor.will(*[feed_page({"id": number}, token=token, more=True) for number, token in enumerate(tokens)])
    with pytest.raises(InvalidApiResponseFormat, match="continueFrom repeats"):
        list(iter_feed(client, INVOICES, start="a", prefetch=prefetch))


@AHEAD
def test_a_feed_of_empty_pages_with_ever_new_tokens_is_stopped(
    client: ServiceTitanClient, vendor: Vendor, prefetch: int
):
    vendor.will(feed_page({"id": 1}, token="first", more=True))
    vendor.will(*[feed_page(token=f"t{number}", more=True) for number in range(101)])
    with pytest.raises(InvalidApiResponseFormat, match="page 101: 100 empty pages in a row"):
        list(iter_feed(client, INVOICES, start="a", prefetch=prefetch))
    assert len(vendor.asked) == 101


@AHEAD
@pytest.mark.parametrize(("circle", "asked"), [(1, 4), (2, 6), (3, 7), (7, 15)])
def test_a_feed_that_shows_the_same_pages_again_under_ever_new_tokens_is_stopped(
    client: ServiceTitanClient, vendor: Vendor, circle: int, asked: int, prefetch: int
):
    """After two pages of others, which do not come again."""
    ids = [-1, -2, *(number % circle for number in range(40))]
    vendor.will(*[feed_page({"id": st_id}, token=f"t{number}", more=True) for number, st_id in enumerate(ids)])
    walked: list[Page] = []
    with pytest.raises(InvalidApiResponseFormat, match="the same as an earlier one"):
        walked += iter_feed(client, INVOICES, start="a", prefetch=prefetch)
    assert len(vendor.asked) == asked


def test_the_end_of_a_feed_may_repeat_its_token(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(feed_page(token="a"))
    assert [page.continue_from for page in iter_feed(client, INVOICES, start="a")] == ["a"]


def test_a_refused_start_is_told_apart_from_any_other_refusal(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(400))
    with pytest.raises(CursorRejected, match=r"^read the feed of invoices for tenant acme, page 1"):
        list(iter_feed(client, INVOICES, start="stale"))
    vendor.will(refusal(404))
    with pytest.raises(PermanentApiError) as caught:
        list(iter_feed(client, INVOICES, start="stale"))
    assert not isinstance(caught.value, CursorRejected)
    vendor.will(refusal(400))
    with pytest.raises(PermanentApiError) as caught:
        list(iter_feed(client, INVOICES, start=None))
    assert not isinstance(caught.value, CursorRejected)
    vendor.will(feed_page(token="b", more=True), refusal(400))
    with pytest.raises(PermanentApiError) as caught:
        list(iter_feed(client, INVOICES, start="a"))
    assert not isinstance(caught.value, CursorRejected)


@AHEAD
def test_a_list_is_read_by_page_number_past_empty_pages(client: ServiceTitanClient, vendor: Vendor, prefetch: int):
    vendor.will(
        list_page({"id": 1}, more=True, totalCount=2), list_page(more=True), list_page(more=True), list_page({"id": 2})
    )
    pages = list(iter_list(client, CUSTOMERS, prefetch=prefetch))
    assert _ids(iter(pages)) == [[1], [], [], [2]]
    assert [page.total for page in pages] == [2, None, None, None]
    assert [vendor.params(n)["page"] for n in range(4)] == ["1", "2", "3", "4"]
    assert ["includeTotal" in vendor.params(n) for n in range(4)] == [True, False, False, False]
    for number in range(4):
        assert vendor.params(number)["active"] == "Any"
        assert vendor.params(number)["pageSize"] == "5000"


def test_a_window_asks_for_its_range_and_sorts_where_the_entity_can(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page(), list_page())
    start, end = "2026-01-01T00:00:00.0000001Z", "2026-02-01T00:00:00Z"
    list(iter_list(client, replace(INVOICES, sort="+Id"), modified_from=start, modified_before=end))
    asked = vendor.params()
    assert (asked["modifiedOnOrAfter"], asked["modifiedBefore"], asked["page"]) == (start, end, "1")
    assert (asked["activeState"], asked["sort"]) == ("All", "+Id")
    assert b"%2BId" in vendor.asked[-1].url.query
    list(iter_list(client, CONTACTS, modified_from=start))
    assert vendor.asked[-1].url.path == "/crm/v2/tenant/4711/customers/contacts"
    assert vendor.params()["modifiedOnOrAfter"] == start


def test_a_page_that_comes_twice_is_stopped(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(
        list_page({"id": 1}, more=True), list_page({"id": 2}, more=True), list_page({"id": 2}, more=True, page=3)
    )
    walked = []
    with pytest.raises(InvalidApiResponseFormat, match="page 3: the page is the same as an earlier one"):
        walked += _ids(iter_list(client, CUSTOMERS))
    assert len(vendor.asked) == 3


def test_a_last_page_may_equal_the_one_before(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page({"id": 1}, more=True), list_page({"id": 1}))
    assert _ids(iter_list(client, CUSTOMERS)) == [[1], [1]]


def test_a_list_that_promises_more_for_ever_is_stopped(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(*[list_page(more=True) for _ in range(101)])
    with pytest.raises(InvalidApiResponseFormat, match="100 empty pages in a row"):
        list(iter_list(client, CUSTOMERS))


def test_ids_are_asked_for_fifty_at_a_time_in_any_state(client: ServiceTitanClient, vendor: Vendor):
    ids = list(range(1, 121))
    vendor.will(*[list_page(*({"id": n} for n in ids[start : start + 50] if n % 2)) for start in (0, 50, 100)])
    found = fetch_by_ids(client, INVOICES, ids)
    assert [json.loads(bytes(record))["id"] for record in found] == ids[::2]
    assert [vendor.params(n)["ids"].count(",") + 1 for n in range(3)] == [50, 50, 20]
    assert vendor.params()["activeState"] == "All"


def test_no_ids_are_no_request(client: ServiceTitanClient, vendor: Vendor):
    assert fetch_by_ids(client, INVOICES, []) == []
    assert vendor.asked == []


@pytest.mark.parametrize("other", [list_page({"id": 3}), list_page({"id": 1}, more=True), list_page({"name": "x"})])
def test_an_ignored_ids_filter_does_not_pass_for_deletions(make_client: Make, vendor: Vendor, other: object):
    """ServiceTitan ignores parameters it does not know: the first 50 of all records would come back."""
    vendor.will(other)
    with pytest.raises(InvalidApiResponseFormat):
        fetch_by_ids(make_client(max_attempts=1), INVOICES, [1, 2])


def test_entities_without_an_ids_filter_are_refused_before_anything_is_sent(client: ServiceTitanClient, vendor: Vendor):
    with pytest.raises(ValueError, match="customer_contacts"):
        fetch_by_ids(client, CONTACTS, [1])
    with pytest.raises(ValueError, match="has no feed"):
        list(iter_feed(client, replace(INVOICES, feed_path=None), start=None))
    assert vendor.asked == []


def test_the_count_is_one_small_request(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page({"id": 1}, more=True, totalCount=1234), list_page(totalCount=5))
    assert count(client, CUSTOMERS) == 1234
    assert vendor.params() == {"active": "Any", "page": "1", "pageSize": "1", "includeTotal": "true"}
    assert count(client, CONTACTS) == 5  # this list wants a modified date
    assert "modifiedOnOrAfter" in vendor.params()


def test_a_count_without_a_total_is_reported(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page())
    with pytest.raises(InvalidApiResponseFormat, match="no totalCount"):
        count(client, CUSTOMERS)


def test_a_record_may_be_anything_and_stays_the_bytes_it_came_as(client: ServiceTitanClient, vendor: Vendor):
    odd = [b"null", b"7", b'"x"', b"[1, 2]", b'{"id":  1.50, "a":"\\u00e9\\u0000", "id":2}']
    vendor.will(packed(b'{"new":{"key":[1]},"hasMore":false,"page":1,"data":[' + b",".join(odd) + b"]}"))
    (page,) = iter_list(client, CUSTOMERS)
    assert [bytes(record) for record in page.records] == odd
    assert all(isinstance(record, msgspec.Raw) for record in page.records)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"data": []}, "hasMore"),
        ({"hasMore": False}, "data"),
        ({"hasMore": "no", "data": []}, "hasMore"),
        ({"hasMore": False, "data": None}, "data"),
        ({"hasMore": False, "data": {"id": 1}}, "data"),
        ({"hasMore": False, "data": [], "totalCount": "many"}, "totalCount"),
        ({"hasMore": False, "data": [], "continueFrom": 5}, "continueFrom"),
    ],
)
def test_an_answer_that_is_no_page_names_the_key(make_client: Make, vendor: Vendor, body: dict[str, object], key: str):
    vendor.will(answer(200, body))
    with pytest.raises(InvalidApiResponseFormat, match=f"list customers for tenant acme, page 1: .*{key}"):
        list(iter_list(make_client(max_attempts=1), CUSTOMERS))


@pytest.mark.parametrize("token", [None, 5])
def test_a_feed_page_without_a_token_is_no_page(make_client: Make, vendor: Vendor, token: object):
    vendor.will(packed({"hasMore": False, "data": [], "continueFrom": token}))
    with pytest.raises(InvalidApiResponseFormat, match="continueFrom"):
        list(iter_feed(make_client(max_attempts=1), INVOICES, start=None))


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_page_cut_off_on_its_way_is_asked_for_again(client: ServiceTitanClient, vendor: Vendor, cut: int):
    """A proxy may cut a body and then pack it correctly: only the JSON shows it."""
    whole = json.dumps({"hasMore": False, "data": [{"id": 1}, {"id": 2}]}).encode()
    vendor.will(packed(whole[:-cut]), packed(whole))
    assert _ids(iter_list(client, CUSTOMERS)) == [[1, 2]]
    assert client.statistics.retries == 1


def test_text_that_is_no_json_costs_neither_the_page_nor_the_other_records(client: ServiceTitanClient, vendor: Vendor):
    """Seen from APIs of this kind: half of an emoji, cut by a length limit, and a tab typed into a memo."""
    records = rb'{"id":1,"memo":"half \ud83d"},{"id":2,"memo":"a	b"},{"id":3,"memo":"\\ud83d \ud83d\ude00 \"q\""}'
    vendor.will(packed(b'{"hasMore":false,"data":[' + records + b"]}"))
    (page,) = iter_list(client, CUSTOMERS)
    memos = [json.loads(bytes(record))["memo"] for record in page.records]
    assert memos == ["half \N{REPLACEMENT CHARACTER}", "a b", '\\ud83d \N{GRINNING FACE} "q"']


@AHEAD
def test_a_feed_that_was_begun_goes_on_after_its_first_page(client: ServiceTitanClient, vendor: Vendor, prefetch: int):
    vendor.will(feed_page({"id": 1}, token="b", more=True), feed_page({"id": 2}, token="c"))
    begun = begin_feed(client, INVOICES, start="a")
    assert (begun.first.continue_from, begun.is_whole, len(vendor.asked)) == ("b", False, 1)
    assert _ids(begun.pages(prefetch)) == [[1], [2]]
    assert [vendor.params(n)["from"] for n in range(2)] == ["a", "b"]


def test_a_begun_read_of_one_page_asks_nothing_more(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(feed_page({"id": 1}, token="b"), list_page({"id": 1}, totalCount=1))
    for begun in (begin_feed(client, INVOICES, start="a"), begin_list(client, CUSTOMERS, modified_from=None)):
        assert begun.is_whole
        assert _ids(begun.pages(1)) == [[1]]
    assert len(vendor.asked) == 2


def test_a_begun_list_that_shows_fewer_than_its_total_is_not_whole(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(list_page({"id": 1}, totalCount=2), list_page({"id": 1}, {"id": 2}, totalCount=2))
    begun = begin_list(client, CUSTOMERS, modified_from=None)
    assert not begun.is_whole
    assert _ids(begun.pages(0)) == [[1], [1, 2]]


def test_a_refused_token_is_told_when_a_feed_is_begun(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(400))
    with pytest.raises(CursorRejected):
        begin_feed(client, INVOICES, start="old")
