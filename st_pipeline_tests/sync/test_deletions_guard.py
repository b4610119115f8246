"""Deletions on a large scale: a slip at the source must not empty a table, and a person's word must let it through."""

import pytest

from st_pipeline.errors import DeletionRefused
from st_pipeline.protocol import Mode
from st_pipeline_tests.acme import Acme

MARKED = "SELECT st_id FROM st_customers WHERE deleted_at IS NOT NULL ORDER BY 1"

WITH_ONE_THAT_NEEDS_IT = ("customers", "jobs")


def _differences(acme: Acme) -> list[str]:
    """What differs between the customers we hold and the source's."""
    return [one for one in acme.differences() if one.startswith("customers:")]


def _delete(acme: Acme, number: int, entity: str = "customers") -> list[int]:
    """So many records that nobody else stands for: a merged customer is gone in another sense."""
    gone = [st_id for st_id in acme.source.ids(entity) if acme.source.record(entity, st_id)["active"]]
    gone = gone[:number]
    for st_id in gone:
        acme.source.delete(entity, st_id)
    return gone


def test_more_deletions_than_the_guard_allows_mark_nothing_until_a_person_says_so(synced_acme: Acme):
    acme = synced_acme
    before = acme.rows(MARKED)
    gone = _delete(acme, 20)
    refused = acme.sync(incremental_only=False, only=("customers",))
    (outcome,) = refused.outcomes
    assert isinstance(outcome.error, DeletionRefused)
    assert outcome.message is not None
    for words in ("full sync of customers for tenant acme", "20 of ", "20%", "none was marked", "allows deletions"):
        assert words in outcome.message
    assert acme.rows(MARKED) == before
    assert acme.rows("SELECT * FROM seen_ids") == []
    assert acme.value("SELECT full_started_at FROM sync_cursors WHERE entity = 'customers'") is None
    assert acme.sync(incremental_only=False, only=("customers",)).success is False  # and so until then
    assert acme.sync(incremental_only=False, only=("customers",), allow_deletions=True).success
    assert acme.rows(MARKED) == sorted([*before, *((st_id,) for st_id in gone)])
    assert _differences(acme) == []


@pytest.mark.parametrize(("number", "passes"), [(10, True), (11, False)])
def test_ten_rows_pass_whatever_their_share_and_an_eleventh_does_not(acme: Acme, number: int, passes: bool):
    """Of few rows a share says little: three of eight membership types may well be deleted."""
    acme.settings = acme.settings.model_copy(update={"deletion_guard_share": 0.0})
    acme.sync(only=("customers",))
    before = len(acme.rows(MARKED))
    _delete(acme, number)
    assert acme.sync(incremental_only=False, only=("customers",)).success is passes
    assert len(acme.rows(MARKED)) - before == (number if passes else 0)


def test_a_list_that_shows_nothing_at_all_marks_nothing(acme: Acme):
    """The worst slip: an empty answer with status 200. Everything would be gone."""
    acme.sync(only=("customers",))
    before = acme.rows(MARKED)
    _delete(acme, len(acme.source.ids("customers")))
    assert acme.sync(incremental_only=False, only=("customers",)).success is False
    assert acme.rows(MARKED) == before


def test_a_first_sync_marks_what_was_deleted_before_it_whatever_its_share(acme: Acme):
    """Nothing of ours can be lost yet. Refused, it would be tried again by every poll, with all that waits for it."""
    gone = _delete(acme, 12)
    first = acme.sync(only=WITH_ONE_THAT_NEEDS_IT)
    assert first.errors == []
    assert {(st_id,) for st_id in gone} <= set(acme.rows(MARKED))
    assert _differences(acme) == []
    second = acme.sync(sync_type="scheduled", only=WITH_ONE_THAT_NEEDS_IT)
    assert {outcome.result.mode for outcome in second.outcomes} == {Mode.INCREMENTAL}


def test_a_first_sync_that_was_cut_off_before_its_marks_marks_as_much_when_it_goes_on(acme: Acme):
    gone = _delete(acme, 12)
    acme.source.fault("status", status=502, entity="customers", path=acme.list_path("customers"), after_requests=1)
    assert len(acme.sync(only=("customers",)).errors) == 1
    acme.source.clear_faults()
    assert acme.sync(only=("customers",)).counts.deleted >= len(gone)
    assert _differences(acme) == []


def test_after_a_refusal_polls_stay_incremental_and_what_needs_the_entity_is_synced(acme: Acme):
    """The records are all there; only marks are missing."""
    acme.sync(only=WITH_ONE_THAT_NEEDS_IT)
    _delete(acme, 20)
    refused = acme.sync(incremental_only=False, only=WITH_ONE_THAT_NEEDS_IT)
    assert [type(outcome.error) for outcome in refused.outcomes] == [DeletionRefused, type(None)]
    acme.source.requests(reset=True)
    poll = acme.sync(sync_type="scheduled", only=WITH_ONE_THAT_NEEDS_IT)
    assert poll.errors == []
    assert acme.source.requests()["by_operation"].get("customers.list", 0) == 0


def test_a_read_counts_as_complete_when_its_deletions_are_settled_and_not_before(acme: Acme):
    """Else who waits for `complete_through` reads rows that are gone, and a retry believes that it was done."""
    acme.sync(only=("customers",))
    known = "SELECT complete_through FROM sync_cursors WHERE entity = 'customers'"
    before = acme.value(known)
    _delete(acme, 20)
    assert acme.sync(incremental_only=False, only=("customers",)).success is False
    assert acme.value(known) == before
    acme.source.fault("status", status=502, entity="customers", path=acme.list_path("customers"), after_requests=1)
    assert acme.sync(incremental_only=False, only=("customers",), allow_deletions=True).success is False
    assert acme.value(known) == before
    acme.source.clear_faults()
    assert acme.sync(incremental_only=False, only=("customers",), allow_deletions=True).success
    assert acme.value(known) > before


@pytest.mark.parametrize("entity", ["customers", "customer_contacts"])
def test_an_incremental_sync_that_finds_too_many_gone_marks_none_and_leaves_them_to_a_full_sync(
    acme: Acme, entity: str
):
    """Told once, and no poll stands still for it: the records are written, and the feed's position moves on."""
    marked = f"SELECT st_id FROM st_{entity} WHERE deleted_at IS NOT NULL ORDER BY 1"  # noqa: S608
    acme.sync(only=(entity,))
    before = acme.rows(marked)
    gone = _delete(acme, 20, entity)
    (outcome,) = acme.sync(only=(entity,)).outcomes
    assert isinstance(outcome.error, DeletionRefused)
    for words in (f"incremental sync of {entity} for tenant acme", "20 of ", "20%", "none was marked", "full sync"):
        assert words in str(outcome.message)
    assert (acme.rows(marked), outcome.result.counts.updated) == (before, 20)
    poll = acme.sync(only=(entity,), sync_type="scheduled")
    assert (poll.errors, poll.counts.changed) == ([], 0)
    full = {"only": (entity,), "incremental_only": False}
    assert isinstance(acme.sync(**full).outcomes[0].error, DeletionRefused)
    assert acme.sync(**full, allow_deletions=True).success
    assert acme.rows(marked) == sorted([*before, *((st_id,) for st_id in gone)])


def test_an_incremental_sync_counts_what_its_chunks_mark_together(acme: Acme):
    acme.sync(only=("customers",))
    before = len(acme.rows(MARKED))
    _delete(acme, 20)
    assert acme.sync(only=("customers",), batch_size=4).success is False
    assert len(acme.rows(MARKED)) - before == 8  # a third chunk would make twelve; ten pass whatever their share


def test_records_that_are_marked_already_do_not_count_when_the_feed_repeats_them(acme: Acme):
    acme.sync(only=("customers",))
    gone = _delete(acme, 20)
    assert acme.sync(only=("customers",), incremental_only=False, allow_deletions=True).success
    for st_id in gone:
        acme.source.patch("customers", st_id, {"name": "changed after it was deleted"})
    assert acme.sync(only=("customers",)).errors == []
