"""The server's process: make its data folder, start it, see whether it is alive, stop it.

Here: processes and signals. Not here: which folder and port (`home`), the public functions (`embedded`).

pg_ctl is not used: it trusts the process id in a file, which may by now be another program's, puts paths into a shell
command, and checks only every 100 ms. A server is recognised by its command line, which names its data folder.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg import pq

from st_pipeline.embedded_postgres.binaries import Account, Binaries, last_line
from st_pipeline.embedded_postgres.home import HOST, ServerHome, choose_port, free_port
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable

USER = "postgres"
SETTINGS = {
    # Little, for small machines; the operating system caches files, too.
    "shared_buffers": "128MB",
    # Dagster's processes, the runs' pools and a person with psql; each idle connection costs about 2 MB.
    "max_connections": "100",
    # After a checkpoint, the first change of each page logs the whole page. With 1.3 GB of upserts: one checkpoint
    # instead of three and 14 % less log than with the default of 1 GB. More would only make crash recovery longer.
    "max_wal_size": "2GB",
    # Polls change a few rows every five minutes, which is the default interval of checkpoints.
    "checkpoint_timeout": "15min",
    # Our statements are short, or bulk copies: compiling them costs more than it gains (and the wheel has no compiler).
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log must hold no customer's record, so errors of statements, which quote values, go to the client only. The
    # level "log" still records starts, stops, crashes and refused connections.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    # A line per checkpoint would fill a log that nobody rotates.
    "log_checkpoints": "off",
}
OURS = ("port", "listen_addresses", "unix_socket_directories", "data_directory")

START_TIMEOUT_SECONDS = 120.0
"""Crash recovery after a bulk load replays up to max_wal_size of log: 36 s were measured."""

CLAIM_TIMEOUT_SECONDS = 10.0
"""After a kill -9 the dead server's children need a moment to notice."""

PORT_ATTEMPTS = 3
"""Another program may take the port after we found it free."""

STOP_TIMEOUT_SECONDS = 60.0
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Postmaster:
    """A living process of our server."""

    pid: int
    port: int
    ready: bool

    def answers(self) -> bool:
        """Does it accept connections now? Asking needs no password and no free connection."""
        conninfo = f"host={HOST} hostaddr={HOST} port={self.port} user={USER} dbname=postgres connect_timeout=5"
        return self.ready and pq.PGconn.ping(f"{conninfo} sslmode=disable gssencmode=disable".encode()) == pq.Ping.OK


def find_postmaster(data: Path) -> Postmaster | None:
    """The server of this data folder, also while it starts or stops; None when the pid file is missing or stale."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None
    if not _is_server_of(pid, data):
        return None
    return Postmaster(pid, port, ready=lines[-1].strip() == "ready")


def _is_server_of(pid: int, data: Path) -> bool:
    """Is `pid` a live server of `data`?"""
    separator, command = _command_line(pid)
    program, found, _ = command.partition(separator.join((b"postgres", b"-D", os.fsencode(data))) + separator)
    return bool(found) and b"\0" not in program


def _command_line(pid: int) -> tuple[bytes, bytes]:
    """The separator of the arguments, and the command line, which is empty for a zombie or a missing process."""
    if pid <= 0:
        return b"\0", b""
    if not Path("/proc/self/cmdline").exists():  # macOS
        ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]
        answer = subprocess.run(ps, capture_output=True, check=False)  # noqa: S603  the number is an int
        return b" ", answer.stdout
    try:
        return b"\0", Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"\0", b""


def make_data(home: ServerHome, account: Account, binaries: Binaries, *, durable: bool) -> None:
    """Run initdb beside the data folder and move the result there, so that a data folder is complete or missing."""
    password = home.write_password()
    work = Path(tempfile.mkdtemp(prefix="new-", dir=home.place))
    work.chmod(0o711)
    draft, password_copy = work / "data", work / "password"
    draft.mkdir(mode=0o700)
    password_copy.touch(mode=0o600)
    password_copy.write_text(password)
    account.give(draft)
    account.give(password_copy)
    command: list[str | Path] = [binaries.folder / "initdb", "-D", draft, "-U", USER, "-E", "UTF8", "--no-locale"]
    command += ["--no-instructions", "--auth=scram-sha-256", f"--pwfile={password_copy}"]
    command += [] if durable else ["--no-sync"]
    try:
        answer = account.run(command, timeout_seconds=START_TIMEOUT_SECONDS)
        if answer.returncode != 0:
            raise DatabaseUnavailable(f"initdb could not create {home.data}: {_relevant_line(answer.stderr)}")
        draft.rename(home.data)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def start_postmaster(
    home: ServerHome, account: Account, binaries: Binaries, options: Mapping[str, str], kept_port: int
) -> Postmaster:
    """Start the server, or await one that is starting, until it accepts connections. Raises DatabaseUnavailable."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    if find_postmaster(home.data) is not None:  # whoever started it was killed while waiting
        found = _wait_until_ready(home, deadline)
        if found is not None:
            return found
    log_start = 0
    for _ in range(PORT_ATTEMPTS):
        port = choose_port(home.folder, kept_port)
        log_start = _launch(home, account, binaries, options, port)
        found = _wait_until_ready(home, deadline)
        if found is not None:
            return found
        if free_port(port) is not None:  # the port was not the reason
            break
    raise DatabaseUnavailable(
        f"the embedded Postgres in {home.data} did not start: {_relevant_line(_log_since(home.log, log_start))} "
        f"(see its log, {home.log})"
    )


def stop_postmaster(data: Path, mode: str) -> bool:
    """Stop the server of this data folder and wait until it has ended. False when none is running."""
    if mode not in STOP_SIGNALS:
        raise ConfigurationError(f"cannot stop Postgres in mode {mode!r}: the modes are {', '.join(STOP_SIGNALS)}")
    found = find_postmaster(data)
    if found is None:
        return False
    try:
        os.kill(found.pid, STOP_SIGNALS[mode])
    except ProcessLookupError:
        return False
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while _is_server_of(found.pid, data):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"Postgres (process {found.pid}, {data}) is still shutting down after {STOP_TIMEOUT_SECONDS:.0f} s: "
                "wait, or stop it in mode immediate, which is safe but makes the next start slower"
            )
        time.sleep(POLL_SECONDS)
    return True


def _launch(home: ServerHome, account: Account, binaries: Binaries, options: Mapping[str, str], port: int) -> int:
    """Start the process, not as our child, so that it outlives us and leaves no zombie. Returns the log's old size."""
    settings = {"listen_addresses": HOST, "unix_socket_directories": "", **SETTINGS, **_checked(options)}
    command: list[str | Path] = [binaries.folder / "postgres", "-D", home.data, "-p", str(port)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    claim = _claim(home)
    log = home.open_log()
    try:
        # Postgres would take another program, or a zombie, with the id in this file for a server. We hold the claim, so
        # there is none.
        (home.data / "postmaster.pid").unlink(missing_ok=True)
        log_start = os.fstat(log).st_size
        background = ["/bin/sh", "-c", '"$0" "$@" >&2 </dev/null &']
        account.run([*background, *command], timeout_seconds=30, log=log, inherit=[claim])
    finally:
        os.close(log)
        os.close(claim)
    return log_start


def _claim(home: ServerHome) -> int:
    """Take the lock that a server and its children inherit: the system frees it when the last of them has ended.

    Two servers on one data folder destroy it. Process ids cannot prevent that: after a kill -9 the children live on for
    a moment, and another container that mounts the folder has process ids of its own.
    """
    deadline = time.monotonic() + CLAIM_TIMEOUT_SECONDS
    while True:
        claim = _free_claim(home)
        if claim is not None:
            return claim
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"processes of another server, or of a killed one, still use {home.data}, maybe in another "
                f"container: end them (`fuser {home.place / 'in-use'}` lists them), then start again"
            )
        time.sleep(POLL_SECONDS)


def _free_claim(home: ServerHome) -> int | None:
    """That lock, now ours; None while a server's process holds it."""
    import fcntl  # not on Windows

    descriptor = os.open(home.place / "in-use", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _checked(options: Mapping[str, str]) -> Mapping[str, str]:
    for name in options:
        if name in OURS or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", name):
            raise ConfigurationError(f"{name!r} is not a Postgres setting that the embedded server may be given")
    return options


def _wait_until_ready(home: ServerHome, deadline: float) -> Postmaster | None:
    """The server as soon as it answers; None when its processes have ended.

    Whether they have, the claim tells: a process that is just becoming Postgres (exec) has an empty command line.
    """
    while True:
        found = find_postmaster(home.data)
        if found is not None and found.answers():
            return found
        if found is None and (claim := _free_claim(home)) is not None:
            os.close(claim)
            return None
        if time.monotonic() > deadline:
            process = f"process {found.pid}, " if found else ""
            raise DatabaseUnavailable(
                f"Postgres ({process}{home.data}) is running but accepts no connections after "
                f"{START_TIMEOUT_SECONDS:.0f} s: see its log, {home.log}"
            )
        time.sleep(POLL_SECONDS)


def _log_since(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - 20_000))
        return file.read().decode(errors="replace")


def _relevant_line(text: str) -> str:
    """The line of a server's output that says why it ended."""
    lines = [line for line in text.splitlines() if re.search(r"FATAL|PANIC|ERROR|error", line)]
    line = lines[0] if lines else last_line(text)
    return line.partition("FATAL:")[2].strip() or line or "it printed no error"
