"""The embedded server through its public functions: start, attach, stop, status, and the ways it can break."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from st_pipeline.embedded_postgres import embedded, postmaster
from st_pipeline.embedded_postgres.binaries import Account
from st_pipeline.embedded_postgres.home import find_home
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable
from st_pipeline_tests.embedded_postgres.embedded_servers import (
    QUICK,
    in_other_process,
    processes_naming,
    project_folder,
    query,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project whose server was never started."""
    with project_folder(0o755) as made:
        yield made


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    """A project that has its data already, as initdb takes most of the time of a first start."""
    with project_folder(0o755) as made:
        yield made


@pytest.fixture
def server(used_folder: Path) -> embedded.EmbeddedServer:
    return embedded.start(used_folder, options=QUICK)


def test_a_started_server_is_shared_by_another_process_and_stays_after_it(folder: Path) -> None:
    first = in_other_process("print(embedded.start(folder, options=QUICK).pid)", folder)
    output, errors = first.communicate(timeout=30)
    assert first.returncode == 0, errors

    attached = embedded.attach(folder)
    assert attached is not None
    assert attached == embedded.start(folder)
    assert attached.pid == int(output)
    assert query(attached, "SELECT 1") == [(1,)]


def test_two_processes_starting_at_the_same_moment_share_one_server(folder: Path) -> None:
    moment = time.time() + 0.7
    code = f"time.sleep(max(0, {moment} - time.time())); print(embedded.start(folder, options=QUICK))"
    starting = [in_other_process(code, folder) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in starting]
    assert answers[0][0] == answers[1][0] != "", answers


def test_a_stopped_server_starts_again_at_the_same_url_with_its_rows(
    used_folder: Path, server: embedded.EmbeddedServer
) -> None:
    query(server, "CREATE TABLE kept_stopped AS SELECT 7 AS number")
    assert embedded.stop(used_folder)
    assert embedded.attach(used_folder) is None
    assert not embedded.stop(used_folder), "stopping twice is no error"

    again = embedded.start(used_folder, options=QUICK)
    assert again.url("postgres") == server.url("postgres")
    assert again.pid != server.pid
    assert query(again, "SELECT number FROM kept_stopped") == [(7,)]


def test_a_killed_server_is_started_again_with_its_rows(used_folder: Path, server: embedded.EmbeddedServer) -> None:
    """With a client connected: the dead server's children hold its memory until they notice."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as client:
        client.execute("CREATE TABLE kept_killed AS SELECT generate_series(1, 1000) AS number")
        os.kill(server.pid, signal.SIGKILL)
        again = embedded.start(used_folder, options=QUICK)
    assert again.pid != server.pid
    assert again.port == server.port
    assert query(again, "SELECT count(*) FROM kept_killed") == [(1000,)]


def test_the_server_survives_a_kill_of_the_process_that_started_it_and_can_be_stopped(folder: Path) -> None:
    holder = in_other_process("print(embedded.start(folder, options=QUICK).pid, flush=True); time.sleep(60)", folder)
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()

    attached = embedded.attach(folder)
    assert attached is not None
    assert attached.pid == pid
    assert os.getsid(pid) != os.getsid(0), "a Ctrl-C in the terminal would reach the server"
    assert embedded.stop(folder)
    assert processes_naming(folder) == []


def test_a_killed_start_can_be_repeated(folder: Path) -> None:
    starting = in_other_process("embedded.start(folder, options=QUICK)", folder)
    while not list(folder.glob("new-*/data/PG_VERSION")):
        assert starting.poll() is None, "initdb was quicker than we are"
        time.sleep(0.002)
    starting.kill()
    starting.communicate()
    assert not (folder / "data").exists(), "a data folder must be complete or absent"
    # Its initdb lives on; on a busy machine it would still be writing when its folder is cleared away.
    give_up_at = time.monotonic() + 60
    while f"{folder}/new-" in subprocess.check_output(["ps", "-A", "-o", "args="], text=True):  # noqa: S607
        assert time.monotonic() < give_up_at
        time.sleep(0.02)

    assert query(embedded.start(folder, options=QUICK), "SELECT 1") == [(1,)]
    assert list(folder.glob("new-*")) == []


def test_an_incomplete_data_folder_is_moved_away(folder: Path) -> None:
    (folder / "data" / "base").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("18\n")
    assert query(embedded.start(folder, options=QUICK), "SELECT 1") == [(1,)]

    status = embedded.status(folder)
    assert status is not None
    (aside,) = folder.glob("data.incomplete-*")
    assert str(aside) in status.note
    assert (aside / "base").is_dir()


def test_a_damaged_database_is_refused_and_not_replaced_by_an_empty_one(
    used_folder: Path, server: embedded.EmbeddedServer
) -> None:
    embedded.stop(used_folder)
    control_file = used_folder / "data" / "global" / "pg_control"
    hidden = control_file.rename(used_folder / "hidden")
    with pytest.raises(ConfigurationError, match=r"is damaged .* restore it from a backup"):
        embedded.start(used_folder, options=QUICK)
    hidden.rename(control_file)
    assert embedded.start(used_folder, options=QUICK).port == server.port


@pytest.mark.usefixtures("server")
def test_a_pid_file_that_names_another_program_blocks_no_start_and_harms_nobody(used_folder: Path) -> None:
    """After a reboot the id may be another program's: pg_ctl would signal it, and the server would refuse to start."""
    pid_file = used_folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop(used_folder)
    account = Account.for_data(used_folder / "data")
    foreign = subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account.switched else None)
    try:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        assert embedded.attach(used_folder) is None
        assert not embedded.stop(used_folder)
        assert embedded.start(used_folder, options=QUICK).pid != foreign.pid
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_a_lost_pid_file_never_leads_to_a_second_server_on_the_same_data(
    used_folder: Path, server: embedded.EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a server in another container that shares the folder, whose process id means nothing here."""
    pid_file = used_folder / "data" / "postmaster.pid"
    text = pid_file.read_text()
    pid_file.unlink()
    monkeypatch.setattr(postmaster, "CLAIM_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DatabaseUnavailable, match="another container"):
        embedded.start(used_folder, options=QUICK)
    assert query(server, "SELECT 1") == [(1,)]

    pid_file.write_text(text)
    account = Account.for_data(used_folder / "data")
    account.give(pid_file)
    assert embedded.attach(used_folder) == server


def test_a_used_port_is_replaced_and_the_change_is_noted(used_folder: Path, server: embedded.EmbeddedServer) -> None:
    embedded.stop(used_folder)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.port))
        other.listen()
        moved = embedded.start(used_folder, options=QUICK)
        assert moved.port != server.port
        status = embedded.status(used_folder)
        assert status is not None
        assert f"port {server.port} is used by another program" in status.note

    embedded.stop(used_folder)
    assert embedded.start(used_folder, options=QUICK).port == moved.port, "the new port is kept from now on"


def test_data_of_another_major_version_is_refused_with_both_versions_and_what_to_do(
    used_folder: Path, server: embedded.EmbeddedServer
) -> None:
    embedded.stop(used_folder)
    version_file = used_folder / "data" / "PG_VERSION"
    version_file.write_text("13\n")
    with pytest.raises(ConfigurationError, match=rf"made by PostgreSQL 13, .*{server.version}.*pg_dumpall") as refusal:
        embedded.start(used_folder, options=QUICK)
    assert "\n" not in str(refusal.value)
    version_file.write_text("18\n")


def test_secrets_are_readable_by_us_only_and_shown_nowhere(used_folder: Path, server: embedded.EmbeddedServer) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in used_folder.iterdir()}
    assert modes == {
        "data": 0o700,
        "in-use": 0o600,
        "lock": 0o600,
        "password": 0o600,
        "server.log": 0o600,
        "state.json": 0o600,
    }
    assert len(server.password) >= 24
    places = [repr(server), repr(embedded.status(used_folder)), (used_folder / "state.json").read_text()]
    places += [(used_folder / "server.log").read_text(), *processes_naming(used_folder)]
    assert not [place for place in places if server.password in place]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url("postgres").replace(server.password, "guess"))


def test_a_failing_statement_leaves_no_customer_data_in_the_log(
    used_folder: Path, server: embedded.EmbeddedServer
) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(server, "CREATE TABLE people (name text PRIMARY KEY); INSERT INTO people VALUES ('Ada'), ('Ada')")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        query(server, "SELECT 'Ada'::int")
    assert "Ada" not in (used_folder / "server.log").read_text()


def test_the_server_listens_on_loopback_only_and_is_durable_unless_told_otherwise(folder: Path) -> None:
    server = embedded.start(folder)
    names = (
        "listen_addresses unix_socket_directories fsync synchronous_commit jit TimeZone shared_buffers server_encoding"
    )
    settings = {name: query(server, f"SHOW {name}")[0][0] for name in names.split()}
    assert settings == {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "jit": "off",
        "TimeZone": "UTC",
        "shared_buffers": "128MB",
        "server_encoding": "UTF8",
    }


def test_a_setting_that_postgres_refuses_is_reported_in_one_line_that_names_the_log(folder: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"shared_buffers.*see its log, .*server\.log") as refusal:
        embedded.start(folder, options={"shared_buffers": "plenty"})
    assert "\n" not in str(refusal.value)
    with pytest.raises(ConfigurationError, match="port"):
        embedded.start(folder, options={"port": "1"})
    assert embedded.start(folder, options=QUICK).pid


def test_a_database_is_created_once_whatever_its_name(server: embedded.EmbeddedServer) -> None:
    name = 'da"ta; DROP base-ä'
    assert embedded.ensure_database(server, name)
    assert not embedded.ensure_database(server, name)
    with psycopg.connect(server.url(name)) as connection:
        assert connection.info.dbname == name
    for bad in ("", "x" * 64):
        with pytest.raises(ConfigurationError, match="not a valid database name"):
            embedded.ensure_database(server, bad)


def test_a_stopped_server_is_reported_when_a_database_is_wanted(
    used_folder: Path, server: embedded.EmbeddedServer
) -> None:
    embedded.stop(used_folder)
    with pytest.raises(DatabaseUnavailable, match="cannot create database reports") as refusal:
        embedded.ensure_database(server, "reports")
    assert server.password not in str(refusal.value)


def test_status_tells_a_stopped_server_from_none_at_all(folder: Path) -> None:
    assert embedded.status(folder) is None
    assert not embedded.stop(folder)
    server = embedded.start(folder, options=QUICK)
    embedded.stop(folder)
    status = embedded.status(folder)
    assert status is not None
    assert (status.server, status.pid) == (None, None)
    assert status.data_folder == find_home(folder).data  # type: ignore[union-attr]
    assert server.folder == folder


def test_remove_deletes_what_we_made_and_nothing_else(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    embedded.start(folder, options=QUICK)
    embedded.remove(folder)
    embedded.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
