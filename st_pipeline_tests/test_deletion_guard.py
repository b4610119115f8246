"""Deletions on a large scale: a slip at the source must not empty a table, and a person's word must let it through."""

import pytest

from st_pipeline.errors import DeletionRefused
from st_pipeline_tests.acme import Acme

MARKED = "SELECT st_id FROM st_customers WHERE deleted_at IS NOT NULL ORDER BY 1"


def _delete(acme: Acme, number: int) -> list[int]:
    """So many customers that nobody else stands for: a merged one is gone in another sense."""
    query = "SELECT st_id FROM st_customers WHERE deleted_at IS NULL AND active ORDER BY 1 LIMIT :number"
    gone = [st_id for (st_id,) in acme.rows(query, number=number)]
    for st_id in gone:
        acme.source.delete("customers", st_id)
    return gone


def test_more_deletions_than_the_guard_allows_mark_nothing_until_a_person_says_so(acme: Acme):
    acme.sync()
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
    assert acme.sync(incremental_only=False, allow_deletions=True).success
    assert acme.rows(MARKED) == sorted([*before, *((st_id,) for st_id in gone)])
    assert acme.differences() == []


@pytest.mark.parametrize(("number", "passes"), [(10, True), (11, False)])
def test_ten_rows_pass_whatever_their_share_and_an_eleventh_does_not(acme: Acme, number: int, passes: bool):
    """Of few rows a share says little: three of eight membership types may well be deleted."""
    acme.settings = acme.settings.model_copy(update={"deletion_guard_share": 0.0})
    acme.sync()
    before = len(acme.rows(MARKED))
    _delete(acme, number)
    assert acme.sync(incremental_only=False, only=("customers",)).success is passes
    assert len(acme.rows(MARKED)) - before == (number if passes else 0)


def test_a_list_that_shows_nothing_at_all_marks_nothing(acme: Acme):
    """The worst slip: an empty answer with status 200. Everything would be gone."""
    acme.sync()
    before = acme.rows(MARKED)
    _delete(acme, len(acme.source.ids("customers")))
    assert acme.sync(incremental_only=False, only=("customers",)).success is False
    assert acme.rows(MARKED) == before
