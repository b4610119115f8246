"""Polls of tenants that give no usable answer: each error ends where that of a sync does."""

from dataclasses import replace
from typing import Any

import pytest

from st_pipeline.errors import ConfigurationError
from st_pipeline.sync.polling import poll_batch
from st_pipeline.tenants.selection import FEEDS
from st_pipeline_tests.sync.polled_company import RUN, Polled

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
def test_an_error_of_the_look_is_the_sync_s_and_is_not_asked_for_again(polled: Polled, case: str):
    rule, expected, status = ERRORS[case]
    polled.source.fault("status", **rule)
    poll = polled.poll()
    assert poll.result is not None
    found = {one.entity: type(one.error).__name__ for one in poll.result.outcomes if one.error is not None}
    assert {name: found.get(name, "") for name in expected} == expected
    tries = polled.settings.max_attempts if rule["status"] == 503 else 1
    assert max(polled.asked().values()) == tries
    assert poll.all_feeds_answered is False
    assert polled.value("SELECT connection_status FROM servicetitan_credentials") == status
    logged = "SELECT count(*) FROM sync_log_entities WHERE status = 'failed' AND entity = :entity"
    assert polled.value(logged, entity=next(iter(expected))) == 1
    assert [one.report for one in poll.result.outcomes if one.error is not None] == [True] * len(found)
    again = polled.poll()
    assert again.result is not None
    assert not any(one.report for one in again.result.outcomes if one.error is not None), "told once"
    polled.source.clear_faults()
    polled.execute("UPDATE sync_cursors SET last_failed_at = last_failed_at - interval '1 hour'")
    recovered = polled.poll()
    assert recovered.result is not None
    assert {one.entity for one in recovered.result.outcomes if one.report} >= {next(iter(expected))}
    assert (recovered.all_feeds_answered, polled.differences(), polled.poll().is_quiet) == (True, [], True)


def test_a_missing_scope_is_asked_for_at_growing_intervals_and_leaves_no_row_in_between(polled: Polled):
    """It took an entry, a row of the log and a cursor for each other entity with every poll, for months."""
    polled.ended_poll()
    polled.source.fault("status", status=403, entity="jobs")
    for _ in range(2):
        assert polled.ended_poll().result is not None
    polled.execute("UPDATE sync_cursors SET failing_since = failing_since - interval '5 minutes'")
    known = polled.complete_through()
    at_rest = polled.ended_poll()
    before = polled.written()
    for _ in range(2):
        at_rest = polled.ended_poll()
        assert (at_rest.result, at_rest.error, at_rest.all_feeds_answered) == (None, None, True)
        assert "jobs.export" not in polled.asked()
    assert polled.written() == before
    after = polled.complete_through()
    assert (after["jobs"], after["invoices"]) == (known["jobs"], at_rest.claim.claimed_at)
    polled.execute("UPDATE sync_cursors SET last_failed_at = last_failed_at - interval '1 hour'")
    asked = polled.ended_poll()
    assert asked.result is not None
    assert polled.asked()["jobs.export"] == 1
    polled.source.clear_faults()
    assert polled.ended_poll().result is None, "it rests again"
    polled.execute("UPDATE servicetitan_credentials SET last_tested_at = clock_timestamp()")
    recovered = polled.ended_poll()
    assert (recovered.all_feeds_answered, polled.differences()) == (True, [])
    assert polled.rows("SELECT entity FROM sync_cursors WHERE last_failed_at IS NOT NULL") == []
    assert polled.ended_poll().is_quiet
    assert polled.complete_through()["jobs"] > asked.claim.claimed_at


def test_two_feeds_in_a_row_without_an_answer_end_the_look_and_the_sync(polled: Polled):
    polled.source.fault("status", status=503, path="/export/")
    poll = polled.poll()
    assert poll.result is not None
    assert "2 entities in a row" in str(poll.result.stopped)
    assert len(poll.result.outcomes) == len(polled.asked()) == 2


def test_a_tenant_that_refuses_everything_is_suspended(polled: Polled):
    polled.source.change(connected=False)
    poll = polled.poll()
    assert poll.result is not None
    assert polled.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_wrong_keys_are_tried_once_and_suspend_the_tenant(polled: Polled):
    polled.source.change(client_secret="cs.rotated")
    polled.execute("UPDATE servicetitan_credentials SET access_token = NULL")
    poll = polled.poll()
    assert poll.result is not None
    assert {type(one.error).__name__ for one in poll.result.outcomes if one.entity in FEEDS} == {"InvalidCredentials"}
    assert polled.source.requests()["total"] == 1
    assert polled.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_a_tenant_whose_secrets_do_not_open_says_so(polled: Polled):
    polled.execute("UPDATE servicetitan_credentials SET client_secret = client_id")
    for is_news in (True, False):
        poll = polled.poll()
        assert isinstance(poll.error, ConfigurationError)
        assert (poll.is_news, poll.all_feeds_answered) == (is_news, False)
    assert polled.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_a_tenant_that_was_removed_since_it_was_claimed_is_an_error_of_its_own(polled: Polled):
    claim = polled.claim()
    gone = replace(claim, credential_id=claim.credential_id + 1, partition_key="gone")
    polls = list(poll_batch(polled.engine, polled.settings, [gone, claim], run_id=RUN))
    assert {poll.claim.partition_key: type(poll.error).__name__ for poll in polls} == {
        "gone": "ConfigurationError", "acme": "NoneType",
    }  # fmt: skip


def test_an_error_that_is_not_ours_fails_its_tenant_alone(polled: Polled):
    claim = polled.claim()
    odd = replace(claim, claimed_at="no time")  # type: ignore[arg-type]
    polls = list(poll_batch(polled.engine, polled.settings, [odd, claim], run_id=RUN))
    assert {poll.claim.claimed_at: poll.message for poll in polls} == {
        "no time": "acme: unexpected TypeError; the log of the run has the place", claim.claimed_at: None,
    }  # fmt: skip
