"""A full sync reads each feed or list once; who is gone it learns from look-ups by id and from the list's total."""

from collections import Counter

import httpx
import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline_tests.acme import Acme


class Noted(httpx.BaseTransport):
    """Passes requests on, and notes which pages were asked for, and how many other requests there were."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self.pages: Counter[tuple[str, str]] = Counter()
        self.by_id: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the simulator."""
        path, params = request.url.path, request.url.params
        if "ids" in params:
            self.by_id[path] += 1
        elif params.get("pageSize") == "1":
            self.totals[path] += 1
        elif request.method == "GET":
            self.pages[path, params.get("from") or params.get("page") or ""] += 1
        return self._real.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


def read_whole(acme: Acme, *only: str) -> tuple[Noted, dict[str, list[str]]]:
    """A full sync: what it asked for, and the notes of each entity."""
    transport = Noted()
    with acme.syncing(transport, only=only, incremental_only=False) as sync:
        outcomes = list(sync.entities())
    assert [outcome.message for outcome in outcomes if outcome.error is not None] == []
    return transport, {outcome.entity: outcome.result.notes for outcome in outcomes}


def differences(acme: Acme, *entities: str) -> list[str]:
    """What differs between these tables and the source."""
    return [one for one in acme.differences() if one.partition(":")[0] in entities]


def delete(acme: Acme, *, touch: bool, entity: str = "customers") -> int:
    """Delete a record that nobody else stands for."""
    st_id = next(one for one in acme.source.ids(entity) if acme.source.record(entity, one)["active"])
    acme.source.delete(entity, st_id, touch=touch)
    return int(st_id)


def lists_paged(acme: Acme, noted: Noted) -> set[str]:
    """Entities with a feed whose list was read page by page; that of tag types is read instead of their feed."""
    paths = {acme.list_path(name): name for name in ENTITIES if ENTITIES[name].feed_path is not None}
    return {paths[path] for path, _ in noted.pages if path in paths} - {"tag_types"}


def test_a_first_load_asks_for_no_page_twice_and_for_no_page_of_a_list_that_has_a_feed(acme: Acme):
    """Deleted and inactive records look the same in a feed; look-ups by id tell them apart."""
    for entity in ("customers", "jobs", "invoices", "customer_contacts", "tag_types"):
        delete(acme, touch=True, entity=entity)
    noted, _ = read_whole(acme)
    assert {page: times for page, times in noted.pages.items() if times > 1} == {}
    assert lists_paged(acme, noted) == set()
    assert acme.differences() == []


def test_a_whole_read_of_what_did_not_change_reads_each_feed_once_and_asks_nothing_by_id(acme: Acme):
    read_whole(acme, "customers", "jobs", "invoices")
    noted, notes = read_whole(acme, "customers", "jobs", "invoices")
    assert {page: times for page, times in noted.pages.items() if times > 1} == {}
    assert (lists_paged(acme, noted), noted.by_id.total(), noted.totals.total()) == (set(), 0, 2 * 3)
    assert notes == {"customers": [], "jobs": [], "invoices": []}


@pytest.mark.parametrize("entity", ["customers", "customer_contacts", "tag_types"])
def test_what_was_deleted_or_altered_without_a_new_date_is_found_by_a_whole_read(acme: Acme, entity: str):
    """And by nothing else: the feed goes on showing the one as it was, and the other in its old place."""
    read_whole(acme, entity)
    gone = delete(acme, touch=False, entity=entity)
    altered = [one for one in acme.source.ids(entity) if one != gone][2:5]
    word = {"customers": "name", "customer_contacts": "value", "tag_types": "name"}[entity]
    for st_id in altered:
        acme.source.patch(entity, st_id, {word: "altered"}, touch=False)
    assert acme.sync(only=(entity,)).counts.changed == 0
    noted, _ = read_whole(acme, entity)
    assert differences(acme, entity) == []
    marked = f"SELECT deleted_at IS NOT NULL FROM st_{entity} WHERE st_id = :id"  # noqa: S608 - one of our tables
    assert acme.value(marked, id=gone) is True
    if entity == "customers":
        assert lists_paged(acme, noted) == {"customers"}


def test_one_that_was_deleted_and_one_that_is_back_do_not_cancel_out(acme: Acme):
    """The list's total is the same as before; the feed shows both."""
    read_whole(acme, "customers")
    first = delete(acme, touch=True)
    record = acme.source.record("customers", first)
    acme.sync(only=("customers",))
    delete(acme, touch=True)
    acme.source.insert("customers", record)
    acme.source.patch("customers", first, {"name": "back, and inactive"})
    noted, _ = read_whole(acme, "customers")
    assert lists_paged(acme, noted) == set()
    assert differences(acme, "customers") == []


def test_records_that_were_rejected_count_as_held_until_they_are_gone(acme: Acme):
    """Or the list would be read every night for one record that cannot be stored."""
    bad = [acme.add("customers", id=9_000_000_000_000_000_000 + number, name=7) for number in (1, 2)]
    read_whole(acme, "customers")
    assert acme.value("SELECT count(*) FROM sync_rejects WHERE entity = 'customers'") == len(bad)
    acme.source.delete("customers", bad[0])
    noted, notes = read_whole(acme, "customers")
    assert (lists_paged(acme, noted), notes) == (set(), {"customers": []})


def test_a_list_whose_total_differs_is_read_for_its_ids_and_the_sync_says_so(acme: Acme):
    read_whole(acme, "customers")
    delete(acme, touch=False)
    _, notes = read_whole(acme, "customers")
    (note,) = notes["customers"]
    live = acme.value("SELECT count(*) FROM st_customers WHERE deleted_at IS NULL")
    assert note == f"the list shows {live} records, {live + 1} are held: the list was read for its ids"
