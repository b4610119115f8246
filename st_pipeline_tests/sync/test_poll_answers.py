"""What polls that found nothing leave: for whom the tenant's row speaks, and feed tokens once a day."""

from datetime import UTC, datetime

from st_pipeline.postgres import cursors, poll_claims
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.polling import poll_batch
from st_pipeline.tenants.selection import FEEDS
from st_pipeline_tests.onboarding import onboard
from st_pipeline_tests.sync.polled_company import RUN, Polled


def test_the_new_tokens_of_quiet_feeds_are_saved_once_a_day(polled: Polled):
    polled.source.settings(export_token_lifetime_seconds=7 * 86400)  # then each answer has a token of its own
    assert polled.sync().success
    tokens = dict(polled.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL"))
    assert polled.poll(tokens_saved_at="now() - interval '23 hours'").tokens_saved_at is None
    assert dict(polled.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL")) == tokens
    poll = polled.poll(tokens_saved_at="now() - interval '25 hours'")
    assert (poll.result, poll.tokens_saved_at) == (None, poll.claim.claimed_at)
    renewed = dict(polled.rows("SELECT entity, continue_from FROM sync_cursors WHERE continue_from IS NOT NULL"))
    assert renewed.keys() == tokens.keys()
    assert not renewed.items() & tokens.items()
    assert polled.poll().is_quiet


def test_a_token_is_not_saved_over_that_of_another_sync(polled: Polled):
    with polled.engine.begin() as connection:
        of = polled.value("SELECT id FROM servicetitan_credentials")
        cursors.save(connection, of, "jobs", continue_from="moved on")
        cursors.save_tokens(connection, of, {"jobs": ("asked with", "came")})
    assert polled.value("SELECT continue_from FROM sync_cursors WHERE entity = 'jobs'") == "moved on"


def test_completeness_follows_the_polls_that_found_nothing(polled: Polled):
    """No cursor is written by them, so the view has it from the tenant's one row."""
    polled.execute("INSERT INTO tenant_polls (credential_id, due_at) SELECT id, now() FROM servicetitan_credentials")
    known = "SELECT entity, last_complete_through FROM last_complete_through"
    before = dict(polled.rows(known))
    polled.execute("UPDATE tenant_polls SET polled_at = '2030-01-02', hourly_at = '2030-01-01'")
    after = dict(polled.rows(known))
    polled_at, hourly = (datetime(2030, 1, day, tzinfo=UTC) for day in (2, 1))
    feeds = dict.fromkeys(FEEDS, polled_at)
    assert after == dict.fromkeys(before, hourly) | feeds | {"invoices_stream": polled_at, "members_stream": hourly}
    polled.execute("INSERT INTO stream_pending SELECT id, 'invoices_stream', 1 FROM servicetitan_credentials")
    polled.execute("UPDATE sync_cursors SET complete_through = NULL WHERE entity = 'memberships'")
    waiting = dict(polled.rows(known))
    assert waiting["memberships"] is None, "never read to its end"
    assert {name: waiting[name] for name in ("invoices_stream", "members_stream")} == {
        name: before[name] for name in ("invoices_stream", "members_stream")
    }


def test_the_last_sync_of_a_tenant_is_its_last_poll_too(polled: Polled):
    polled.execute(
        "INSERT INTO tenant_polls (credential_id, due_at, polled_at) SELECT id, now(), '2030-01-02' "
        "FROM servicetitan_credentials"
    )
    assert polled.value("SELECT last_sync_at FROM tenants") == datetime(2030, 1, 2, tzinfo=UTC)


def test_a_tenant_that_hangs_holds_nobody_up(polled: Polled):
    other = polled.source.control.create_tenant(customers=2, invoices=2)
    settings = onboard(other, polled.settings, polled.engine, "beta")
    assert synchronize_data("beta", settings=settings, engine=polled.engine).success
    polled.execute(
        "INSERT INTO tenant_polls (credential_id, due_at, hourly_at) SELECT id, now(), now() "
        "FROM servicetitan_credentials"
    )
    with polled.engine.begin() as connection:
        claims = poll_claims.claim(connection, run_id=RUN, limit=5, budget_seconds=60)
    polled.source.fault("slow", seconds=1.5, entity="tag_types", times=1)
    order = [poll.claim.partition_key for poll in poll_batch(polled.engine, settings, claims, run_id=RUN)]
    other.remove()
    assert order == ["beta", "acme"]


def test_an_entity_that_is_off_is_not_asked_and_is_not_taken_for_complete(polled: Polled):
    """The tenant's one row names it, so that the cursors of the others need not be written by each poll."""
    first = polled.ended_poll().claim.claimed_at
    polled.execute("INSERT INTO tenant_schedules (credential_id, entities_off) SELECT id, '{jobs}' FROM "
                 "servicetitan_credentials")  # fmt: skip
    others = {*FEEDS} - {"jobs"}
    cursors_before = polled.rows("SELECT * FROM sync_cursors WHERE entity <> 'jobs' ORDER BY entity")
    for _ in range(2):
        poll = polled.ended_poll()
        assert (poll.result, poll.error, poll.all_feeds_answered) == (None, None, True)
        assert "jobs.export" not in polled.asked()
        after = polled.complete_through()
        assert after["jobs"] == first, "it was asked then"
        assert {name: after[name] for name in others} == dict.fromkeys(others, poll.claim.claimed_at)
        assert after["invoices_stream"] == poll.claim.claimed_at
    assert polled.rows("SELECT * FROM sync_cursors WHERE entity <> 'jobs' ORDER BY entity") == cursors_before
    polled.execute("DELETE FROM tenant_schedules")
    on_again = polled.ended_poll()
    assert polled.complete_through()["jobs"] == on_again.claim.claimed_at


def test_a_list_that_is_off_does_not_count_as_asked(polled: Polled):
    polled.execute("UPDATE sync_cursors SET last_polled_at = last_polled_at - interval '3 hours', "
                 "complete_through = complete_through - interval '3 hours'")  # fmt: skip
    first = polled.ended_poll(hourly_at="now() - interval '2 hours'").hourly_at
    assert first is not None
    polled.execute("INSERT INTO tenant_schedules (credential_id, entities_off) SELECT id, '{campaigns,custom_fields}' "
                 "FROM servicetitan_credentials")  # fmt: skip
    second = polled.ended_poll(hourly_at="now() - interval '2 hours'").hourly_at
    assert polled.ended_poll(hourly_at=f"'{second}'").hourly_at is None, "of the feeds alone"
    known = polled.complete_through()
    assert (known["call_reasons"], known["custom_fields_jobs"]) == (second, known["campaigns"])
    assert known["campaigns"] < first
