"""A full sync makes the table equal to the source, whatever the dates; nothing else goes back in time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import cursors
from st_pipeline.protocol import Counts, Mode
from st_pipeline.servicetitan.pages import Page
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.entity import write_pages
from st_pipeline.sync.prepare import Reading
from st_pipeline_tests.acme import Acme

TAG_TYPES = ENTITIES["tag_types"]
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
MakeWork = Callable[..., EntityContext]


def shown(work: EntityContext, *pages: tuple[str, str]) -> Counts:
    """Each page shows record 1 by this name and date. In a full sync they are shown since now."""
    with work.connection.begin():
        began = cursors.now(work.connection) if work.mode is Mode.FULL else None
    records = [msgspec.Raw(json.dumps({"id": 1, "name": name, "modifiedOn": date}).encode()) for name, date in pages]
    pages = [Page(number, [record], has_more=False) for number, record in enumerate(records, 1)]
    write_pages(Reading(work, pass_began=began), iter(pages))
    return work.result.counts


def held(work: EntityContext) -> Any:
    with work.connection.begin():
        return work.connection.execute(text("SELECT name FROM st_tag_types WHERE st_id = 1")).scalar_one()


@pytest.mark.parametrize("rows_per_chunk", [1, 10])
@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize(
    "pages",
    [
        [("new", NEW), ("old", OLD)],
        [("old", OLD), ("new", NEW)],
        [("old", OLD), ("new", NEW), ("old", OLD)],
    ],
)
def test_within_a_full_sync_the_newest_version_wins_also_over_one_that_needed_no_writing(
    make_work: MakeWork, pages: list[tuple[str, str]], rewrite: bool, rows_per_chunk: int
):
    shown(make_work(TAG_TYPES), ("new", NEW))
    work = make_work(TAG_TYPES, Mode.FULL, rows_per_chunk=rows_per_chunk)
    work.rewrite = rewrite
    counts = shown(work, *pages)
    assert held(work) == "new"
    assert counts.processed == counts.updated + counts.unchanged == len(pages)


@pytest.mark.parametrize("date", [NEW, "2199-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"])
def test_what_was_held_before_gives_way_to_a_full_sync_whatever_the_dates(make_work: MakeWork, date: str):
    shown(make_work(TAG_TYPES), ("wrong", date))
    work = make_work(TAG_TYPES)
    counts = shown(work, ("right", OLD))
    assert (held(work), counts.updated, counts.unchanged, counts.older) == ("wrong", 0, 1, 1)
    counts = shown(make_work(TAG_TYPES, Mode.FULL), ("right", OLD))
    assert (held(work), counts.updated, counts.older) == ("right", 1, 0)


def test_a_version_from_the_hour_before_a_full_sync_stays_as_the_feed_may_not_show_it_yet(make_work: MakeWork):
    recent = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    shown(make_work(TAG_TYPES), ("recent", recent))
    work = make_work(TAG_TYPES, Mode.FULL)
    counts = shown(work, ("lagging", OLD))
    assert (held(work), counts.updated, counts.older) == ("recent", 0, 1)


@pytest.mark.parametrize("entity", ["tag_types", "membership_types"])
def test_a_row_dated_in_the_future_is_told_until_a_full_sync_corrects_it(acme: Acme, entity: str):
    """Of a feed and of a list. An increment cannot know which of two versions is right."""
    one = acme.source.ids(entity)[0]
    name = f"SELECT name FROM st_{entity} WHERE st_id = :id"  # noqa: S608 - one of our tables
    acme.source.patch(entity, one, {"name": "wrong", "modifiedOn": "2199-12-31T23:59:59.9999999Z"})
    acme.sync(only=(entity,))
    acme.source.patch(entity, one, {"name": "right", "modifiedOn": datetime.now(UTC).isoformat()})
    told = acme.sync(only=(entity,))
    assert (acme.value(name, id=one), told.counts.older) == ("wrong", 1)
    (note,) = acme.value(f"SELECT details -> 'notes' -> '{entity}' FROM servicetitan_sync_logs ORDER BY id DESC")  # noqa: S608
    assert note == "1 records not written: the table has a newer version; if that is wrong, sync it in full"
    corrected = acme.sync(only=(entity,), incremental_only=False)
    assert (acme.value(name, id=one), corrected.counts.updated, corrected.outcomes[0].result.notes) == ("right", 1, [])
    assert [one for one in acme.differences() if one.startswith(f"{entity}: ")] == []


def test_a_pass_that_goes_on_after_a_kill_keeps_the_time_when_it_began(acme: Acme):
    """Rows that its first part wrote are no rows held before."""
    acme.sync(only=("technicians",))
    acme.execute(
        "UPDATE sync_cursors SET full_started_at = '2026-01-05T00:00:00Z', full_continue_from = continue_from, "
        "full_spec_version = :version",
        version=ENTITIES["technicians"].version,
    )
    seen: list[Any] = []
    started = "SELECT full_started_at::text FROM sync_cursors WHERE entity = 'technicians'"
    acme.source.advance(changed={"technicians": 1})
    with acme.syncing(only=("technicians",), incremental_only=False) as sync:
        sync.after_chunk = lambda _entity, _counts: seen.append(acme.value(started))
        (outcome,) = sync.entities()
    assert outcome.error is None
    assert seen == ["2026-01-05 00:00:00+00"]
