"""The embedded Postgres: one server per project folder, started when needed and shared by every process until stopped.

Here: the functions that callers use, and the lock around them. Not here: programs and accounts (`binaries`), folders
and files (`home`), processes (`postmaster`), tables (postgres/). With DATABASE_URL set, none of this is used.

The server listens on loopback only, asks for a password, keeps its port across restarts, and outlives the process that
started it.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import psycopg
from filelock import FileLock, Timeout
from psycopg import errors as postgres_errors
from psycopg import sql

from st_pipeline.embedded_postgres.binaries import Account, find_binaries
from st_pipeline.embedded_postgres.home import HOST, ServerHome, State, find_home, make_folder, make_home
from st_pipeline.embedded_postgres.postmaster import (
    START_TIMEOUT_SECONDS,
    USER,
    find_postmaster,
    make_data,
    start_postmaster,
    stop_postmaster,
)
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
LONGEST_NAME_BYTES = 63
"""PostgreSQL truncates longer names silently."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. `folder`: as the caller named it. `version`: such as `18.6`. `pid`: the postmaster's."""

    folder: Path
    port: int
    pid: int
    version: str
    password: str = field(repr=False)

    def url(self, database: str) -> str:
        """The address, with the password: never log it. Callers add their driver (`postgresql+psycopg://`)."""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@{HOST}:{self.port}/{quote(database, safe='')}"


@dataclass(frozen=True)
class ServerStatus:
    """The state of a server. `server` None: it does not run, or (with a `pid`) starts, stops or does not answer."""

    server: EmbeddedServer | None
    pid: int | None
    data_folder: Path
    log_file: Path
    note: str


def start(folder: Path, *, options: Mapping[str, str] = NO_OPTIONS) -> EmbeddedServer:
    """The server of `folder`, started unless it is running, with a new data folder if there is none.

    `options`: Postgres settings that override ours (`postmaster.SETTINGS`); a running server keeps its own. Raises
    ConfigurationError (a person has to act) and DatabaseUnavailable (it did not start, or another process holds the
    lock).
    """
    running = attach(folder)
    if running is not None:
        return running
    with _explained(folder, "start"):
        make_folder(folder)
        with _lock(folder):
            return attach(folder) or _start(folder, find_home(folder) or make_home(folder), options)


def attach(folder: Path) -> EmbeddedServer | None:
    """The running server of `folder` if it accepts connections now; never starts one. Raises ConfigurationError."""
    _refuse_windows()
    with _explained(folder, "attach to"):
        home = find_home(folder)
        found = None if home is None else find_postmaster(home.data)
        if home is None or found is None or not found.answers():
            return None
        return _as_server(folder, home, found.pid, found.port)


def stop(folder: Path, *, mode: str = "fast") -> bool:
    """Stop the server of `folder`; False when none was running. `mode`: smart, fast or immediate, as for pg_ctl.

    Raises ConfigurationError and DatabaseUnavailable (it is still shutting down after a minute).
    """
    _refuse_windows()
    with _explained(folder, "stop"):
        home = find_home(folder)
        if home is None:
            return False
        with _lock(folder):
            return stop_postmaster(home.data, mode)


def status(folder: Path) -> ServerStatus | None:
    """What runs in `folder`, and where its data and log are; None when no server was ever created there."""
    _refuse_windows()
    with _explained(folder, "read the status of"):
        home = find_home(folder)
        if home is None:
            return None
        found = find_postmaster(home.data)
        return ServerStatus(
            server=_as_server(folder, home, found.pid, found.port) if found is not None and found.answers() else None,
            pid=None if found is None else found.pid,
            data_folder=home.data,
            log_file=home.log,
            note=home.read_state().note,
        )


def remove(folder: Path) -> None:
    """Stop the server of `folder` and delete its data, wherever that is. For tests and a deliberate reset."""
    _refuse_windows()
    with _explained(folder, "remove"):
        home = find_home(folder)
        if home is not None:
            with _lock(folder):
                stop_postmaster(home.data, "immediate")
                home.remove()


def ensure_database(server: EmbeddedServer, name: str) -> bool:
    """Create the database if it is missing; True when this call created it.

    Raises ConfigurationError (the name) and DatabaseUnavailable.
    """
    if not 0 < len(name.encode()) <= LONGEST_NAME_BYTES or "\0" in name:
        raise ConfigurationError(f"{name!r} is not a valid database name: write 1 to {LONGEST_NAME_BYTES} bytes")
    try:
        with psycopg.connect(server.url("postgres"), autocommit=True, connect_timeout=10) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return False
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except (postgres_errors.DuplicateDatabase, postgres_errors.UniqueViolation):
        return False  # another process was faster
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"cannot create database {name} in the embedded Postgres on port {server.port}: check that it is still "
            "running, and read the log beside its data"
        ) from error
    return True


def _start(folder: Path, home: ServerHome, options: Mapping[str, str]) -> EmbeddedServer:
    """Start the server. The caller holds the lock, and no server answers."""
    account = Account.for_data(home.data)
    binaries = find_binaries(account, home.made_by_major)
    state = home.read_state()
    moved_aside = home.clear_leftovers()
    if home.made_by_major is None:
        make_data(home, account, binaries, durable=options.get("fsync") != "off")
    started = start_postmaster(home, account, binaries, options, state.port)
    note = moved_aside
    if state.port not in (0, started.port):
        note = f"port {state.port} is used by another program: the server now listens on {started.port}, URLs changed"
    home.write_state(State(place=state.place, port=started.port, version=binaries.version, note=note))
    return _as_server(folder, home, started.pid, started.port)


def _as_server(folder: Path, home: ServerHome, pid: int, port: int) -> EmbeddedServer:
    return EmbeddedServer(folder, port, pid, version=home.read_state().version, password=home.read_password())


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process starts or stops at a time. The operating system frees the lock of a killed process."""
    lock = FileLock(folder / "lock", timeout=START_TIMEOUT_SECONDS + 10, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise DatabaseUnavailable(
            f"another process has been starting or stopping the Postgres in {folder} for {lock.timeout:.0f} s: "
            "find out what it is doing, then try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _explained(folder: Path, doing: str) -> Iterator[None]:
    """Report a full disk or a missing right in one line."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ConfigurationError(
            f"cannot {doing} the embedded Postgres in {folder}: {error.strerror or error}{where}"
        ) from error


def _refuse_windows() -> None:
    if os.name != "posix":
        raise ConfigurationError(
            f"the embedded Postgres runs on Linux and macOS, not on {sys.platform}: set DATABASE_URL to another server"
        )
