"""Each verdict about a record, after whole syncs against the simulator."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from st_pipeline.errors import ConfigurationError
from st_pipeline.operations.explain import explain
from st_pipeline.operations.verdict import Asked, Verdict
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.explained import UNREADABLE, Company
from st_pipeline_tests.onboarding import SyncedCompany, onboard

SIZES = {"customers": 20, "invoices": 30, "seed": 3}


@pytest.fixture
def unsynced(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Company:
    """20 customers, 30 invoices; nothing is read yet."""
    source = servicetitan_tenant(**SIZES)
    return Company(source, onboard(source, settings, engine), engine)


@pytest.fixture
def acme(synced_company: Callable[..., SyncedCompany]) -> Iterator[Company]:
    """The same after its first sync."""
    with synced_company(**SIZES).copied() as copy:
        yield Company(*copy)


def modified_on(company: Company, entity: str, st_id: int) -> datetime:
    """When the source changed a record."""
    return datetime.fromisoformat(company.source.record(entity, st_id)["modifiedOn"])


def test_a_present_record_leads_to_the_sync_that_wrote_it_and_to_its_stream_record(acme: Company):
    customer = acme.customer()
    later = acme.sync()
    found = acme.explain("customers", customer)
    assert found.verdict is Verdict.PRESENT
    assert found.facts.row is not None
    assert found.facts.row.modified_on == modified_on(acme, "customers", customer)
    assert found.facts.written_by is not None
    assert found.facts.written_by.sync_log_id != later.sync_log_id
    assert (found.facts.written_by.mode, found.facts.written_by.status) == ("full", "completed")
    (member,) = [feed for feed in found.facts.feeds if feed.stream == "members_stream"]
    assert (member.keys, member.records, member.waiting) == (1, 1, 0)
    assert found.next_step.startswith("nothing")


def test_every_entity_and_stream_can_be_explained(acme: Company):
    """A new one is tested by being listed."""
    for name, spec in SYNCED.items():
        entity = spec.anchor if isinstance(spec, StreamSpec) else name
        found = acme.explain(name, acme.source.ids(entity)[0])
        assert found.verdict in (Verdict.PRESENT, Verdict.INACTIVE), name
        assert found.facts.written_by is not None, name
        assert acme.explain(name, 1).verdict is Verdict.ABSENT, name


def test_a_changed_record_leads_to_the_sync_that_changed_it(acme: Company):
    customer = acme.customer()
    acme.source.patch("customers", customer, {"city": "Duluth"})
    changed = acme.sync(sync_type="scheduled")
    acme.sync()
    written_by = acme.explain("customers", customer).facts.written_by
    assert written_by is not None
    assert (written_by.sync_log_id, written_by.sync_id) == (changed.sync_log_id, str(changed.sync_id))
    assert (written_by.mode, written_by.sync_type) == ("incremental", "scheduled")


def test_the_sync_is_found_although_the_clocks_are_apart(acme: Company):
    """A first load's rows carry this machine's time, the sync log Postgres's."""
    moved = "UPDATE st_customers SET local_synced_at = local_synced_at + make_interval(secs => :seconds)"
    for seconds, is_found in ((-50, True), (100, True), (-86400, False)):
        acme.execute(moved, seconds=seconds)
        assert (acme.explain("customers", acme.customer()).facts.written_by is not None) == is_found


def test_an_inactive_record_is_present_and_says_into_which_it_was_merged(acme: Company):
    inactive, merged = acme.customer(0), acme.customer(1)
    acme.source.patch("customers", inactive, {"active": False})
    acme.source.patch("customers", merged, {"active": False, "mergedToId": acme.customer(2)})
    survivor = acme.customer(0)
    acme.source.patch("customers", merged, {"mergedToId": survivor})
    acme.sync()
    assert acme.explain("customers", inactive).verdict is Verdict.INACTIVE
    found = acme.explain("customers", merged)
    assert found.verdict is Verdict.INACTIVE
    assert f"merged into {survivor}" in found.meaning
    assert [feed.keys for feed in found.facts.feeds if feed.stream == "members_stream"] == [2]
    stream = acme.explain("members_stream", merged)
    assert (stream.verdict, stream.facts.record and stream.facts.record.still_exists) == (Verdict.INACTIVE, False)


def test_a_record_whose_newer_version_was_rejected_is_present_in_the_older_one(acme: Company):
    customer = acme.customer()
    before = acme.explain("customers", customer).facts
    acme.source.patch("customers", customer, UNREADABLE)
    second = acme.sync()
    found = acme.explain("customers", customer)
    assert found.verdict is Verdict.OUTDATED
    assert found.facts.row == before.row
    assert found.facts.written_by == before.written_by
    assert found.facts.reject is not None
    assert found.facts.reject.sync_log_id == second.sync_log_id
    assert "balance" in found.meaning
    assert "plenty" not in found.meaning
    acme.source.patch("customers", customer, {"balance": 1})
    acme.sync()
    assert acme.explain("customers", customer).verdict is Verdict.PRESENT


def test_a_rejected_record_says_why_how_often_and_whether_it_was_dismissed(acme: Company):
    customer = acme.add("customers", acme.customer(), **UNREADABLE)
    acme.sync()
    found = acme.explain("customers", customer)
    assert found.verdict is Verdict.REJECTED
    assert "seen once" in found.meaning
    acme.sync(incremental_only=False)
    acme.execute("UPDATE sync_rejects SET dismissed_at = now()")
    found = acme.explain("customers", customer)
    assert found.facts.reject is not None
    assert found.facts.reject.times == 2
    assert found.facts.reject.first_seen_at < found.facts.reject.last_seen_at
    assert "seen 2 times" in found.meaning
    assert ", dismissed at" in found.meaning
    assert acme.explain("members_stream", customer).verdict is Verdict.ABSENT
    assert "its customers row is rejected" in acme.explain("members_stream", customer).meaning


@pytest.mark.parametrize(
    ("entity", "mode", "how"),
    [
        ("customers", "incremental", "the feed showed it as inactive, and ServiceTitan no longer found it by id"),
        ("customers", "full", "a full sync did not find it in the list, and ServiceTitan did not find it by id"),
        ("membership_types", "full", "a full sync did not find it in the list"),
        ("customer_contacts", "incremental", "the feed shows it as inactive, which here means removed"),
    ],
)
def test_a_deleted_record_says_since_when_and_how_that_was_learnt(acme: Company, entity: str, mode: str, how: str):
    gone = acme.source.ids(entity)[0]
    acme.source.delete(entity, gone)
    if mode == "full":  # the feed's word comes too late
        acme.execute("UPDATE sync_cursors SET continue_from = NULL")
    sync = acme.sync(incremental_only=mode == "incremental")
    found = acme.explain(entity, gone)
    assert found.verdict is Verdict.DELETED
    assert how in found.meaning
    assert found.facts.deleted_by is not None
    assert found.facts.deleted_by.sync_log_id == sync.sync_log_id
    acme.execute("DELETE FROM servicetitan_sync_logs")
    assert ("no sync in the log" in acme.explain(entity, gone).meaning) == (entity != "customer_contacts")


def test_absent_from_an_entity_that_was_never_synced(unsynced: Company):
    found = unsynced.explain("customers", 1)
    assert (found.verdict, found.meaning) == (Verdict.ABSENT, "customers of this tenant was never synced")
    assert found.next_step.startswith("a full sync")


def test_absent_while_the_first_full_sync_has_not_ended(unsynced: Company):
    unsynced.source.fault("status", status=400, entity="customers")
    unsynced.sync()
    found = unsynced.explain("customers", 1)
    assert found.verdict is Verdict.ABSENT
    assert "the first full sync, begun at" in found.meaning
    assert found.facts.failure is not None
    assert "customers" in (found.facts.failure.message or "")
    assert "the last failure names" in found.next_step
    unsynced.source.clear_faults()
    unsynced.execute("UPDATE sync_cursors SET last_failed_at = NULL")  # as after a kill
    assert "wait for the full sync" in unsynced.explain("customers", 1).next_step


def test_absent_as_the_entity_it_depends_on_failed_in_the_first_sync(unsynced: Company):
    unsynced.source.fault("status", status=400, entity="customers")
    unsynced.sync()
    found = unsynced.explain("invoices", 1)
    assert "was never synced; its first sync failed at" in found.meaning
    assert "not tried" in ((found.facts.failure and found.facts.failure.message) or "")


def test_absent_after_a_full_sync_that_did_not_show_it(acme: Company):
    found = acme.explain("customers", 1)
    assert found.verdict is Verdict.ABSENT
    assert "the last full sync ended at" in found.meaning
    assert "without it" in found.meaning
    assert "--ask" in found.next_step
    without_id = acme.source.record("customers", acme.customer())
    del without_id["id"]
    acme.source.insert("customers", without_id)
    acme.sync()
    assert "or is one of 1 rejects that show no id" in acme.explain("customers", 1).meaning


def test_absent_as_it_is_newer_than_anything_seen(acme: Company):
    new = acme.add("customers", acme.customer())
    found = acme.explain("customers", new)
    assert f"higher than any seen ({found.facts.highest_id})" in found.meaning
    acme.sync()
    assert acme.explain("customers", new).verdict is Verdict.PRESENT


def test_a_failure_is_shown_until_it_is_fixed(acme: Company):
    acme.source.fault("status", status=400, entity="customers")
    acme.sync()
    failed = acme.explain("customers", acme.customer())
    assert failed.verdict is Verdict.PRESENT
    assert failed.facts.failure is not None
    assert failed.facts.failure.at >= (failed.facts.cursor.last_failed_at or datetime.max.replace(tzinfo=UTC))
    acme.source.clear_faults()
    acme.sync()
    assert acme.explain("customers", acme.customer()).facts.failure is None


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("UPDATE companies SET enabled = false", "st-pipeline companies update acme --enable"),
        ("UPDATE servicetitan_credentials SET connection_status = 'error'", "st-pipeline credentials test acme"),
    ],
)
def test_a_tenant_that_is_not_read_comes_before_all_else(acme: Company, statement: str, command: str):
    acme.execute(statement)
    assert command in acme.explain("customers", 1).next_step


def test_what_servicetitan_says_decides_what_to_do_next(acme: Company):
    customer = acme.customer()
    known = modified_on(acme, "customers", customer)
    next_step = {
        name: acme.explain("customers", st_id, asked).next_step
        for name, st_id, asked in [
            ("same", customer, Asked(found=True, modified_on=known)),
            ("newer", customer, Asked(found=True, modified_on=datetime.now(UTC) + timedelta(days=1))),
            ("missed", 1, Asked(found=True, modified_on=known)),
            ("gone", customer, Asked(found=False)),
            ("nowhere", 1, Asked(found=False)),
        ]
    }
    assert next_step["same"] == "nothing: ServiceTitan has the same version"
    assert "next poll brings" in next_step["newer"]
    assert "a poll may miss it: a full sync" in next_step["missed"]
    assert next_step["gone"].endswith("marks it as deleted")
    assert next_step["nowhere"] == "nothing: ServiceTitan does not have it either"
    acme.source.delete("customers", customer)
    acme.sync()
    assert "removes the mark" in acme.explain("customers", customer, Asked(found=True, modified_on=known)).next_step
    assert "does not have it either" in acme.explain("customers", customer, Asked(found=False)).next_step


def test_an_unknown_tenant_or_entity_is_refused(unsynced: Company):
    with pytest.raises(ConfigurationError, match=r"unknown entity 'widgets': take one of .*invoices_stream"):
        unsynced.explain("widgets", 1)
    with unsynced.engine.connect() as connection, pytest.raises(ConfigurationError, match="unknown tenant 'acm'"):
        explain(connection, "acm", "customers", 1)
