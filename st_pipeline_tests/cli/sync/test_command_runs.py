"""Many syncs at once: how many, one's failure, one's time, Ctrl-C, a killed process.

Every sync is a real Dagster run in a process of its own.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from st_pipeline.runs.follow import POLL_SECONDS
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import CTRL_C, Installation, parsed, widest

FIVE = ("acme", "birch", "cedar", "dune", "elm")
RUNNING = "SELECT count(*) FROM servicetitan_sync_logs WHERE status = 'running'"
WRITTEN = "SELECT max(records_processed) FROM servicetitan_sync_logs WHERE status = 'running'"
ENTITIES = "SELECT entity, status, error_kind FROM sync_log_entities ORDER BY started_at"


def slow(installation: Installation, *tenants: str, seconds: float) -> None:
    """From now on, these tenants' feeds take so long for each page."""
    for tenant in tenants:
        installation.sources[tenant].fault("slow", seconds=seconds, path="/export/")


@contextmanager
def meanwhile(work: threading.Thread) -> Iterator[None]:
    """Beside the block; what it found wrong is the test's failure, too."""
    work.start()
    yield
    work.join(30)
    assert not work.is_alive()


def test_so_many_at_once_and_one_failure_stops_no_other(installation: Installation, command: Command):
    """Five tenants, three at once, never more: none can end before all three are there and the others still wait."""
    installation.add(*FIVE)
    installation.sources["birch"].fault("status", status=404, entity="tag_types")
    runs_before = installation.number_of_runs()  # of tests before this one
    runs_begun: list[int] = []

    def hold_until_three_have_met() -> None:
        with installation.engine.begin() as connection:
            connection.execute(text("LOCK TABLE st_call_reasons IN EXCLUSIVE MODE"))  # every sync writes to it
            holds.set()
            installation.wait_until(RUNNING, 3)
            runs_begun.append(installation.number_of_runs() - runs_before)

    holds = threading.Event()
    with meanwhile(threading.Thread(target=hold_until_three_have_met)):
        assert holds.wait(30)
        said = command("sync", "--entity", "tag_types", "--entity", "call_reasons", "--max-concurrent", "3")
    assert runs_begun == [3]
    assert said.code == 1, said.all
    assert "5 tenants: 4 synced, 1 failed, 0 skipped" in said.words
    assert "birch: failed, " in said.out
    ((log_id,),) = installation.rows("SELECT id FROM servicetitan_sync_logs WHERE status = 'failed'")
    assert f"  st-pipeline logs {log_id}\n" in said.out
    assert widest(said.out) <= 80
    failed = [entity for entity, status, _ in installation.rows(ENTITIES) if status == "failed"]
    assert failed == ["tag_types"]
    spans = installation.rows("SELECT started_at, completed_at FROM servicetitan_sync_logs ORDER BY started_at")
    at_once = [sum(begun <= start < ended for begun, ended in spans) for start, _ in spans]
    assert max(at_once) == 3


def test_a_tenant_past_its_time_ends_at_a_chunk_and_the_others_go_on(installation: Installation, command: Command):
    installation.add("acme", invoices=160)
    installation.add("birch")
    slow(installation, "acme", seconds=3.0)
    how = ("--entity", "invoices", "--entity", "payments", "--batch-size", "20")
    said = command("sync", *how, "--timeout", "9", "--json")
    assert said.code == 1, said.all
    tenants = {one["tenant"]: one for one in said.json["tenants"]}
    assert tenants["birch"]["status"] == "completed"
    assert tenants["acme"]["status"] == "failed"
    assert "stopped after 9 s, its time limit (--timeout)" in tenants["acme"]["message"]
    # At a chunk: some records are in with their cursor, and what was not begun does not count as failed.
    assert 0 < tenants["acme"]["records_processed"] < 160
    assert tenants["acme"]["records_processed"] % 20 == 0
    of_acme = installation.rows(
        "SELECT entity, e.status, error_kind, l.message FROM sync_log_entities e JOIN servicetitan_sync_logs l "
        "ON l.id = e.sync_log_id WHERE l.id = :id", id=tenants["acme"]["sync_log_id"],
    )  # fmt: skip
    ((entity, status, kind, message),) = of_acme
    assert (entity, status, kind) == ("invoices", "failed", "SyncStopped")
    assert "stopped after 9 s" in message
    assert installation.run_of(tenants["acme"]["dagster_run_id"]).status.value == "FAILURE"

    installation.sources["acme"].clear_faults()
    installation.synced("acme", only=("invoices", "payments"))
    assert installation.differences("acme", "invoices", "payments") == []


def test_ctrl_c_at_a_terminal_ends_the_syncs_at_a_chunk_and_says_so(installation: Installation):
    installation.add("acme", "birch", invoices=80)
    slow(installation, "acme", "birch", seconds=1.0)
    arguments = ("sync", "--entity", "invoices", "--batch-size", "20", "--max-concurrent", "1")
    with installation.at_terminal(*arguments) as terminal:
        installation.wait_until(WRITTEN, 20, while_=lambda: terminal.process.poll() is None)
        time.sleep(3 * POLL_SECONDS)  # until it has drawn that
        terminal.press(CTRL_C)
        out = terminal.read()
    assert terminal.process.returncode == 1
    assert re.search(r"acme +starting", out)
    assert re.search(r"acme +\d+ records; 0 entities done, invoices \d+", out)
    assert "1 more waiting" in out
    assert "ending at the next chunk; Ctrl-C again ends the syncs at once" in out
    assert "stopped by a person; what is committed stays" in " ".join(out.split())
    assert "stopped by a person before it began" in " ".join(out.split())
    ((status, message, processed),) = installation.rows(
        "SELECT status, message, records_processed FROM servicetitan_sync_logs"
    )
    assert (status, "stopped by a person" in message, 0 < processed < 80) == ("failed", True, True)
    assert installation.rows(ENTITIES) == [("invoices", "failed", "SyncStopped")]


def test_a_second_ctrl_c_ends_them_at_once(installation: Installation, command: Command):
    installation.add("acme")
    slow(installation, "acme", seconds=30)

    def impatient() -> None:
        installation.wait_until(RUNNING)
        os.kill(os.getpid(), signal.SIGINT)
        installation.wait_until("SELECT count(*) FROM sync_stops")
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(threading.Thread(target=impatient)):
        said = command("sync", "--tenant", "acme", "--entity", "invoices", "--json")
    assert (said.code, said.json["execution_time_seconds"] < 25) == (1, True)
    assert installation.rows("SELECT status, message FROM servicetitan_sync_logs") == [
        ("failed", "stopped by a person")
    ]
    run = installation.run_of(said.json["tenants"][0]["dagster_run_id"])
    assert (run.status.value, run.tags["st_pipeline/message"].partition(";")[0]) == (
        "FAILURE", "ended at once, by a person or with its service",
    )  # fmt: skip
    assert installation.value("SELECT count(*) FROM tenant_leases") == 0


def test_a_killed_process_is_one_tenants_failure(installation: Installation, command: Command):
    """As by the kernel when memory runs out. Dagster would show the run as running forever."""
    installation.add("acme", "birch")
    # A sync asks once before it writes its row in the log; the kill comes after that.
    installation.sources["acme"].fault("slow", seconds=30, path="/export/", after_requests=1)

    def kill() -> None:
        installation.wait_until(RUNNING)
        (holder,) = installation.rows("SELECT holder_name FROM tenant_leases")[0]
        os.kill(int(holder.split("process ")[1].split()[0]), signal.SIGKILL)

    with meanwhile(threading.Thread(target=kill)):
        said = command("sync", "--entity", "invoices", "--max-concurrent", "1", "--json")
    assert said.code == 1
    acme, birch = sorted(said.json["tenants"], key=lambda one: one["tenant"])
    assert (acme["status"], birch["status"]) == ("failed", "completed")
    assert acme["message"].startswith("its process ended by SIGKILL; its last output is in ")
    assert installation.run_of(acme["dagster_run_id"]).status.value == "FAILURE"


def test_two_copies_of_a_line_of_a_crontab_do_no_harm(installation: Installation, command: Command):
    """Whoever comes first: each record is written once, and both end well."""
    installation.add("acme", "birch")
    slow(installation, "acme", "birch", seconds=2.0)
    other = installation.start("sync", "--entity", "invoices", "--json")
    said = command("sync", "--entity", "invoices", "--json")
    answers = [said.json, parsed(other.communicate(timeout=90)[0])]
    assert [said.code, other.returncode] == [0, 0]
    assert sum(answer["failed_syncs"] for answer in answers) == 0
    assert sum(answer["successful_syncs"] for answer in answers) >= 2
    created = installation.value("SELECT sum(records_created) FROM servicetitan_sync_logs")
    assert created == installation.value("SELECT count(*) FROM st_invoices")
    assert installation.differences("acme", "invoices") == installation.differences("birch", "invoices") == []
