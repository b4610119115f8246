"""Polls of claimed tenants: what makes one be entered, and what a tenant without news costs."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError, TenantBusy
from st_pipeline.postgres import cursors, leases, poll_claims
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.servicetitan.pages import begin_feed
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.look import Look, look_at
from st_pipeline.sync.poll_policy import plan
from st_pipeline.sync.polling import LISTS, POLL, TenantPoll, by_tenant, poll_batch
from st_pipeline.sync.stream_owner import stream_owners
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.poll_tenants import load_poll_tenants
from st_pipeline.tenants.selection import FEEDS
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.onboarding import SyncedCompany, onboard

RUN = uuid.UUID(int=7)
SIZES = {"customers": 12, "invoices": 20, "settings": {"rate_limit_per_second": None}}
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


@dataclass
class Polled(Acme):
    """A synced company whose polls a test makes."""

    def claim(self, **changes: Any) -> Claim:
        """Its claim, as a worker would have it."""
        self.execute(
            "INSERT INTO tenant_polls (credential_id, due_at, tokens_saved_at, hourly_at) "
            "SELECT id, now(), now(), now() FROM servicetitan_credentials "
            "ON CONFLICT (credential_id) DO UPDATE SET due_at = now(), claimed_until = NULL, claimed_by = NULL"
        )
        for name, value in changes.items():
            self.execute(f"UPDATE tenant_polls SET {name} = {value}")  # noqa: S608 - of the test itself
        with self.engine.begin() as connection:
            (claim,) = poll_claims.claim(connection, run_id=RUN, limit=5, budget_seconds=60)
        return claim

    def poll(self, deadline: Deadline = NO_DEADLINE, **changes: Any) -> TenantPoll:
        """One poll of it."""
        self.source.requests(reset=True)
        (poll,) = poll_batch(self.engine, self.settings, [self.claim(**changes)], run_id=RUN, deadline=deadline)
        return poll

    def asked(self) -> dict[str, int]:
        """How often each feed and list was asked since the poll began."""
        by_operation: dict[str, int] = self.source.requests()["by_operation"]
        return by_operation

    def written(self) -> dict[str, str]:
        """The rows and the newest transaction of each table but tenant_polls: any write shows."""
        return {
            name: str(self.rows(f"SELECT count(*), max(CAST(CAST(xmin AS text) AS bigint)) FROM {name}"))  # noqa: S608
            for (name,) in self.rows(TABLES)
            if name != "tenant_polls"
        }

    def look(self) -> Look:
        """A look at it, as a poll begins with one."""
        claim = self.claim()
        of = claim.credential_id
        with self.engine.begin() as connection:
            known = load_poll_tenants(connection, self.settings, [of])[of]
            held, owners = by_tenant(cursors.load_all(connection, [of])), by_tenant(stream_owners(connection, [of]))
        assert known.authentication is not None
        client = ServiceTitanClient(known.authentication, self.settings)
        entities = plan(POLL, self.settings, held[of], first_loads=False, lists_polled_at=claim.hourly_at)
        look = Look("acme", of, client, NO_DEADLINE, entities, held[of], owners[of], claim.claimed_at)
        look_at(look, self.engine)
        return look

    def enter(self, look: Look) -> TenantSync:
        """The sync that follows a look."""
        sync = TenantSync(self.engine, self.settings, "acme", POLL, sync_id=RUN, first_loads=False, look=look)
        with sync:
            for _ in sync.entities():
                pass
        return sync


@pytest.fixture
def acme(synced_company: Callable[..., SyncedCompany]) -> Iterator[Polled]:
    """A company after its first sync."""
    with synced_company(**SIZES).copied() as (source, settings, engine):
        changes = {"rate_limit": Rate(1000, 1), "poll_threads": 2, "max_attempts": 2}
        yield Polled(source, settings.model_copy(update=changes), engine)
        source.clear_faults()


def test_a_tenant_without_news_is_asked_once_for_each_feed_and_nothing_is_written(acme: Polled):
    before = acme.written()
    poll = acme.poll()
    assert (poll.result, poll.error, poll.is_quiet, poll.all_feeds_answered) == (None, None, True, True)
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert acme.written() == before


def test_one_changed_record_enters_the_tenant_and_no_page_is_fetched_twice(acme: Polled):
    """The look's page is written; the feeds without news are not asked again, and count as complete all the same."""
    changed = acme.source.ids("customers")[0]
    acme.source.patch("customers", changed, {"name": "Changed Inc."})
    poll = acme.poll()
    assert poll.result is not None
    assert [(one.entity, one.records.updated) for one in poll.result.outcomes if one.entity in ENTITIES] == [
        ("customers", 1)
    ]
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert acme.differences() == []
    assert (poll.is_quiet, poll.all_feeds_answered) == (False, True)
    behind = "SELECT entity FROM sync_cursors WHERE complete_through < :began AND continue_from IS NOT NULL"
    assert acme.rows(behind, began=poll.claim.claimed_at) == []
    assert acme.poll().is_quiet


def test_a_feed_of_several_pages_goes_on_after_the_one_that_was_looked_at(acme: Polled):
    acme.source.settings(export_page_size=5)
    for invoice in acme.source.ids("invoices"):
        acme.source.patch("invoices", invoice, {"summary": "changed"})
    poll = acme.poll()
    assert poll.result is not None
    assert poll.result.counts.updated == len(acme.source.ids("invoices"))
    assert acme.asked()["invoices.export"] == len(acme.source.ids("invoices")) / 5
    assert acme.differences() == []


def test_records_that_a_feed_repeats_are_no_news(acme: Polled):
    acme.source.patch("customers", acme.source.ids("customers")[0], {"name": "Changed Inc."})
    assert not acme.poll().is_quiet
    feed = acme.settings.model_copy(update={"max_attempts": 1})
    with acme.syncing() as sync:
        start = acme.value("SELECT continue_from FROM sync_cursors WHERE entity = 'customers'")
        repeated = begin_feed(sync.client, ENTITIES["customers"], start=start)
    assert len(repeated.first.records) > 0, feed
    assert acme.poll().is_quiet


def test_a_deleted_record_enters_the_tenant_and_is_looked_up(acme: Polled):
    gone = acme.source.ids("jobs")[0]
    acme.source.delete("jobs", gone)
    poll = acme.poll()
    assert poll.result is not None
    assert acme.value("SELECT deleted_at IS NOT NULL FROM st_jobs WHERE st_id = :id", id=gone)
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS} | {"jobs.list": 1}


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
def test_a_tenant_is_entered_without_news_of_its_feeds_for(acme: Polled, reason: str):
    assert acme.execute(REASONS_TO_ENTER[reason])
    poll = acme.poll()
    assert poll.error is None
    assert poll.result is not None
    assert poll.result.errors == []
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert acme.differences() == []
    again = acme.poll(polled_at=f"'{poll.claim.claimed_at.isoformat()}'")
    assert again.result is None, "once is enough"


def test_a_refused_token_enters_the_tenant_and_its_feed_starts_again_from_a_time(acme: Polled):
    acme.execute("UPDATE sync_cursors SET continue_from = 'of-another-tenant' WHERE entity = 'invoices'")
    acme.source.patch("invoices", acme.source.ids("invoices")[0], {"summary": "changed"})
    poll = acme.poll()
    assert poll.result is not None
    assert "token was refused" in poll.result.outcomes[0].result.notes[0]
    assert (acme.differences(), poll.all_feeds_answered) == ([], True)


def test_lists_without_a_feed_are_asked_once_an_hour_and_entered_only_if_they_differ(acme: Polled):
    acme.execute("UPDATE sync_cursors SET last_polled_at = now() - interval '61 minutes'")
    before = acme.written()
    quiet = acme.poll(hourly_at="now() - interval '61 minutes'")
    lists = [part for name in LISTS for part in ENTITIES[name].read_as]
    assert len([name for name in acme.asked() if name.endswith(".list")]) == len(lists)
    assert (quiet.result, quiet.hourly_at, acme.written()) == (None, quiet.claim.claimed_at, before)
    reason = acme.source.ids("call_reasons")[0]
    acme.source.patch("call_reasons", reason, {"name": "Changed"})
    assert acme.poll(hourly_at="now() - interval '59 minutes'").result is None
    entered = acme.poll(hourly_at="now() - interval '61 minutes'")
    assert entered.result is not None
    assert [one.entity for one in entered.result.outcomes if one.entity in ENTITIES] == ["call_reasons"]
    assert acme.asked()["call_reasons.list"] == 1
    assert entered.hourly_at == entered.claim.claimed_at
    assert acme.differences() == []


def test_a_look_does_not_count_once_another_sync_has_moved_the_cursor(acme: Polled):
    """Its page would take back what the other sync wrote, and its token what that one has read."""
    invoice = acme.source.ids("invoices")[0]
    acme.source.patch("invoices", invoice, {"summary": "first"})
    look = acme.look()
    acme.source.patch("invoices", invoice, {"summary": "second"})
    assert acme.sync().success
    acme.source.patch("invoices", invoice, {"summary": "third"})
    acme.source.requests(reset=True)
    sync = acme.enter(look)
    assert sync.result.unchanged == set()
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS}
    assert acme.value("SELECT summary FROM st_invoices WHERE st_id = :id", id=invoice) == "third"
    assert acme.differences() == []


def test_a_look_that_is_lost_loses_nothing(acme: Polled):
    """As when its process is killed before the tenant is entered."""
    before = acme.written()
    acme.source.patch("invoices", acme.source.ids("invoices")[0], {"summary": "changed"})
    assert acme.look().has_news
    assert acme.written() == before
    assert acme.poll().all_feeds_answered
    assert acme.differences() == []


def test_a_busy_tenant_is_not_asked(acme: Polled):
    with acme.engine.connect() as other:
        with other.begin():
            of = acme.value("SELECT id FROM servicetitan_credentials")
            lease = leases.take(other, of, "acme", "a full sync", 60)
        poll = acme.poll()
        assert isinstance(poll.error, TenantBusy)
        assert "a full sync" in str(poll.error)
        assert acme.asked() == {}
        assert lease is not None
        with other.begin():
            lease.release(other)
    assert acme.poll().is_quiet


def test_a_tenant_that_became_busy_after_the_look_is_left_to_the_next_poll(acme: Polled):
    acme.source.patch("invoices", acme.source.ids("invoices")[0], {"summary": "changed"})
    look, before = acme.look(), acme.written()
    with acme.syncing(), pytest.raises(TenantBusy):
        acme.enter(look)
    assert acme.poll().result is not None
    assert acme.differences() == []
    assert before


def test_what_was_never_read_to_its_end_is_not_asked_and_says_nothing_of_the_others(acme: Polled):
    acme.execute("UPDATE sync_cursors SET last_full_at = NULL, complete_through = NULL WHERE entity = 'equipment'")
    poll = acme.poll()
    assert (poll.result, poll.all_feeds_answered) == (None, True)
    assert acme.asked() == {f"{name}.export": 1 for name in FEEDS if name != "equipment"}


def test_after_the_deadline_no_tenant_is_begun(acme: Polled):
    acme.source.requests(reset=True)
    assert list(poll_batch(acme.engine, acme.settings, [acme.claim()], run_id=RUN, deadline=Deadline(0.0))) == []
    assert acme.asked() == {}


def test_a_tenant_whose_feed_hangs_ends_with_its_budget_and_what_came_before_is_written(acme: Polled):
    """Otherwise one feed that hangs would use up every poll, and the others would never be written."""
    acme.source.patch("customers", acme.source.ids("customers")[0], {"name": "Changed Inc."})
    acme.settings = acme.settings.model_copy(update={"poll_tenant_seconds": 1.5})
    acme.source.fault("slow", seconds=30, entity="jobs")
    started = time.monotonic()
    poll = acme.poll()
    assert time.monotonic() - started < 10
    assert (poll.spent_budget, poll.all_feeds_answered) == (True, False)
    assert acme.value("SELECT count(*) FROM st_customers WHERE name = 'Changed Inc.'") == 1
    assert acme.asked()["jobs.export"] == 1
    assert "appointments.export" not in acme.asked()
    assert acme.value("SELECT count(*) FROM sync_cursors WHERE last_failed_at IS NOT NULL") == 1
    assert acme.value("SELECT last_failed_at IS NOT NULL FROM sync_cursors WHERE entity = 'jobs'")
    acme.source.clear_faults()
    acme.settings = acme.settings.model_copy(update={"poll_tenant_seconds": 60})
    assert acme.poll().all_feeds_answered


# What the sync of a tenant makes of an error is tested where that is; here that a look leaves it to the sync.
ERRORS: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "one feed without an answer": (
        {"status": 503, "entity": "jobs"}, {"jobs": "ServiceUnavailable", "estimates": ""}, "connected"
    ),
    "a scope that is missing": ({"status": 403, "entity": "jobs"}, {"jobs": "AccessRefused"}, "connected"),
    "a proxy's page for one feed": (
        {"status": 403, "body": "html", "entity": "jobs"}, {"jobs": "UnclearRefusal"}, "connected"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_of_the_look_is_the_sync_s_and_is_not_asked_for_again(acme: Polled, case: str):
    rule, expected, status = ERRORS[case]
    acme.source.fault("status", **rule)
    poll = acme.poll()
    assert poll.result is not None
    found = {one.entity: type(one.error).__name__ for one in poll.result.outcomes if one.error is not None}
    assert {name: found.get(name, "") for name in expected} == expected
    tries = acme.settings.max_attempts if rule["status"] == 503 else 1
    assert max(acme.asked().values()) == tries
    assert poll.all_feeds_answered is False
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == status
    logged = "SELECT count(*) FROM sync_log_entities WHERE status = 'failed' AND entity = :entity"
    assert acme.value(logged, entity=next(iter(expected))) == 1
    assert [one.report for one in poll.result.outcomes if one.error is not None] == [True] * len(found)
    again = acme.poll()
    assert again.result is not None
    assert not any(one.report for one in again.result.outcomes if one.error is not None), "told once"
    acme.source.clear_faults()
    recovered = acme.poll()
    assert recovered.result is not None
    assert {one.entity for one in recovered.result.outcomes if one.report} >= {next(iter(expected))}
    assert (recovered.all_feeds_answered, acme.differences(), acme.poll().is_quiet) == (True, [], True)


def test_two_feeds_in_a_row_without_an_answer_end_the_look_and_the_sync(acme: Polled):
    acme.source.fault("status", status=503, path="/export/")
    poll = acme.poll()
    assert poll.result is not None
    assert "2 entities in a row" in str(poll.result.stopped)
    assert len(poll.result.outcomes) == len(acme.asked()) == 2


def test_a_tenant_that_refuses_everything_is_suspended(acme: Polled):
    acme.source.change(connected=False)
    poll = acme.poll()
    assert poll.result is not None
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_wrong_keys_are_tried_once_and_suspend_the_tenant(acme: Polled):
    acme.source.change(client_secret="cs.rotated")
    acme.execute("UPDATE servicetitan_credentials SET access_token = NULL")
    poll = acme.poll()
    assert poll.result is not None
    assert {type(one.error).__name__ for one in poll.result.outcomes if one.entity in FEEDS} == {"InvalidCredentials"}
    assert acme.source.requests()["total"] == 1
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_a_tenant_whose_secrets_do_not_open_says_so(acme: Polled):
    acme.execute("UPDATE servicetitan_credentials SET client_secret = client_id")
    for is_news in (True, False):
        poll = acme.poll()
        assert isinstance(poll.error, ConfigurationError)
        assert (poll.is_news, poll.all_feeds_answered) == (is_news, False)
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_a_tenant_that_was_removed_since_it_was_claimed_is_an_error_of_its_own(acme: Polled):
    claim = acme.claim()
    gone = replace(claim, credential_id=claim.credential_id + 1, partition_key="gone")
    polls = list(poll_batch(acme.engine, acme.settings, [gone, claim], run_id=RUN))
    assert {poll.claim.partition_key: type(poll.error).__name__ for poll in polls} == {
        "gone": "ConfigurationError", "acme": "NoneType",
    }  # fmt: skip


def test_an_error_that_is_not_ours_fails_its_tenant_alone(acme: Polled):
    claim = acme.claim()
    odd = replace(claim, claimed_at="no time")  # type: ignore[arg-type]
    polls = list(poll_batch(acme.engine, acme.settings, [odd, claim], run_id=RUN))
    assert {poll.claim.claimed_at: poll.message for poll in polls} == {
        "no time": "acme: unexpected TypeError; the log of the run has the place", claim.claimed_at: None,
    }  # fmt: skip


def test_the_new_tokens_of_quiet_feeds_are_saved_once_a_day(acme: Polled):
    acme.source.settings(export_token_lifetime_seconds=7 * 86400)  # then each answer has a token of its own
    assert acme.sync().success
    tokens = dict(acme.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL"))
    assert acme.poll(tokens_saved_at="now() - interval '23 hours'").tokens_saved_at is None
    assert dict(acme.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL")) == tokens
    poll = acme.poll(tokens_saved_at="now() - interval '25 hours'")
    assert (poll.result, poll.tokens_saved_at) == (None, poll.claim.claimed_at)
    renewed = dict(acme.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL"))
    assert renewed.keys() == tokens.keys()
    assert not renewed.items() & tokens.items()
    assert acme.poll().is_quiet


def test_a_token_is_not_saved_over_that_of_another_sync(acme: Polled):
    with acme.engine.begin() as connection:
        of = acme.value("SELECT id FROM servicetitan_credentials")
        cursors.save(connection, of, "jobs", continue_from="moved on")
        cursors.save_tokens(connection, of, {"jobs": ("asked with", "came")})
    assert acme.value("SELECT continue_from FROM sync_cursors WHERE entity = 'jobs'") == "moved on"


def test_completeness_follows_the_polls_that_found_nothing(acme: Polled):
    """No cursor is written by them, so the view has it from the tenant's one row."""
    acme.execute("INSERT INTO tenant_polls (credential_id, due_at) SELECT id, now() FROM servicetitan_credentials")
    known = "SELECT entity, last_complete_through FROM last_complete_through"
    before = dict(acme.rows(known))
    acme.execute("UPDATE tenant_polls SET polled_at = '2030-01-02', hourly_at = '2030-01-01'")
    after = dict(acme.rows(known))
    polled, hourly = (datetime(2030, 1, day, tzinfo=UTC) for day in (2, 1))
    feeds = dict.fromkeys(FEEDS, polled)
    assert after == dict.fromkeys(before, hourly) | feeds | {"invoices_stream": polled, "members_stream": hourly}
    acme.execute("INSERT INTO stream_pending SELECT id, 'invoices_stream', 1 FROM servicetitan_credentials")
    acme.execute("UPDATE sync_cursors SET complete_through = NULL WHERE entity = 'memberships'")
    waiting = dict(acme.rows(known))
    assert waiting["memberships"] is None, "never read to its end"
    assert {name: waiting[name] for name in ("invoices_stream", "members_stream")} == {
        name: before[name] for name in ("invoices_stream", "members_stream")
    }


def test_the_last_sync_of_a_tenant_is_its_last_poll_too(acme: Polled):
    acme.execute(
        "INSERT INTO tenant_polls (credential_id, due_at, polled_at) SELECT id, now(), '2030-01-02' "
        "FROM servicetitan_credentials"
    )
    assert acme.value("SELECT last_sync_at FROM tenants") == datetime(2030, 1, 2, tzinfo=UTC)


def test_a_tenant_that_hangs_holds_nobody_up(acme: Polled):
    other = acme.source.control.create_tenant(customers=2, invoices=2)
    settings = onboard(other, acme.settings, acme.engine, "beta")
    assert synchronize_data("beta", settings=settings, engine=acme.engine).success
    acme.execute(
        "INSERT INTO tenant_polls (credential_id, due_at, hourly_at) SELECT id, now(), now() "
        "FROM servicetitan_credentials"
    )
    with acme.engine.begin() as connection:
        claims = poll_claims.claim(connection, run_id=RUN, limit=5, budget_seconds=60)
    acme.source.fault("slow", seconds=1.5, entity="tag_types", times=1)
    order = [poll.claim.partition_key for poll in poll_batch(acme.engine, settings, claims, run_id=RUN)]
    other.remove()
    assert order == ["beta", "acme"]


def test_an_entity_that_is_off_is_not_asked_and_is_not_taken_for_complete(acme: Polled):
    """The tenant's one row speaks for all feeds, so here the cursors of those that were asked are written."""
    acme.execute("INSERT INTO tenant_schedules (credential_id, entities_off) SELECT id, '{jobs}' FROM "
                 "servicetitan_credentials")  # fmt: skip
    known = "SELECT entity, last_complete_through FROM last_complete_through"
    before = dict(acme.rows(known))
    poll = acme.poll()
    assert (poll.result, poll.error, poll.all_feeds_answered) == (None, None, False)
    assert "jobs.export" not in acme.asked()
    after = dict(acme.rows(known))
    assert after["jobs"] == before["jobs"]
    assert {name: after[name] for name in FEEDS if name != "jobs"} == dict.fromkeys(
        [name for name in FEEDS if name != "jobs"], poll.claim.claimed_at
    )
    assert after["invoices_stream"] == poll.claim.claimed_at
