"""Polls of claimed tenants: what makes one be entered, and what a tenant without news costs."""

import time

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import TenantBusy
from st_pipeline.postgres import leases
from st_pipeline.servicetitan.deadline import Deadline
from st_pipeline.servicetitan.pages import begin_feed
from st_pipeline.sync.poll_answers import LISTS
from st_pipeline.sync.polling import poll_batch
from st_pipeline.tenants.selection import FEEDS
from st_pipeline_tests.sync.polled_company import RUN, Polled


def test_a_tenant_without_news_is_asked_once_for_each_feed_and_nothing_is_written(polled: Polled):
    before = polled.written()
    poll = polled.poll()
    assert (poll.result, poll.error, poll.is_quiet, poll.all_feeds_answered) == (None, None, True, True)
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert polled.written() == before


def test_one_changed_record_enters_the_tenant_and_no_page_is_fetched_twice(polled: Polled):
    """The look's page is written; the feeds without news are not asked again, and count as complete all the same."""
    changed = polled.source.ids("customers")[0]
    polled.source.patch("customers", changed, {"name": "Changed Inc."})
    poll = polled.poll()
    assert poll.result is not None
    assert [(one.entity, one.records.updated) for one in poll.result.outcomes if one.entity in ENTITIES] == [
        ("customers", 1)
    ]
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert polled.differences() == []
    assert (poll.is_quiet, poll.all_feeds_answered) == (False, True)
    behind = "SELECT entity FROM sync_cursors WHERE complete_through < :began AND continue_from IS NOT NULL"
    assert polled.rows(behind, began=poll.claim.claimed_at) == []
    assert polled.poll().is_quiet


def test_in_the_sync_log_a_poll_began_when_it_began_to_ask(polled: Polled):
    """Not when it had found something: what a slow feed took would be missing from its time."""
    polled.source.patch("customers", polled.source.ids("customers")[0], {"name": "Changed Inc."})
    poll = polled.poll()
    begun = polled.rows(
        "SELECT started_at, completed_at - duration_seconds * interval '1 s' FROM servicetitan_sync_logs "
        "WHERE sync_type = 'scheduled'"
    )
    assert [started_at for started_at, _ in begun] == [poll.claim.claimed_at]
    assert abs((begun[0][1] - poll.claim.claimed_at).total_seconds()) < 0.1


def test_a_feed_of_several_pages_goes_on_after_the_one_that_was_looked_at(polled: Polled):
    polled.source.settings(export_page_size=5)
    for invoice in polled.source.ids("invoices"):
        polled.source.patch("invoices", invoice, {"summary": "changed"})
    poll = polled.poll()
    assert poll.result is not None
    assert poll.result.counts.updated == len(polled.source.ids("invoices"))
    assert polled.asked()["invoices.export"] == len(polled.source.ids("invoices")) / 5
    assert polled.differences() == []


def test_records_that_a_feed_repeats_are_no_news(polled: Polled):
    polled.source.patch("customers", polled.source.ids("customers")[0], {"name": "Changed Inc."})
    assert not polled.poll().is_quiet
    feed = polled.settings.model_copy(update={"max_attempts": 1})
    with polled.syncing() as sync:
        start = polled.value("SELECT continue_from FROM sync_cursors WHERE entity = 'customers'")
        repeated = begin_feed(sync.client, ENTITIES["customers"], start=start)
    assert len(repeated.first.records) > 0, feed
    assert polled.poll().is_quiet


def test_a_deleted_record_enters_the_tenant_and_is_looked_up(polled: Polled):
    gone = polled.source.ids("jobs")[0]
    polled.source.delete("jobs", gone)
    poll = polled.poll()
    assert poll.result is not None
    assert polled.value("SELECT deleted_at IS NOT NULL FROM st_jobs WHERE st_id = :id", id=gone)
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS} | {"jobs.list": 1}


REASONS_TO_ENTER = {
    "a stream's record waits": "INSERT INTO stream_pending (credential_id, stream, key) "
    "SELECT credential_id, 'invoices_stream', min(st_id) FROM st_invoices GROUP BY 1",
    "another Intacct id": "UPDATE companies SET intacct_id = 'INT-OTHER'",
    "another trade": "UPDATE companies SET trade = 'plumbing'",
    "another version of the mapping": "UPDATE stream_owners SET version = version - 1",
    "a stream that was never built": "UPDATE sync_cursors SET last_full_at = NULL WHERE entity = 'members_stream'",
    "a stream that failed": "UPDATE sync_cursors SET last_failed_at = now() WHERE entity = 'members_stream'",
    "a sync that was cut off": "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, "
    "data_type) SELECT id, gen_random_uuid(), 'scheduled', 'incremental', 'all' FROM servicetitan_credentials",
    "an entity that failed": "UPDATE sync_cursors SET last_failed_at = now() WHERE entity = 'jobs'",
    "a feed without a token": "UPDATE sync_cursors SET continue_from = NULL WHERE entity = 'jobs'",
    "a connection of which something is said": "UPDATE servicetitan_credentials SET connection_message = 'an outage?', "
    "last_tested_at = now()",
    "a refusal that was not the last word": "UPDATE servicetitan_credentials SET refused_since = now()",
}


@pytest.mark.parametrize("reason", REASONS_TO_ENTER)
def test_a_tenant_is_entered_without_news_of_its_feeds_for(polled: Polled, reason: str):
    assert polled.execute(REASONS_TO_ENTER[reason])
    poll = polled.poll()
    assert poll.error is None
    assert poll.result is not None
    assert poll.result.errors == []
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert polled.differences() == []
    again = polled.poll(polled_at=f"'{poll.claim.claimed_at.isoformat()}'")
    assert again.result is None, "once is enough"


def test_a_refused_token_enters_the_tenant_and_its_feed_starts_again_from_a_time(polled: Polled):
    polled.execute("UPDATE sync_cursors SET continue_from = 'of-another-tenant' WHERE entity = 'invoices'")
    polled.source.patch("invoices", polled.source.ids("invoices")[0], {"summary": "changed"})
    poll = polled.poll()
    assert poll.result is not None
    assert "token was refused" in poll.result.outcomes[0].result.notes[0]
    assert (polled.differences(), poll.all_feeds_answered) == ([], True)


def test_lists_without_a_feed_are_asked_once_an_hour_and_entered_only_if_they_differ(polled: Polled):
    polled.execute("UPDATE sync_cursors SET last_polled_at = now() - interval '61 minutes'")
    before = polled.written()
    quiet = polled.poll(hourly_at="now() - interval '61 minutes'")
    lists = [part for name in LISTS for part in ENTITIES[name].read_as]
    assert len([name for name in polled.asked() if name.endswith(".list")]) == len(lists)
    assert (quiet.result, quiet.hourly_at, polled.written()) == (None, quiet.claim.claimed_at, before)
    reason = polled.source.ids("call_reasons")[0]
    polled.source.patch("call_reasons", reason, {"name": "Changed"})
    assert polled.poll(hourly_at="now() - interval '59 minutes'").result is None
    entered = polled.poll(hourly_at="now() - interval '61 minutes'")
    assert entered.result is not None
    assert [one.entity for one in entered.result.outcomes if one.entity in ENTITIES] == ["call_reasons"]
    assert polled.asked()["call_reasons.list"] == 1
    assert entered.hourly_at == entered.claim.claimed_at
    assert polled.differences() == []


def test_a_look_does_not_count_once_another_sync_has_moved_the_cursor(polled: Polled):
    """Its page would take back what the other sync wrote, and its token what that one has read."""
    invoice = polled.source.ids("invoices")[0]
    polled.source.patch("invoices", invoice, {"summary": "first"})
    look = polled.look()
    polled.source.patch("invoices", invoice, {"summary": "second"})
    assert polled.sync().success
    polled.source.patch("invoices", invoice, {"summary": "third"})
    polled.source.requests(reset=True)
    sync = polled.enter(look)
    assert sync.result.unchanged == set()
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert polled.value("SELECT summary FROM st_invoices WHERE st_id = :id", id=invoice) == "third"
    assert polled.differences() == []


def test_a_look_that_is_lost_loses_nothing(polled: Polled):
    """As when its process is killed before the tenant is entered."""
    before = polled.written()
    polled.source.patch("invoices", polled.source.ids("invoices")[0], {"summary": "changed"})
    assert polled.look().has_news
    assert polled.written() == before
    assert polled.poll().all_feeds_answered
    assert polled.differences() == []


def test_a_busy_tenant_is_not_asked(polled: Polled):
    with polled.engine.connect() as other:
        with other.begin():
            of = polled.value("SELECT id FROM servicetitan_credentials")
            lease = leases.take(other, of, "acme", "a full sync", 60)
        poll = polled.poll()
        assert isinstance(poll.error, TenantBusy)
        assert "a full sync" in str(poll.error)
        assert polled.asked() == {}
        assert lease is not None
        with other.begin():
            lease.release(other)
    assert polled.poll().is_quiet


def test_a_tenant_that_became_busy_after_the_look_is_left_to_the_next_poll(polled: Polled):
    polled.source.patch("invoices", polled.source.ids("invoices")[0], {"summary": "changed"})
    look, before = polled.look(), polled.written()
    with polled.syncing(), pytest.raises(TenantBusy):
        polled.enter(look)
    assert polled.poll().result is not None
    assert polled.differences() == []
    assert before


def test_what_was_never_read_to_its_end_is_not_asked_and_says_nothing_of_the_others(polled: Polled):
    polled.execute("UPDATE sync_cursors SET last_full_at = NULL, complete_through = NULL WHERE entity = 'equipment'")
    poll = polled.poll()
    assert (poll.result, poll.all_feeds_answered) == (None, True)
    assert polled.asked() == {f"{name}.export": 1 for name in FEEDS if name != "equipment"}


def test_after_the_deadline_no_tenant_is_begun(polled: Polled):
    polled.source.requests(reset=True)
    assert list(poll_batch(polled.engine, polled.settings, [polled.claim()], run_id=RUN, deadline=Deadline(0.0))) == []
    assert polled.asked() == {}


def test_a_tenant_whose_feed_hangs_ends_with_its_budget_and_what_came_before_is_written(polled: Polled):
    """Otherwise one feed that hangs would use up every poll, and the others would never be written."""
    polled.source.patch("customers", polled.source.ids("customers")[0], {"name": "Changed Inc."})
    polled.settings = polled.settings.model_copy(update={"poll_tenant_seconds": 1.5})
    polled.source.fault("slow", seconds=30, entity="jobs")
    started = time.monotonic()
    poll = polled.poll()
    assert time.monotonic() - started < 10
    assert (poll.spent_budget, poll.all_feeds_answered) == (True, False)
    assert polled.value("SELECT count(*) FROM st_customers WHERE name = 'Changed Inc.'") == 1
    assert polled.asked()["jobs.export"] == 1
    assert "appointments.export" not in polled.asked()
    assert polled.value("SELECT count(*) FROM sync_cursors WHERE last_failed_at IS NOT NULL") == 1
    assert polled.value("SELECT last_failed_at IS NOT NULL FROM sync_cursors WHERE entity = 'jobs'")
    polled.source.clear_faults()
    polled.settings = polled.settings.model_copy(update={"poll_tenant_seconds": 60})
    assert polled.poll().all_feeds_answered
