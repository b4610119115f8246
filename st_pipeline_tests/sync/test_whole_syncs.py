"""Whole syncs against the simulator: whatever happens on the way, the tables end equal to the source.

What every connector is probed with stands in test_probes.py, deletions in test_deletions_guard.py, kills in kill_lab/.
"""

from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import LeaseLost
from st_pipeline.protocol import Counts
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.diagnosis import test_credentials
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.entities.shapes import examples

POSITIONS = "SELECT entity, continue_from, newest_modified_on, full_continue_from, full_started_at, last_full_at, "
POSITIONS += "last_polled_at, complete_through FROM sync_cursors WHERE newest_modified_on IS NOT NULL ORDER BY entity"
EXAMPLES = tuple(examples().values())
MESSAGE = "SELECT connection_message FROM servicetitan_credentials"
SCOPES = {scope for spec in ENTITIES.values() for scope in spec.scopes}

FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "15 % of answers are an HTML 502": ("status", {"status": 502, "body": "html", "probability": 0.15}),
    "15 % of answers are a page of HTML": ("html_200", {"probability": 0.15}),
    "15 % of connections break": ("drop_connection", {"probability": 0.15}),
    "rows change between two pages": ("row_changes_between_pages", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("entities", [EXAMPLES, pytest.param((), marks=pytest.mark.lab)], ids=["of each shape", "all"])
def test_a_sync_ends_right_without_help_when(acme: Acme, fault: str, entities: tuple[str, ...]):
    kind, rule = FAULTS[fault]
    acme.source.fault(kind, **rule)
    assert acme.sync(only=entities, incremental_only=False).success
    acme.source.advance(created=5, changed=20, deleted=3, merged=1)
    assert acme.sync(only=entities).success
    acme.source.clear_faults()
    assert acme.sync(only=entities).success
    assert acme.differences(*entities) == []


def test_an_incremental_sync_reads_only_what_changed_and_marks_what_is_gone(synced_acme: Acme):
    acme = synced_acme
    done = acme.source.advance(created=3, deleted=2)
    second = acme.sync()
    assert 0 < second.counts.processed < 90
    assert second.counts.deleted == sum(len(actions.get("deleted", ())) for actions in done.values()) >= 2
    assert acme.differences() == []
    third = acme.sync()
    assert (third.counts.created, third.counts.updated, third.counts.deleted) == (0, 0, 0)


def test_a_full_sync_over_unchanged_data_writes_nothing(synced_acme: Acme):
    acme = synced_acme
    counts = acme.sync(incremental_only=False).counts
    assert counts.unchanged == counts.processed > 200
    assert acme.sync(incremental_only=False, rewrite=True).counts.updated == counts.processed


def test_postgres_connections_that_are_cut_fail_the_sync_and_the_next_one_mends_it(acme: Acme):
    process = acme.start_process("full")
    acme.wait_until(process, "SELECT sum(records_processed) FROM sync_log_entities", 60)
    acme.end_the_session_that_syncs()
    assert process.wait(60) == 1
    assert acme.sync(incremental_only=False).success
    assert acme.differences() == []


def test_a_missing_scope_stays_in_the_connection_s_message_until_what_lacks_it_is_read(synced_acme: Acme):
    """The other entities' success says nothing about invoices."""
    acme = synced_acme

    def grant(scopes: set[str]) -> None:
        acme.source.change(scopes=sorted(scopes))
        acme.execute("UPDATE servicetitan_credentials SET access_token = NULL")  # a token keeps the scopes it came with

    grant(SCOPES - {"tn.acc.invoices:r"})
    said = test_credentials("acme", settings=acme.settings, engine=acme.engine).message
    assert said.startswith("Scopes are missing for custom_fields_invoices, invoices")
    acme.sync(only=("tag_types", "invoices"))
    assert acme.value(MESSAGE) == said
    grant(SCOPES)
    assert acme.sync().errors == []
    assert acme.value(MESSAGE) is None
    grant(SCOPES - {"tn.acc.invoices:r"})
    acme.sync(only=("tag_types", "invoices"))
    assert "lacks scope tn.acc.invoices:r" in acme.value(MESSAGE)


def test_a_run_whose_lease_was_taken_over_writes_nothing_more_and_the_other_goes_on(acme: Acme):
    """As after a machine that slept: its lease ran out, another run has the tenant, and then it wakes up."""
    with ExitStack() as stack, acme.syncing() as first:
        taken: list[TenantSync] = []

        def take_over(_entity: str, counts: Counts) -> None:
            if not taken and counts.processed > 25:
                acme.execute("UPDATE tenant_leases SET expires_at = now() - interval '1 second'")
                taken.append(stack.enter_context(acme.syncing()))

        first.after_chunk = take_over
        lost = next(outcome for outcome in first.entities() if taken)
        assert isinstance(lost.error, LeaseLost)
        assert lost.result.counts.created == acme.value(f"SELECT count(*) FROM st_{lost.entity}") > 0  # noqa: S608
        (other,) = taken
        before = acme.typed_rows(), acme.rows(POSITIONS)
        assert {type(one.error) for one in first.entities()} == {LeaseLost}
        assert "another run took the tenant over" in first.result.errors[-1]
        assert (acme.typed_rows(), acme.rows(POSITIONS)) == before
        assert [one.error for one in other.entities()] == [None] * len(SYNCED)
    assert acme.differences() == []
    assert acme.rows("SELECT status FROM servicetitan_sync_logs ORDER BY id") == [("failed",), ("completed",)]
    assert acme.rows("SELECT holder FROM tenant_leases") == []


def test_a_feed_token_that_is_refused_is_replaced_by_a_date_that_overlaps_and_the_log_says_so(synced_acme: Acme):
    acme = synced_acme
    newest = acme.value("SELECT newest_modified_on FROM sync_cursors WHERE entity = 'invoices'")
    overlap = timedelta(minutes=acme.settings.lookback_minutes)
    acme.source.advance(changed={"invoices": 7})
    acme.source.fault("reject_export_token", entity="invoices", times=1)
    result = acme.sync()
    assert result.success
    (note,) = acme.value("SELECT details -> 'notes' -> 'invoices' FROM servicetitan_sync_logs ORDER BY id DESC")
    said, _, start = note.rpartition(" ")
    assert said == "the stored feed token was refused; read again from"
    before_newest = datetime.fromisoformat(newest[:26] + "Z") - datetime.fromisoformat(start)
    assert overlap <= before_newest < overlap + timedelta(seconds=1)
    assert acme.differences() == []
    acme.source.requests(reset=True)
    assert acme.sync(data_type="invoices").success
    assert acme.source.requests()["by_operation"]["invoices.export"] == 1  # the new token is the one that is stored


def test_a_window_reads_its_range_and_moves_no_position_and_marks_nothing(synced_acme: Acme):
    acme = synced_acme
    positions = acme.rows(POSITIONS)
    marked = "SELECT count(*) FROM st_invoices WHERE deleted_at IS NOT NULL"
    inside, outside, *others = sorted(acme.source.ids("invoices"))
    marked_before = acme.value(marked)
    acme.source.patch("invoices", inside, {"summary": "seen", "modifiedOn": "2031-05-01T00:00:00Z"})
    acme.source.patch("invoices", outside, {"summary": "seen", "modifiedOn": "2031-05-02T00:00:00Z"})
    for one in others[:3]:
        acme.source.delete("invoices", one)
    start = datetime.fromisoformat("2031-05-01T00:00:00Z")
    result = acme.sync(modified_from=start, modified_to=start + timedelta(days=1))
    assert result.success
    assert acme.rows("SELECT st_id FROM st_invoices WHERE summary = 'seen'") == [(inside,)]
    assert acme.rows(POSITIONS) == positions
    assert acme.value(marked) == marked_before
    assert acme.sync().success
    assert acme.differences() == []


@pytest.mark.parametrize("moment", ["2199-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"])
def test_a_record_dated_in_the_future_hides_nothing_that_changes_after_it(acme: Acme, moment: str):
    """A list is read from the newest time seen. One wrong date there would end its increments for ever."""
    both = ("membership_types", "tag_types")  # a list and a feed
    for entity in both:
        acme.source.patch(entity, acme.source.ids(entity)[0], {"modifiedOn": moment})
    assert acme.sync(only=both).success
    assert acme.value("SELECT max(modified_on)::text FROM st_tag_types") == f"{moment[:4]}-12-31 23:59:59.999999+00"
    acme.source.advance(changed={"membership_types": 3})
    late = acme.source.ids("membership_types")[-1]
    acme.source.patch("membership_types", late, {"name": "changed later"})
    assert acme.sync(only=both).success
    assert acme.value("SELECT name FROM st_membership_types WHERE st_id = :id", id=late) == "changed later"


def test_records_that_all_carry_the_date_of_no_date_are_synced_again_and_again(acme: Acme):
    """.NET writes an unset date as year 1, and there is no hour before it to look back to."""
    for one in acme.source.ids("membership_types"):
        acme.source.patch("membership_types", one, {"modifiedOn": "0001-01-01T00:00:00Z"})
    for _ in range(2):
        assert acme.sync(only=("membership_types",)).success
    assert acme.value("SELECT count(*) FROM st_membership_types") == len(acme.source.ids("membership_types"))
