"""A record for each customer and invoice and none twice; what waits, was rejected, merged or deleted is no error."""

import pytest

from st_pipeline.checks.spec import Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

MEMBERS, INVOICES = {("acme", "members_stream", "streams")}, {("acme", "invoices_stream", "streams")}
FIRST = "(SELECT min({0}) FROM {1} WHERE credential_id = :acme)"
A_MEMBER = f"credential_id = :acme AND customer_id = {FIRST.format('customer_id', 'members_stream')}"
AN_INVOICE = f"credential_id = :acme AND invoice_number = {FIRST.format('invoice_number', 'invoices_stream')}"
COPY = (
    'INSERT INTO members_stream SELECT (jsonb_populate_record(m, \'{"tenant": "OLD-1"}\')).* FROM members_stream m '  # noqa: S608
    f"WHERE {A_MEMBER}"
)


@pytest.mark.parametrize(
    ("plant", "failing", "what"),
    [
        (f"DELETE FROM members_stream WHERE {A_MEMBER}", MEMBERS, "missing"),  # noqa: S608
        (f"UPDATE invoices_stream SET still_exists = NOT still_exists WHERE {AN_INVOICE}", INVOICES, "outdated"),  # noqa: S608
        (COPY, MEMBERS, "doubled"),
    ],
)
def test_a_record_that_is_missing_wrong_or_doubled_fails_its_stream_alone_until_a_full_sync(
    two: TwoCompanies, plant: str, failing: set[tuple[str, str, str]], what: str
):
    assert two.execute(plant) == 1
    assert two.failing() == failing
    ((tenant, asset, check),) = failing
    verdict = two.verdict(tenant, asset, check)
    assert {name: verdict.figures[name] for name in ("missing", "doubled", "outdated")} == {
        **dict.fromkeys(("missing", "doubled", "outdated"), 0), what: 1
    }  # fmt: skip
    two.sync("acme", incremental_only=False, rewrite=True, only=("members_stream", "invoices_stream"))
    assert two.failing("streams") == set()


def test_a_record_whose_row_is_gone_is_outdated(two: TwoCompanies):
    first = FIRST.format("st_id", "st_invoices")
    two.execute(f"DELETE FROM st_invoices WHERE credential_id = :acme AND st_id = {first}")  # noqa: S608
    assert two.failing("streams") == INVOICES
    assert two.verdict("acme", "invoices_stream", "streams").figures["outdated"] == 1


@pytest.mark.parametrize(
    "because",
    [
        "INSERT INTO stream_pending (credential_id, stream, key) SELECT :acme, 'members_stream', {}",
        """INSERT INTO sync_rejects (credential_id, entity, record_key, st_id, record, reasons)
           SELECT :acme, 'members_stream', '1', {}, '', '{{x}}'""",
    ],
)
def test_what_waits_to_be_built_or_was_rejected_is_not_missing(two: TwoCompanies, because: str):
    two.execute(because.format(f"CAST({FIRST.format('customer_id', 'members_stream')} AS bigint)"))
    two.execute(f"DELETE FROM members_stream WHERE {A_MEMBER}")  # noqa: S608
    assert two.failing("streams") == set()


def test_merged_and_deleted_records_are_no_error(two: TwoCompanies):
    source = two.sources["acme"]
    source.advance(merged=3, deleted={"customers": 1, "invoices": 2}, undeleted={"invoices": 1})
    two.sync("acme")
    assert two.failing("streams") == set()
    assert two.value("SELECT count(*) FROM members_stream WHERE NOT still_exists") > 0


def test_a_tenant_that_feeds_no_stream_is_not_checkable(two: TwoCompanies):
    two.execute("UPDATE companies SET intacct_id = NULL WHERE slug = 'acme'")
    two.execute("UPDATE sync_cursors SET last_full_at = NULL WHERE credential_id = :bolt AND entity = 'members_stream'")
    found = {(one.tenant, one.asset): one for one in two.verdicts("streams")}
    assert "no Intacct id" in found["acme", "members_stream"].message
    assert found["acme", "members_stream"].status is Status.NOT_CHECKABLE
    assert found["bolt", "members_stream"].status is Status.NOT_CHECKABLE
    assert found["bolt", "invoices_stream"].status is Status.PASSED
