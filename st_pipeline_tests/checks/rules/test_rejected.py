"""More rejects than 1 % of an entity fail its tenant, until they pass or a person has dismissed them."""

from st_pipeline.checks.spec import Status
from st_pipeline_tests.checks.two_companies import TwoCompanies

FAILS = {("acme", "tenant", "rejected")}


def test_a_rejected_customer_fails_its_tenant_alone_until_it_is_right(two: TwoCompanies):
    source = two.sources["acme"]
    customer = source.ids("customers")[0]
    right = source.record("customers", customer)["balance"]
    source.patch("customers", customer, {"balance": "Nobody's balance"})
    two.sync("acme", only=("customers",))
    assert two.failing() == FAILS
    figures = two.verdict("acme", "tenant", "rejected").figures
    assert figures["entities"] == {"customers": {"rejected": 1, "rows": 20, "share": 0.047619}}
    source.patch("customers", customer, {"balance": right})
    two.sync("acme", only=("customers",))
    assert two.failing() == set()


def test_dismissed_rejects_do_not_count_and_those_of_a_stream_do(two: TwoCompanies):
    two.execute(
        "INSERT INTO sync_rejects (credential_id, entity, record_key, record, reasons) "
        "VALUES (:acme, 'members_stream', '1', '', '{made up}'), (:acme, 'invoices', '1', '', '{made up}')"
    )
    assert list(two.verdict("acme", "tenant", "rejected").figures["entities"]) == ["members_stream", "invoices"]
    two.execute("UPDATE sync_rejects SET dismissed_at = now() WHERE entity = 'invoices'")
    assert list(two.verdict("acme", "tenant", "rejected").figures["entities"]) == ["members_stream"]
    two.execute("UPDATE sync_rejects SET dismissed_at = now()")
    assert two.verdict("acme", "tenant", "rejected").status is Status.PASSED
