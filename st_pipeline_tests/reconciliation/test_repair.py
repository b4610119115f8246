# ruff: noqa: S608 - names of tables
"""Fetching again what differs: of every shape, under the guard and the lease, and killed in the middle."""

import subprocess
import sys

import pytest
from sqlalchemy import text

from st_pipeline.reconciliation.findings import Kind, Verdict
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.reconciliation.reconciled import DEEP, INVOICES, an_id, one, reconcile

# Without `ids`, read from a list only, with a column that only the feed has, several lists with their own partitions.
OF_EACH_SHAPE = ("customer_contacts", "tag_types", "jobs", "job_types", "custom_fields", "appointments")


@pytest.mark.parametrize("entity", OF_EACH_SHAPE)
def test_lost_and_altered_rows_of_each_shape_are_fetched_again(synced_acme: Acme, entity: str):
    acme, table = synced_acme, f"st_{entity}"
    first, last = acme.rows(f"SELECT min(st_id), max(st_id) FROM {table} WHERE modified_on IS NOT NULL")[0]
    before = acme.rows(f"SELECT to_jsonb(t) - 'local_synced_at' FROM {table} t ORDER BY st_id")
    acme.execute(f"DELETE FROM {table} WHERE st_id = :id", id=first)
    acme.execute(f"UPDATE {table} SET modified_on = modified_on + interval '1 day' WHERE st_id = :id", id=last)
    found = reconcile(acme, entity, period=DEEP)
    kinds = {each.kind for finding in found.entities for each in finding.left}
    assert kinds == {Kind.MISSING, Kind.DIFFERENT}
    assert reconcile(acme, entity, period=DEEP, repairs=True).verdict is Verdict.REPAIRED
    assert acme.rows(f"SELECT to_jsonb(t) - 'local_synced_at' FROM {table} t ORDER BY st_id") == before


def test_the_guard_keeps_a_repair_from_marking_most_rows(synced_acme: Acme):
    acme = synced_acme
    for st_id in acme.source.ids("invoices")[:60]:
        acme.source.delete("invoices", st_id, touch=False)
    (found,) = reconcile(acme, "invoices", repairs=True).entities
    assert (found.verdict, found.repaired) == (Verdict.DIFFERS, 0)
    assert "more than the 20% that are marked without a person's word" in str(found.error)
    assert acme.value("SELECT count(*) FROM st_invoices WHERE deleted_at IS NOT NULL") == 0


def test_a_repair_that_ends_in_the_middle_leaves_what_is_written_and_the_next_does_the_rest(synced_acme: Acme):
    acme = synced_acme
    acme.execute("DELETE FROM st_customers WHERE st_id = :id", id=an_id(acme, "customers"))
    acme.execute("DELETE FROM st_payments WHERE st_id = :id", id=an_id(acme, "payments"))
    with acme.engine.begin() as connection:  # the second entity's rows cannot be written
        connection.execute(text("ALTER TABLE st_payments ADD CONSTRAINT none_more CHECK (st_id < 0) NOT VALID"))
    found = reconcile(acme, "customers", "payments", repairs=True)
    assert [each.verdict for each in found.entities] == [Verdict.REPAIRED, Verdict.DIFFERS]
    acme.execute("ALTER TABLE st_payments DROP CONSTRAINT none_more")
    assert acme.value("SELECT count(*) FROM tenant_leases") == 0
    assert reconcile(acme, "payments", repairs=True).verdict is Verdict.REPAIRED
    assert acme.differences() == []


def test_a_repair_of_a_busy_tenant_writes_nothing_and_says_so(synced_acme: Acme):
    acme, lost = synced_acme, an_id(synced_acme, "invoices")
    acme.execute("DELETE FROM st_invoices WHERE st_id = :id", id=lost)
    with acme.syncing():
        found = reconcile(acme, "invoices", repairs=True)
    assert found.verdict is Verdict.DIFFERS
    assert "the tenant is busy with another run" in str(found.error)
    assert acme.value("SELECT count(*) FROM st_invoices WHERE st_id = :id", id=lost) == 0


IN_A_PROCESS = """
from st_pipeline.postgres.database import main_engine
from st_pipeline.reconciliation.tenant import Request, reconcile_tenant
from st_pipeline.settings import load_settings
from st_pipeline.tenants.store import find_tenant
settings = load_settings(rows_per_chunk=1)
with main_engine(settings) as engine:
    with engine.connect() as connection:
        tenant = find_tenant(connection, "acme")
    reconcile_tenant(engine, settings, tenant, Request(("invoices",), repairs=True))
"""


@pytest.mark.lab
def test_a_repair_killed_between_two_chunks_is_continued_by_the_next(synced_acme: Acme):
    acme = synced_acme
    acme.execute("DELETE FROM st_invoices WHERE st_id % 2 = 0")
    left = acme.value("SELECT count(*) FROM st_invoices")
    process = subprocess.Popen([sys.executable, "-c", IN_A_PROCESS], env=acme.environment())
    while process.poll() is None and acme.value("SELECT count(*) FROM st_invoices") < left + 3:
        pass
    process.kill()
    process.wait()
    written = acme.value("SELECT count(*) FROM st_invoices")
    assert left < written < INVOICES
    again = one(reconcile(acme, "invoices", repairs=True))
    assert (again.verdict, again.repaired) == (Verdict.REPAIRED, INVOICES - written)
    assert acme.differences() == []
    assert acme.doubled() == []


def test_a_rejected_record_is_no_difference_and_a_lost_one_comes_back_to_the_rejects(synced_acme: Acme):
    acme, odd = synced_acme, an_id(synced_acme, "customers")
    acme.source.patch("customers", odd, {"balance": "Nobody's balance"})
    acme.sync(only=("customers",))
    found = one(reconcile(acme, "customers", period=DEEP))
    assert (found.verdict, found.rejected) == (Verdict.EQUAL, 1)
    acme.execute("DELETE FROM sync_rejects")
    acme.execute("DELETE FROM st_customers WHERE st_id = :id", id=odd)
    acme.source.settings(recent_repeats=0)
    assert [each.kind for each in one(reconcile(acme, "customers")).left] == [Kind.MISSING]
    assert one(reconcile(acme, "customers", repairs=True)).verdict is Verdict.REPAIRED
    assert acme.rows("SELECT entity, st_id FROM sync_rejects") == [("customers", odd)]
    assert one(reconcile(acme, "customers")).verdict is Verdict.EQUAL
