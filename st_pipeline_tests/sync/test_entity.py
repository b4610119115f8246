"""The three modes of one entity: what each asks for, and when a cursor moves. ServiceTitan is scripted at its edge."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import CursorRejected, DeletionRefused, PipelineError
from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import NOW, Cursor
from st_pipeline.protocol import Mode
from st_pipeline.sync.context import EntityContext, EntityResult, Window
from st_pipeline.sync.entity import sync_entity
from st_pipeline_tests.sync.scripted_api import OUTAGE, REFUSED, FeedPage, ScriptedApi, row

CUSTOMERS, CAMPAIGNS, TAG_TYPES, JOBS = (ENTITIES[name] for name in ("customers", "campaigns", "tag_types", "jobs"))
BEFORE = datetime(2026, 1, 10, tzinfo=UTC)
READ_BEFORE: dict[str, Any] = {
    "last_full_at": BEFORE,
    "complete_through": BEFORE,
    "newest_modified_on": "2026-01-05T00:00:00.1234567Z",
}
AFTER = "2026-01-04T23:00:00.123456Z"  # an hour before the newest record seen
FUTURE = "2199-01-01T00:00:00Z"
MakeWork = Callable[..., EntityContext]


@pytest.fixture
def entity(make_work: MakeWork) -> Callable[..., EntityContext]:
    """A sync of an entity in chunks of two records, from a cursor that stands as told."""

    def make(
        api: ScriptedApi, spec: EntitySpec = CUSTOMERS, mode: Mode = Mode.INCREMENTAL, **stands: Any
    ) -> EntityContext:
        work = make_work(spec, mode, rows_per_chunk=2, lookback_minutes=60, list_page_size=2)
        work.client = api.client(work.settings)
        if stands:
            with work.connection.begin():
                cursors.save(work.connection, work.credential_id, spec.name, **stands)
        return work

    return make


def cursor(work: EntityContext) -> Cursor:
    """Where it stands now."""
    with work.connection.begin():
        return cursors.load(work.connection, work.credential_id, work.spec.name)


def notes(result: EntityResult) -> list[str]:
    """Without those on fields that these short records lack."""
    return [note for note in result.notes if not note.startswith("seen for the first time")]


def held(work: EntityContext, where: str = "true") -> list[int]:
    """The ids in the table."""
    with work.connection.begin():
        query = text(f"SELECT st_id FROM {work.spec.table} WHERE {where} ORDER BY 1")  # noqa: S608 - a test's own
        return list(work.connection.execute(query).scalars())


def test_a_poll_of_a_feed_goes_on_from_its_token_and_saves_the_new_one_with_the_time_it_began(entity: MakeWork):
    api = ScriptedApi(feed={"t0": FeedPage([row(1, 6), row(2, 7)], "t1", has_more=True), "t1": FeedPage([], "t2")})
    work = entity(api, continue_from="t0", **READ_BEFORE)
    result = sync_entity(work)
    stands = cursor(work)
    assert api.asked == ["feed t0", "feed t1"]
    assert (stands.continue_from, stands.newest_modified_on) == ("t2", "2026-01-07T00:00:00Z")
    assert stands.complete_through == result.began_at
    assert (result.cursor_before, result.cursor_after, held(work)) == ("t0", "t2", [1, 2])


def test_a_feed_that_breaks_off_keeps_the_token_of_the_last_committed_page_and_is_not_complete(entity: MakeWork):
    """Of the second page one record is written, and one waits for its chunk: its token must not be saved."""
    pages = {"t0": FeedPage([row(1)], "t1", has_more=True), "t1": FeedPage([row(2), row(3)], "t2", has_more=True)}
    api = ScriptedApi(feed={**pages, "t2": OUTAGE})
    work = entity(api, continue_from="t0", **READ_BEFORE)
    with pytest.raises(PipelineError):
        sync_entity(work)
    stands = cursor(work)
    assert held(work) == [1, 2, 3]  # what came is written, also the rest of the last page
    assert stands.continue_from == "t2"
    assert (stands.complete_through, stands.newest_modified_on) == (BEFORE, READ_BEFORE["newest_modified_on"])
    api.feed["t2"] = FeedPage([row(4)], "t3")
    sync_entity(entity(api))
    assert (api.asked[-1], cursor(work).continue_from, held(work)) == ("feed t2", "t3", [1, 2, 3, 4])


def test_a_chunk_that_ends_within_a_page_saves_no_token_of_it(entity: MakeWork):
    """The second chunk cannot be written: its session is gone. The next sync must ask for the same page again."""
    api = ScriptedApi(feed={"t0": FeedPage([row(1), row(2), row(3)], "t1")})
    work = entity(api, continue_from="t0", **READ_BEFORE)

    def lose_the_lease(_entity: str, _counts: object) -> None:
        with work.connection.begin():
            work.connection.execute(text("DELETE FROM tenant_leases"))

    work.after_chunk = lose_the_lease
    with pytest.raises(PipelineError):
        sync_entity(work)
    assert (held(work), cursor(work).continue_from) == ([1, 2], "t0")


def test_a_refused_token_is_given_up_for_the_newest_record_less_the_overlap(entity: MakeWork):
    api = ScriptedApi(feed={"t0": REFUSED, AFTER: FeedPage([row(1, 6)], "t1")})
    work = entity(api, continue_from="t0", **READ_BEFORE)
    result = sync_entity(work)
    assert api.asked == ["feed t0", f"feed {AFTER}"]
    assert cursor(work).continue_from == "t1"
    assert notes(result) == [f"the stored feed token was refused; read again from {AFTER}"]


def test_a_refused_time_is_an_error_as_there_is_nothing_else_to_begin_with(entity: MakeWork):
    api = ScriptedApi(feed={AFTER: REFUSED})
    with pytest.raises(CursorRejected):
        sync_entity(entity(api, **READ_BEFORE))
    assert api.asked == [f"feed {AFTER}"]


@pytest.mark.parametrize(
    ("stands", "asked"),
    [
        (READ_BEFORE, f"list 1 modifiedOnOrAfter {AFTER}"),
        # One record dated in the future must not hide what follows it.
        (
            {**READ_BEFORE, "newest_modified_on": "2199-01-01T00:00:00Z"},
            "list 1 modifiedOnOrAfter 2026-01-09T23:00:00Z",
        ),
        ({"last_full_at": BEFORE}, "list 1"),
        ({**READ_BEFORE, "newest_modified_on": "0001-01-01T00:00:00"}, "list 1"),  # what .NET writes for no date
    ],
    ids=["the newest record", "a date in the future", "no record was ever seen", "no date"],
)
def test_a_list_without_a_feed_is_read_from_before_the_newest_record(
    entity: MakeWork, stands: dict[str, Any], asked: str
):
    api = ScriptedApi(pages=[[row(1, 8)]])
    work = entity(api, CAMPAIGNS, **stands)
    sync_entity(work)
    assert api.asked == [asked]
    newest = max(stands.get("newest_modified_on", ""), "2026-01-08T00:00:00Z")
    assert (cursor(work).newest_modified_on, cursor(work).continue_from) == (newest, None)


def test_what_the_guard_withholds_moves_the_token_and_not_the_time_of_completeness(entity: MakeWork):
    """The next full sync finds the rows again and decides; nothing stands still until then."""
    many = range(1, 13)
    work = entity(ScriptedApi(feed={None: FeedPage([row(one) for one in many], "t0")}, pages=[[row(1)]], total=12))
    sync_entity(work)
    gone = FeedPage([row(one, 2, active=False) for one in many], "t1")
    work = entity(ScriptedApi(feed={"t0": gone}, known=set()), complete_through=BEFORE)
    with pytest.raises(DeletionRefused):
        sync_entity(work)
    assert (cursor(work).continue_from, cursor(work).complete_through) == ("t1", BEFORE)
    assert work.result.withheld == 2
    assert len(held(work, "deleted_at IS NOT NULL")) == 10  # the first chunks' share passes


def test_a_window_reads_the_list_between_two_times_and_moves_no_cursor(entity: MakeWork):
    api = ScriptedApi(pages=[[row(1, 2), row(2, 3)], [row(3, 3)]])
    work = entity(api, mode=Mode.WINDOW, continue_from="t0", **READ_BEFORE)
    before = cursor(work)
    work.window = Window(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC))
    sync_entity(work)
    times = "modifiedOnOrAfter 2026-01-02T00:00:00Z modifiedBefore 2026-01-04T00:00:00Z"
    assert api.asked == [f"list 1 {times}", f"list 2 {times}"]
    assert (held(work), asdict(cursor(work))) == ([1, 2, 3], asdict(before))


def test_a_window_of_what_only_the_feed_shows_in_full_reads_the_feed_from_its_start(entity: MakeWork):
    api = ScriptedApi(feed={"2026-01-02T00:00:00Z": FeedPage([row(1, 2)], "t9")})
    work = entity(api, JOBS, Mode.WINDOW, continue_from="t0", **READ_BEFORE)
    work.window = Window(datetime(2026, 1, 2, tzinfo=UTC))
    sync_entity(work)
    assert (api.asked, cursor(work).continue_from) == (["feed 2026-01-02T00:00:00Z"], "t0")


def test_a_first_sync_is_full_and_polls_go_on_from_where_it_ended(entity: MakeWork):
    api = ScriptedApi(feed={None: FeedPage([row(1), row(2), row(3)], "t1")}, pages=[[row(1), row(2)], [row(3)]])
    work = entity(api)
    result = sync_entity(work)
    stands = cursor(work)
    assert (result.mode, api.asked) == (Mode.FULL, ["feed None", "total"])
    assert (stands.continue_from, stands.newest_modified_on) == ("t1", "2026-01-01T00:00:00Z")
    assert (stands.full_started_at, stands.full_continue_from) == (None, None)
    assert stands.last_full_at is not None
    assert stands.complete_through == result.began_at


def test_a_full_sync_that_broke_off_goes_on_from_its_own_token_and_leaves_that_of_the_polls(entity: MakeWork):
    feed = {None: FeedPage([row(1), row(2)], "f1", has_more=True), "f1": OUTAGE}
    api = ScriptedApi(feed=feed, pages=[[row(1), row(2)], [row(3)]])
    work = entity(api, mode=Mode.FULL, continue_from="t0", **READ_BEFORE)
    with pytest.raises(PipelineError):
        sync_entity(work)
    broken = cursor(work)
    assert (broken.full_continue_from, broken.continue_from) == ("f1", "t0")
    assert broken.last_full_at == BEFORE
    api.feed["f1"] = FeedPage([row(3)], "f2")
    again = entity(api, mode=Mode.FULL)
    result = sync_entity(again)
    assert api.asked == ["feed None", "feed f1", "feed f1", "total"]
    assert (cursor(again).continue_from, cursor(again).full_started_at) == ("f2", None)
    assert notes(result) == ["continued a full sync that had not finished"]


@pytest.mark.parametrize("what", ["another version of the columns", "to be written again"])
def test_a_full_sync_that_left_rows_as_they_were_is_not_gone_on_with_by_one_that_writes_all(
    entity: MakeWork, what: str
):
    api = ScriptedApi(feed={None: FeedPage([row(1)], "f2")}, pages=[[row(1)]])
    version = 0 if what == "another version of the columns" else CUSTOMERS.version
    begun = {"full_started_at": BEFORE, "full_continue_from": "f1", "full_spec_version": version}
    work = entity(api, mode=Mode.FULL, **begun, **READ_BEFORE)
    work.rewrite = what == "to be written again"
    result = sync_entity(work)
    assert (api.asked[0], notes(result)) == ("feed None", ["restarted a full sync that had not finished"])


def test_a_full_sync_that_was_to_write_all_is_finished_as_one(entity: MakeWork):
    feed = {None: FeedPage([row(1)], "t1")}
    sync_entity(entity(ScriptedApi(feed=feed, pages=[[row(1)]])))
    work = entity(ScriptedApi(feed=feed, pages=[[row(1)]]), mode=Mode.FULL, full_started_at=NOW, full_rewrites=True)
    assert sync_entity(work).counts.updated == 1  # although nothing about it changed
    assert cursor(work).full_rewrites is True


def test_a_list_is_read_from_its_first_page_again_and_the_feed_beside_it_keeps_its_token(entity: MakeWork):
    """Tag types have a feed that cannot tell the deleted from the inactive: their list is read whole."""
    api = ScriptedApi(pages=[[row(1), row(2)], [row(3)]])
    begun = {"full_started_at": BEFORE, "full_continue_from": None, "full_spec_version": TAG_TYPES.version}
    work = entity(api, TAG_TYPES, Mode.FULL, continue_from="t0", **begun, **READ_BEFORE)
    sync_entity(work)
    assert api.asked == ["list 1", "list 2"]
    assert (held(work), cursor(work).continue_from) == ([1, 2, 3], "t0")


def test_records_that_gave_way_to_newer_ones_are_told_with_what_to_do_next(entity: MakeWork):
    sync_entity(entity(ScriptedApi(feed={None: FeedPage([row(1, 9)], "t1")}, pages=[[row(1)]])))
    older = ScriptedApi(feed={"t1": FeedPage([row(1, 2, name="older")], "t2")})
    result = sync_entity(entity(older))
    assert notes(result) == ["1 records not written: the table has a newer version; if that is wrong, sync it in full"]
