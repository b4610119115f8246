"""The verdicts about stream records, after whole syncs against the simulator."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from st_pipeline.operations.verdict import Verdict
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.explained import Company
from st_pipeline_tests.onboarding import SyncedCompany, onboard
from st_pipeline_tests.operations.test_explain import SIZES


@pytest.fixture
def acme(synced_company: Callable[..., SyncedCompany]) -> Iterator[Company]:
    """20 customers and 30 invoices, synced once."""
    with synced_company(**SIZES).copied() as copy:
        yield Company(*copy)


def test_a_stream_record_leads_to_its_sync_and_its_row(acme: Company):
    customer = acme.customer()
    found = acme.explain("members_stream", customer)
    assert found.verdict is Verdict.PRESENT
    assert found.facts.written_by is not None
    assert found.facts.record is not None
    assert found.facts.written_by.sync_id == found.facts.record.import_id
    assert found.facts.source == acme.explain("customers", customer)


def test_a_stream_record_of_a_run_that_tried_again_leads_to_the_try_that_wrote_it(acme: Company):
    """A run's second try of a tenant has the same sync id, and a row of its own in the log."""
    first, second = acme.source.ids("invoices")[:2]
    sync_id = uuid.uuid4()
    for invoice in (first, second):
        acme.source.patch("invoices", invoice, {"summary": "changed"})
        with TenantSync(acme.engine, acme.settings, "acme", SyncConfiguration(), sync_id=sync_id) as sync:
            tries = [outcome.error for outcome in sync.entities()]
        assert tries
        assert not any(tries)
    logs = [acme.explain("invoices_stream", invoice).facts.written_by for invoice in (first, second)]
    assert [log and log.sync_id for log in logs] == [str(sync_id)] * 2
    assert [log and log.sync_log_id for log in logs] == [2, 3]


def test_a_stream_record_that_waits_says_so_and_so_do_the_rows_it_is_built_from(acme: Company):
    contact = acme.source.ids("customer_contacts")[0]
    customer = acme.source.record("customer_contacts", contact)["customerId"]
    acme.source.patch("customer_contacts", contact, {"value": "218-555-0199"})
    acme.sync(data_type="customer_contacts")
    found = acme.explain("members_stream", customer)
    assert found.facts.waiting
    assert "waits to be built again" in found.meaning
    for entity, st_id in (("customer_contacts", contact), ("customers", customer)):
        feeds = acme.explain(entity, st_id).facts.feeds
        assert [feed.waiting for feed in feeds if feed.stream == "members_stream"] == [1]
    acme.sync()
    assert not acme.explain("members_stream", customer).facts.waiting


def test_a_row_may_feed_many_stream_records(acme: Company):
    customer = acme.source.ids("customers")[0]
    invoices = {acme.add("invoices", acme.source.ids("invoices")[0], customer={"id": customer}) for _ in range(3)}
    acme.sync()
    (feed,) = [feed for feed in acme.explain("customers", customer).facts.feeds if feed.stream == "invoices_stream"]
    assert feed.keys == feed.records >= len(invoices) == 3
    assert acme.explain("locations", acme.source.ids("locations")[0]).facts.feeds == ()


def test_a_new_stream_record_waits_until_it_is_built(acme: Company):
    new = acme.add("customers", acme.customer())
    acme.sync(data_type="customers", only=("customers",))
    found = acme.explain("members_stream", new)
    assert (found.verdict, found.facts.waiting) == (Verdict.ABSENT, True)
    assert found.meaning.startswith("it waits to be built")
    acme.execute("DELETE FROM stream_pending")
    found = acme.explain("members_stream", new)
    assert "builds what is missing" in found.next_step
    acme.sync(incremental_only=False)
    assert acme.explain("members_stream", new).verdict is Verdict.PRESENT


def test_a_deleted_row_leaves_a_stream_record_that_no_longer_exists(acme: Company):
    invoice = acme.source.ids("invoices")[0]
    acme.source.delete("invoices", invoice)
    acme.sync()
    found = acme.explain("invoices_stream", invoice)
    assert found.verdict is Verdict.DELETED
    assert "its invoices row is deleted at the source" in found.meaning


def test_a_stream_record_that_breaks_a_rule_is_outdated_or_rejected(acme: Company):
    invoice = acme.source.ids("invoices")[0]
    acme.source.patch("invoices", invoice, {"invoiceDate": "1066-10-14T00:00:00Z"})
    new = acme.add("invoices", invoice)
    acme.sync()
    assert acme.explain("invoices_stream", invoice).verdict is Verdict.OUTDATED
    found = acme.explain("invoices_stream", new)
    assert found.verdict is Verdict.REJECTED
    assert "invoice date is outside" in found.meaning
    assert found.facts.source is not None
    assert found.facts.source.verdict is Verdict.PRESENT


def test_a_stream_record_from_a_file_is_recognised(acme: Company):
    acme.execute(
        "INSERT INTO members_stream (tenant, software, customer_id, hub_plus_import_id) "
        "VALUES ('INT-acme', 'ServiceTitan', '7', 'upload-1')"
    )
    found = acme.explain("members_stream", 7)
    assert found.verdict is Verdict.PRESENT
    assert "from a file" in found.meaning
    assert found.facts.source is not None
    assert found.facts.source.verdict is Verdict.ABSENT


def test_a_stream_that_is_not_built_says_why(
    servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine
):
    source = servicetitan_tenant(customers=2, invoices=2, seed=3)
    acme = Company(source, onboard(source, settings, engine, intacct_id=None), engine)
    customer = acme.source.ids("customers")[0]
    assert "was never built" in acme.explain("members_stream", customer).meaning
    acme.sync()
    found = acme.explain("members_stream", customer)
    assert found.verdict is Verdict.ABSENT
    assert "--intacct-id" in found.meaning
    assert found.next_step.startswith("do what the reason names")
