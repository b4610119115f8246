"""A credential's end: its sync stops, its rows go in batches whatever interrupts them, the trail stays."""

import os
import pty
import subprocess
import sys
import threading

import pytest
from sqlalchemy import Engine, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.tenants import purge, removal, store
from st_pipeline.tenants.audit import Entry
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants import planted

# Columns named credential_id that neither go by a cascade nor are purged, and why.
STAYING = {"audit_log": "the trail outlives the credential", "purges": "what is purged"}
SOME = ("tag_types", "business_units", "technicians", "campaigns", "job_types", "call_reasons")
REMOVE = ("credentials", "remove", "acme", "--yes")


def left(acme: Acme) -> dict[str, int]:
    """Rows by table, of every table that has some under a credential's id."""
    counts = {table: acme.value(f"SELECT count(*) FROM {table}") for table in tables_of_credentials(acme.engine)}  # noqa: S608
    return {table: count for table, count in counts.items() if count and table not in STAYING}


def tables_of_credentials(engine: Engine) -> set[str]:
    query = text("""
        SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'credential_id'
    """)
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


def test_nothing_that_hangs_on_a_credential_is_forgotten(engine: Engine):
    """A table added later either goes by a cascade, or stands in purge.TABLES, or here with a reason."""
    query = text("""
        SELECT DISTINCT conrelid::regclass::text FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'servicetitan_credentials'::regclass AND confdeltype = 'c'
    """)
    with engine.connect() as connection:
        cascading = set(connection.execute(query).scalars())
    assert tables_of_credentials(engine) == cascading | set(purge.TABLES) | set(STAYING)
    assert cascading.isdisjoint(purge.TABLES)


def test_a_tenant_is_removed_with_everything_but_the_trail(acme: Acme, acme_command: Command):
    acme.sync(incremental_only=False)
    neighbour = planted.put_tenant(acme.engine, acme.settings, planted.new_credential(company="other", tenant_id=77))
    acme.execute("INSERT INTO st_tag_types (credential_id, st_id, record_hash, spec_version, local_synced_at) "
                 "VALUES (:id, 1, 0, 1, now())", id=neighbour.credential_id)  # fmt: skip
    acme.execute("INSERT INTO members_stream (tenant, software, customer_id, hub_plus_import_id) "
                 "VALUES ('INT-acme', 'file', '1', 'upload')")  # fmt: skip
    held = sum(acme.value(f"SELECT count(*) FROM {table} WHERE credential_id = 1") for table in purge.TABLES)  # noqa: S608
    said = acme_command(*REMOVE)
    assert said.code == 0, said.err
    assert said.out == f"tenant acme removed (credential 1)\n{held:,} rows deleted\n"
    assert held > 500
    assert left(acme) == {"st_tag_types": 1, "members_stream": 1}
    assert acme.rows("SELECT slug FROM companies ORDER BY slug") == [("acme",), ("other",)]
    trail = acme.rows("SELECT action, result, details FROM audit_log WHERE action LIKE 'credentials.%' ORDER BY id")
    assert trail == [
        ("credentials.remove", "done", {"keep_data": False, "servicetitan_tenant_id": acme.source.tenant_id}),
        ("credentials.purge", "done", {"rows_deleted": held}),
    ]
    assert acme.rows("SELECT credential_id, rows_deleted FROM purges WHERE completed_at IS NOT NULL") == [(1, held)]
    gone = acme_command(*REMOVE)
    assert (gone.code, "unknown tenant 'acme'" in gone.err) == (2, True)


def test_a_sync_that_runs_ends_and_writes_nothing_more(acme: Acme, acme_command: Command):
    acme.source.fault("slow", seconds=0.3, entity="invoices")
    process = acme.start_process("full")
    acme.wait_until(process, "SELECT count(*) FROM st_customers", 1)
    said = acme_command(*REMOVE)
    process.communicate(timeout=60)
    assert said.code == 0, said.err
    assert said.err.startswith("ending the manual full sync (process ")
    assert process.returncode == 1
    assert left(acme) == {}


def test_a_sync_that_does_not_end_in_time_writes_nothing_more_either(
    acme: Acme, acme_command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ST_PIPELINE_LEASE_WAIT_SECONDS", "0")
    with acme.syncing(incremental_only=False) as sync:
        entities = sync.entities()
        assert next(entities).error is None
        said = acme_command(*REMOVE)
        assert "it has not ended within 0 s, but can write nothing more" in said.err
        assert {type(outcome.error).__name__ for outcome in entities} == {"LeaseLost"}
    assert said.code == 0
    assert left(acme) == {}


def test_a_sync_whose_process_is_gone_is_not_waited_for(acme: Acme, acme_command: Command):
    """Its row in the sync log stays open for ever."""
    acme.execute("INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type) "
                 "VALUES (1, gen_random_uuid(), 'manual', 'full', 'all')")  # fmt: skip
    acme.execute("INSERT INTO tenant_leases SELECT 1, gen_random_uuid(), 'manual full sync', now(), "
                 "now() + interval '1 hour'")  # fmt: skip
    said = acme_command(*REMOVE)
    assert (said.code, said.err) == (0, "")


def test_nobody_can_begin_a_sync_while_a_tenant_is_removed(acme: Acme):
    """From the moment its sync is told to end until the credential is gone, the removal holds the tenant."""
    with acme.engine.connect() as connection:
        tenant = store.find_tenant(connection, "acme")
    refused = []

    def report(_said: str) -> None:
        with pytest.raises(Exception, match="removal of the credential") as busy:
            acme.sync()
        refused.append(type(busy.value).__name__)

    with acme.syncing(only=("tag_types",)):
        removal.remove_credential(acme.engine, tenant, wait_seconds=0, report=report)
    assert refused == ["TenantBusy", "TenantBusy"]
    with pytest.raises(ConfigurationError, match="was removed meanwhile"):
        removal.remove_credential(acme.engine, tenant)


def test_a_removal_that_is_stopped_leaves_the_tenant_as_it_was(acme: Acme):
    with acme.engine.connect() as connection:
        tenant = store.find_tenant(connection, "acme")

    def stop(_said: str) -> None:
        raise KeyboardInterrupt

    with acme.syncing(only=("tag_types",)), pytest.raises(KeyboardInterrupt):
        removal.remove_credential(acme.engine, tenant, wait_seconds=0, report=stop)
    assert acme.sync(only=("tag_types",)).success
    assert acme.value("SELECT count(*) FROM purges") == 0


def test_rows_wait_for_a_purge_that_may_be_killed_and_repeated(acme: Acme, acme_command: Command):
    acme.sync(only=SOME)
    said = acme_command(*REMOVE, "--no-wait", "--json")
    assert said.json == {"tenant": "acme", "credential_id": 1, "rows": "waiting", "rows_deleted": 0}
    assert "`st-pipeline credentials purge` deletes them" in said.err
    before = sum(left(acme).values())
    stopped = purge.purge_rows(acme.engine, 1, rows_per_batch=2, keep_going=lambda table, _: table != "st_technicians")
    assert stopped.completed_at is None
    assert stopped.rows_deleted == before - sum(left(acme).values()) > 0
    code = (
        "import os, signal, sys\nfrom st_pipeline.tenants import purge\n"
        "from st_pipeline.postgres.database import DRIVER, open_engine, read_url\n"
        "engine = open_engine(read_url('', sys.argv[1]).set(drivername=DRIVER)); seen = []\n"
        "def die(table, rows):\n"
        "    seen.append(rows)\n"
        "    if len(seen) == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return True\n"
        "purge.purge_rows(engine, 1, rows_per_batch=2, keep_going=die)"
    )
    url = acme.engine.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", code, url], check=False)
    assert killed.returncode == -9
    rest = acme_command("credentials", "purge", "--json")
    assert (rest.code, rest.json) == (
        0, [{"tenant": "acme", "credential_id": 1, "rows": "deleted", "rows_deleted": before}],
    )  # fmt: skip
    assert left(acme) == {}
    assert acme_command("credentials", "purge").out == "no rows of removed credentials are left\n"
    assert acme.value("SELECT count(*) FROM audit_log WHERE action = 'credentials.purge'") == 1


def test_a_tick_purges_for_its_time_and_the_next_goes_on(acme: Acme, acme_command: Command):
    acme.sync(only=("tag_types",))
    acme_command(*REMOVE, "--no-wait")
    before = left(acme)["st_tag_types"]
    assert purge.purge_for(acme.engine, 0) == 0
    assert left(acme) == {"st_tag_types": before}
    assert purge.purge_for(acme.engine, 60) == before
    assert left(acme) == {}
    assert purge.purge_for(acme.engine, 60) == 0


def test_two_purges_at_once_count_each_row_once(acme: Acme, acme_command: Command):
    acme.sync(only=SOME)
    acme_command(*REMOVE, "--no-wait")
    before = sum(left(acme).values())
    workers = [
        threading.Thread(target=purge.purge_rows, args=(acme.engine, 1), kwargs={"rows_per_batch": 2}) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert acme.rows("SELECT rows_deleted FROM purges WHERE completed_at IS NOT NULL") == [(before,)]
    assert left(acme) == {}


def test_rows_may_be_kept_and_go_later(acme: Acme, acme_command: Command):
    acme.sync(only=("tag_types",))
    rows = left(acme)["st_tag_types"]
    alive = acme_command("credentials", "purge", "1", "--yes")
    assert (alive.code, "belongs to tenant acme, which has not been removed" in alive.err) == (2, True)
    said = acme_command(*REMOVE, "--keep-data")
    assert "`st-pipeline credentials purge 1` deletes them" in said.out
    assert left(acme) == {"st_tag_types": rows}
    assert acme_command("credentials", "purge").code == 0
    assert left(acme) == {"st_tag_types": rows}
    never = acme_command("credentials", "purge", "2", "--yes")
    assert (never.code, "no removed credential has the id 2" in never.err) == (2, True)
    unasked = acme_command("credentials", "purge", "1")
    assert (unasked.code, "add --yes" in unasked.err) == (2, True)
    done = acme_command("credentials", "purge", "1", "--yes")
    assert done.out == f"credential 1 (acme): {rows} rows deleted\n"
    assert left(acme) == {}


def test_a_company_added_anew_is_safe_from_the_purge_of_its_old_rows(acme: Acme, acme_command: Command):
    both = ("customers", "invoices")
    acme.sync(only=both)
    acme_command(*REMOVE, "--no-wait")
    new = planted.new_credential("acme", tenant_id=acme.source.tenant_id, client_id=acme.source.client_id,
                                 client_secret=acme.source.client_secret)  # fmt: skip
    assert planted.put_tenant(acme.engine, acme.settings, new).credential_id == 2
    assert acme.sync(only=both).success
    assert acme_command("credentials", "purge").code == 0
    assert acme.differences(*both) == []
    assert acme.value("SELECT count(*) FROM st_customers WHERE credential_id = 1") == 0


def test_a_person_types_the_name_and_without_a_terminal_nothing_is_removed(
    acme: Acme, acme_command: Command, variables: dict[str, str]
):
    unasked = acme_command("credentials", "remove", "acme")
    assert (unasked.code, "repeat it with --yes" in unasked.err) == (2, True)
    for typed, code in ((b"acm\n", 1), (b"acme\n", 0)):
        screen, terminal = pty.openpty()
        arguments = [sys.executable, "-c", "from st_pipeline.cli import main; main()", "credentials", "remove", "acme"]
        with subprocess.Popen(
            arguments, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True,
            env={**os.environ, **variables},
        ) as asked:  # fmt: skip
            os.close(terminal)
            seen = b""
            while b"Type the tenant's name" not in seen:
                seen += os.read(screen, 1024)
            os.write(screen, typed)
            assert asked.stdout is not None
            out = asked.stdout.read()
        os.close(screen)
        assert asked.returncode == code, seen
        assert (b"removed" in out) is (code == 0)
        assert acme.value("SELECT count(*) FROM servicetitan_credentials") == code


def test_the_trail_says_what_a_removal_failed_of(acme: Acme):
    with acme.engine.connect() as connection:
        tenant = store.find_tenant(connection, "acme")
        connection.rollback()
    removal.remove_credential(acme.engine, tenant)
    with pytest.raises(ConfigurationError):
        removal.remove_credential(acme.engine, tenant)
    results = "SELECT result FROM audit_log WHERE action = 'credentials.remove' ORDER BY id"
    assert acme.rows(results) == [("done",), ("refused",)]
    assert Entry("credentials.remove", None).details == {}
