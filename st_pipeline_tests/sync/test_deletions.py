"""The end of a full sync: who is gone, who is back, and what is saved. ServiceTitan is scripted at its edge."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import DeletionRefused, LeaseLost
from st_pipeline.postgres import cursors, soft_deletes
from st_pipeline.protocol import Mode
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.deletions import finish_full_sync
from st_pipeline.sync.entity import write_batch
from st_pipeline.sync.prepare import Reading
from st_pipeline_tests.sync.scripted_api import ScriptedApi, row
from st_pipeline_tests.sync.scripted_reading import record

CUSTOMERS, CAMPAIGNS, CALL_REASONS = (ENTITIES[name] for name in ("customers", "campaigns", "call_reasons"))
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MakeWork = Callable[..., EntityContext]


@pytest.fixture
def full_sync(make_work: MakeWork) -> Callable[..., EntityContext]:
    """A full sync that has written what it read, and has only its end before it.

    `held`: ids in the table, of which `marked` were deleted before; `seen`: ids that the list showed.
    """

    def make(
        spec: EntitySpec, api: ScriptedApi, held: Sequence[int], *, marked: Sequence[int] = (), seen: Sequence[int] = ()
    ) -> EntityContext:
        work = make_work(spec, Mode.FULL, deletion_guard_share=0.2)
        work.client = api.client(work.settings)
        write_batch(Reading(work), Batch([record(one) for one in held]))
        work.result.counts.created = 0
        with work.connection.begin():
            of = work.connection, work.credential_id, spec.name
            soft_deletes.mark_deleted(work.connection, spec, work.credential_id, marked)
            soft_deletes.remember_seen(*of, seen)
            work.result.began_at = cursors.now(work.connection)
            cursors.save(*of, full_started_at=BEGAN, full_continue_from="f1", continue_from="t0")
        return work

    return make


def end(work: EntityContext, *, is_first: bool = False) -> None:
    """End the sync."""
    finish_full_sync(work, work.result, BEGAN, is_first=is_first)


def rows(work: EntityContext, query: str) -> list[Any]:
    """The first column of what Postgres answers."""
    with work.connection.begin():
        return list(work.connection.execute(text(query.format(table=work.spec.table))).scalars())


MARKED = "SELECT st_id FROM {table} WHERE deleted_at IS NOT NULL ORDER BY 1"


def test_what_the_list_did_not_show_is_marked_if_it_is_not_found_by_id_either(full_sync: MakeWork):
    """Pages shift while a list is read, so 3 was not shown and is there all the same."""
    api = ScriptedApi(known={1, 2, 3})
    work = full_sync(CAMPAIGNS, api, [1, 2, 3, 4, 5], seen=[1, 2])
    end(work)
    assert (api.asked, rows(work, MARKED), work.result.counts.deleted) == (["ids 3,4,5"], [4, 5], 2)


def test_where_a_list_cannot_be_asked_by_ids_it_is_read_a_second_time(full_sync: MakeWork):
    api = ScriptedApi(pages=[[row(1), row(3)]])
    work = full_sync(CALL_REASONS, api, [1, 2, 3, 4], seen=[1, 2])
    end(work)
    assert (api.asked, rows(work, MARKED)) == (["list 1"], [4])


def test_nobody_is_asked_when_the_list_showed_every_row(full_sync: MakeWork):
    api = ScriptedApi()
    work = full_sync(CAMPAIGNS, api, [1, 2], seen=[1, 2, 3])
    end(work)
    assert (api.asked, rows(work, MARKED)) == ([], [])


def test_what_the_list_shows_again_is_unmarked_and_told(full_sync: MakeWork):
    work = full_sync(CAMPAIGNS, ScriptedApi(), [1, 2, 3], marked=[2, 3], seen=[1, 2])
    end(work)
    assert rows(work, MARKED) == [3]
    assert work.result.notes[-1] == "1 records that were gone are back"


def test_the_end_of_the_full_sync_and_the_marks_are_saved_together(full_sync: MakeWork):
    work = full_sync(CAMPAIGNS, ScriptedApi(known={1}), [1, 2], seen=[1])
    end(work)
    with work.connection.begin():
        stands = cursors.load(work.connection, work.credential_id, "campaigns")
    assert (stands.full_started_at, stands.full_continue_from, stands.continue_from) == (None, None, "t0")
    assert stands.last_full_at is not None
    assert stands.complete_through == work.result.began_at
    assert rows(work, "SELECT st_id FROM seen_ids") == []
    assert rows(work, "SELECT records_deleted FROM sync_log_entities") == [1]


def test_a_lease_that_was_lost_marks_nothing_and_the_full_sync_has_not_ended(full_sync: MakeWork):
    work = full_sync(CAMPAIGNS, ScriptedApi(known={1}), [1, 2], seen=[1])
    with work.connection.begin():
        work.connection.execute(text("DELETE FROM tenant_leases"))
    with pytest.raises(LeaseLost):
        end(work)
    assert rows(work, MARKED) == []
    assert rows(work, "SELECT full_continue_from FROM sync_cursors") == ["f1"]
    assert rows(work, "SELECT st_id FROM seen_ids") == [1]


def test_what_the_guard_refuses_marks_nothing_and_ends_the_full_sync_without_a_date(full_sync: MakeWork):
    """The next one begins anew: it must not go on with what this one saw."""
    api = ScriptedApi(known=set())
    work = full_sync(CAMPAIGNS, api, range(1, 21), seen=range(1, 10))
    with pytest.raises(DeletionRefused, match="11 of 20 rows are gone at the source, more than the 20%"):
        end(work)
    assert (api.asked, rows(work, MARKED), rows(work, "SELECT st_id FROM seen_ids")) == ([], [], [])
    assert rows(work, "SELECT full_started_at FROM sync_cursors") == [None]
    assert rows(work, "SELECT last_full_at FROM sync_cursors") == [None]


def test_a_person_s_word_lets_them_all_be_marked(full_sync: MakeWork):
    work = full_sync(CAMPAIGNS, ScriptedApi(known=set()), range(1, 21), seen=range(1, 10))
    work.allow_deletions = True
    end(work)
    assert rows(work, MARKED) == list(range(10, 21))


def test_what_chunks_marked_before_counts_for_the_guard_and_what_they_withheld_is_among_the_candidates(
    full_sync: MakeWork,
):
    """Ten rows may be marked whatever their share: nine candidates pass alone, and not after two marks of chunks."""
    work = full_sync(CAMPAIGNS, ScriptedApi(known=set()), range(1, 21), seen=range(1, 12))
    work.result.withheld = 9
    end(work)
    assert len(rows(work, MARKED)) == 9
    work = full_sync(CAMPAIGNS, ScriptedApi(known=set()), range(21, 41), seen=[*range(1, 12), *range(21, 32)])
    work.result.counts.deleted = 2
    with pytest.raises(DeletionRefused):
        end(work)


def test_of_a_feed_the_inactive_are_looked_up_and_the_list_s_total_says_that_nobody_else_is_gone(full_sync: MakeWork):
    api = ScriptedApi(known={1, 2}, total=2)
    work = full_sync(CUSTOMERS, api, [1, 2, 3])
    write_batch(Reading(work), Batch([record(st_id, active=False, name="left") for st_id in (2, 3)]))
    end(work)
    assert (api.asked, rows(work, MARKED)) == (["ids 2,3", "total"], [3])


def test_what_was_marked_before_and_is_still_unknown_is_not_subtracted_twice(full_sync: MakeWork):
    """Its mark stands, so the total agrees and the list need not be read."""
    api = ScriptedApi(known={1, 2}, total=2)
    work = full_sync(CUSTOMERS, api, [1, 2, 3], marked=[3])
    write_batch(Reading(work), Batch([record(3, active=False)]))
    end(work)
    assert (api.asked, rows(work, MARKED), work.result.counts.deleted) == (["ids 3", "total"], [3], 0)


def test_a_total_that_differs_lets_the_list_be_read_for_its_ids(full_sync: MakeWork):
    """Customer 3 is gone without a word in the feed."""
    api = ScriptedApi(pages=[[row(1), row(2)]])
    work = full_sync(CUSTOMERS, api, [1, 2, 3])
    end(work)
    assert (api.asked, rows(work, MARKED)) == (["total", "list 1", "ids 3"], [3])
    assert work.result.notes[-1] == "the list shows 2 records, 3 are held: the list was read for its ids"
