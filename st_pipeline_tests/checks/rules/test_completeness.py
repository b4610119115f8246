"""A difference from ServiceTitan's own total fails its entity once it is still there a quarter of an hour later."""

from datetime import timedelta

from st_pipeline.checks.source_totals import AT_ONCE
from st_pipeline.checks.spec import AWAITS, Status
from st_pipeline.entities import ENTITIES
from st_pipeline_tests.checks.two_companies import TwoCompanies
from st_pipeline_tests.sync.test_no_open_transaction import rooms_entered_in_a_transaction

A_QUARTER = timedelta(minutes=15)
FAILS = {("acme", "estimates", "completeness")}
LOSE = (
    "DELETE FROM st_estimates WHERE (credential_id, st_id) IN (SELECT credential_id, min(st_id) FROM st_estimates "
    "WHERE credential_id = :acme AND deleted_at IS NULL GROUP BY credential_id)"
)


def test_a_row_that_is_lost_is_noted_then_fails_its_entity_alone_until_a_full_sync_has_read_it(two: TwoCompanies):
    assert two.failing() == set()
    assert two.execute(LOSE) == 1
    assert two.failing("completeness") == set()
    assert two.failing("completeness") == set()  # at once, as the feed may lag
    two.later = A_QUARTER
    assert two.failing() == FAILS
    verdict = two.verdict("acme", "estimates", "completeness")
    assert verdict.figures["missing"] == 1
    assert "1 are missing" in verdict.message
    two.sync("acme", incremental_only=False, only=("estimates",))
    assert two.failing("completeness") == set()


def test_a_difference_that_is_gone_the_next_time_was_none(two: TwoCompanies):
    two.verdicts("completeness")
    two.execute(LOSE.replace("DELETE FROM st_estimates", "UPDATE st_estimates SET deleted_at = now()"))
    noted = two.verdict("acme", "estimates", "completeness")
    assert (noted.status, AWAITS in noted.figures) == (Status.PASSED, True)
    two.execute("UPDATE st_estimates SET deleted_at = NULL WHERE deleted_at > now() - interval '1 minute'")
    settled = {one.asset: one for one in two.after_poll("acme", "jobs") if one.check == "completeness"}
    assert AWAITS not in settled["estimates"].figures


def test_a_difference_of_newer_records_the_next_time_is_noted_and_confirms_nothing(two: TwoCompanies):
    two.verdicts("completeness")
    hide = "UPDATE st_estimates SET credential_id = {} WHERE credential_id = {} AND st_id = {}"
    first = two.value("SELECT st_id FROM st_estimates e JOIN tenants USING (credential_id) "
                      "WHERE company = 'acme' AND deleted_at IS NULL LIMIT 1")  # fmt: skip
    two.execute(hide.format(-1, ":acme", first))
    assert AWAITS in two.verdict("acme", "estimates", "completeness").figures
    (new,) = two.sources["acme"].advance(created={"estimates": 1})["estimates"]["created"]
    two.sync("acme", only=("estimates",))
    two.execute(hide.format(":acme", -1, first))
    two.execute(hide.format(-1, ":acme", new))
    assert AWAITS not in two.verdict("acme", "estimates", "completeness").figures
    assert AWAITS in two.verdict("acme", "estimates", "completeness").figures
    two.later = A_QUARTER
    assert two.failing("completeness") == FAILS


def test_the_next_poll_that_changes_anything_confirms_a_loss(two: TwoCompanies):
    two.verdicts("completeness")
    two.execute(LOSE)
    two.later = timedelta(minutes=61)

    def after(changed: str) -> dict[str, Status]:
        return {one.asset: one.status for one in two.after_poll("acme", changed) if one.check == "completeness"}

    assert after("estimates")["estimates"] is Status.PASSED
    two.later += A_QUARTER
    assert after("jobs") == {"jobs": Status.PASSED, "estimates": Status.FAILED}
    assert after("jobs") == {"estimates": Status.FAILED}


def test_a_deletion_counts_only_after_a_read_that_would_have_seen_it(two: TwoCompanies):
    source = two.sources["acme"]
    two.verdicts("completeness")
    for entity in ("estimates", "job_types"):
        source.delete(entity, source.ids(entity)[0], touch=False)  # no feed tells
    assert two.failing("completeness") == set()
    assert two.failing("completeness") == set()
    two.sync("acme", only=("estimates", "job_types"))
    two.later = A_QUARTER
    assert two.failing("completeness") == FAILS
    two.sync("acme", incremental_only=False, only=("estimates", "job_types"))
    assert two.failing("completeness") == set()


def test_records_that_were_rejected_are_not_missing_and_removed_contacts_may_be_shown(two: TwoCompanies):
    source = two.sources["acme"]
    customer = source.ids("customers")[0]
    source.insert("customers", {**source.record("customers", customer), "id": 10**15, "balance": "x"})
    contact = source.ids("customer_contacts")[0]
    source.patch("customer_contacts", contact, {"active": False})
    two.sync("acme", only=("customers", "customer_contacts"))
    for _ in range(2):
        assert two.failing("completeness") == set()
    assert two.verdict("acme", "customers", "completeness").figures["rejected"] == 1


def test_a_source_that_does_not_answer_changes_no_verdict_and_is_asked_once(two: TwoCompanies):
    source = two.sources["acme"]
    two.execute(LOSE)
    two.verdicts("completeness")
    source.fault("status", status=503)
    source.requests(reset=True)
    found = {(one.tenant, one.asset): one for one in two.verdicts("completeness")}
    source.clear_faults()
    assert {one.status for (tenant, _), one in found.items() if tenant == "acme"} <= {
        Status.PASSED, Status.NOT_CHECKABLE
    }  # fmt: skip
    assert "ServiceUnavailable" in found["acme", "invoices"].message
    assert found["bolt", "invoices"].status is Status.PASSED
    assert source.requests()["total"] == 1
    two.later = A_QUARTER
    assert two.failing("completeness") == FAILS  # the difference went on waiting


def test_an_entity_whose_last_read_failed_is_not_asked_about(two: TwoCompanies):
    two.verdicts("completeness")
    two.execute("UPDATE sync_cursors SET last_failed_at = now() WHERE credential_id = :acme")
    two.execute(LOSE)
    two.sources["acme"].requests(reset=True)
    found = two.verdict("acme", "estimates", "completeness")
    assert (found.status, found.figures["not_asked"]) == (Status.PASSED, "its last read failed")
    assert two.sources["acme"].requests()["total"] == 0


def test_each_entity_costs_one_request_and_no_transaction_is_open_meanwhile(two: TwoCompanies):
    source = two.sources["acme"]
    source.fault("slow", seconds=0.02)
    source.requests(reset=True)
    with rooms_entered_in_a_transaction(two.engine) as entered:
        two.verdicts("completeness")
    source.clear_faults()
    assert entered == set()
    asked = source.requests()
    assert asked["total"] == len(ENTITIES) - 1  # custom fields are several lists
    assert 2 <= asked["max_concurrent"] <= AT_ONCE


def test_what_has_no_such_total_or_was_never_read_is_not_checkable(two: TwoCompanies):
    two.execute("UPDATE sync_cursors SET complete_through = NULL WHERE entity = 'jobs' AND credential_id = :acme")
    found = {one.asset: one for one in two.verdicts("completeness") if one.tenant == "acme"}
    assert {asset for asset, one in found.items() if one.status is Status.NOT_CHECKABLE} == {"custom_fields", "jobs"}
