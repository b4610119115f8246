"""Where one embedded server keeps its files, and the state that is stored about it.

Here: folders, modes, the state and password files, the choice of a port. Not here: processes (`postmaster`).

    <folder>/state.json     0600  where the rest is, the port of the last start, notes
    <folder>/lock           0600  held while starting or stopping
    <place>/password        0600
    <place>/server.log      0600  opened by us, written by the server
    <place>/in-use          0600  locked by the server's processes as long as one of them lives
    <place>/data            0700  owned by the server's account

`place` is the folder itself, except when we are root and `nobody` cannot enter the folder (a clone below /root, or
mktemp -d made it). Then it is a folder in `binaries.SHARED_FOLDER`, and only state.json says which.
"""

import contextlib
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from st_pipeline.embedded_postgres.binaries import Account, shared_folder
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable

HOST = "127.0.0.1"
PORTS = range(20_000, 30_000)
"""Below those used for outgoing connections (Linux from 32768, macOS from 49152), which could take the server's."""

LOG_LIMIT_BYTES = 20_000_000
"""A longer log becomes server.log.1 at the next start."""

OUR_FILES = ("state.json", "lock", "password", "in-use", "server.log*", "data", "data.incomplete-*", "new-*")


class State(msgspec.Struct, frozen=True):
    """What state.json holds. `place`: "." for the folder itself, else an absolute path. `port` 0: not chosen yet."""

    place: str = "."
    port: int = 0
    version: str = ""
    note: str = ""


@dataclass(frozen=True)
class ServerHome:
    """The folder that callers name, and the place where the server's files are."""

    folder: Path
    place: Path

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.place / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.place / "server.log"

    @property
    def password_file(self) -> Path:
        """The password of the server's only role."""
        return self.place / "password"

    @property
    def made_by_major(self) -> int | None:
        """The major version that made the data folder; None when there is no complete one.

        `global/pg_control` is among the last files that initdb writes.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
            if (self.data / "global" / "pg_control").stat().st_size > 0:
                return int((self.data / "PG_VERSION").read_text().partition(".")[0])
        return None

    def read_state(self) -> State:
        """The stored state; the defaults when state.json is missing."""
        return _read_state(self.folder) or State()

    def write_state(self, state: State) -> None:
        """Replace state.json."""
        text = msgspec.json.format(msgspec.json.encode(state), indent=2).decode()
        _write_private(self.folder / "state.json", f"{text}\n")

    def read_password(self) -> str:
        """The password. Raises ConfigurationError when its file is missing."""
        try:
            return self.password_file.read_text()
        except FileNotFoundError:
            raise ConfigurationError(
                f"{self.password_file} is missing, and without it nobody can log in to the Postgres in {self.data}: "
                f"restore the file, or remove {self.folder} to begin with an empty database"
            ) from None

    def write_password(self) -> str:
        """Store a new password, and return it."""
        password = secrets.token_urlsafe(24)
        _write_private(self.password_file, password)
        return password

    def open_log(self) -> int:
        """A file descriptor to append to. The server inherits it, so its account needs no right to the file."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_LIMIT_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def remove(self) -> None:
        """Delete what we made, and nothing else in the folder."""
        if self.place != self.folder:
            shutil.rmtree(self.place)
        for pattern in OUR_FILES:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):  # something else is in it
            self.folder.rmdir()

    def clear_leftovers(self) -> str:
        """Remove what a killed initdb left. An incomplete data folder is moved, not deleted; returns a note of that.

        Raises ConfigurationError when a server once ran on the data: it is damaged then, which an empty database in its
        place would hide.
        """
        for unfinished in self.place.glob("new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if not self.data.exists() or self.made_by_major is not None:
            return ""
        if self.read_state().version:
            raise ConfigurationError(
                f"{self.data} is damaged (global/pg_control or PG_VERSION is missing): restore it from a backup, or "
                "move it away to begin with an empty database"
            )
        aside = self.place / f"data.incomplete-{time.time_ns()}"
        self.data.rename(aside)
        return f"an incomplete data folder was moved to {aside}"


def find_home(folder: Path) -> ServerHome | None:
    """The home that was created for `folder`; None when there is none. Raises ConfigurationError."""
    folder = folder.resolve()
    try:
        state = _read_state(folder)
        if state is None:
            return ServerHome(folder, folder) if (folder / "data").exists() else None
        return ServerHome(folder, folder) if state.place == "." else _home_outside(folder, Path(state.place))
    except PermissionError as error:
        raise ConfigurationError(
            f"the embedded Postgres in {folder} belongs to another user (we may not read {error.filename}): run "
            "st-pipeline as that user, or set DATABASE_URL"
        ) from error


def _home_outside(folder: Path, place: Path) -> ServerHome:
    owner = place / "belongs-to"
    if not owner.exists():
        raise ConfigurationError(
            f"{folder / 'state.json'} says that the data is in {place}, which does not exist: restore that folder, or "
            "remove state.json to begin with an empty database"
        )
    other = Path(owner.read_text())
    if other != folder and (other / "state.json").exists():
        raise ConfigurationError(
            f"{folder} is a copy of {other}, to which the data in {place} belongs: remove state.json from the copy to "
            "give it a database of its own"
        )
    if other != folder:  # the project was moved
        _write_private(owner, str(folder))
    return ServerHome(folder, place)


def make_folder(folder: Path) -> None:
    """Create the folder that callers name; an existing one keeps its mode."""
    folder.mkdir(mode=0o711 if Account.for_data(folder / "data").switched else 0o700, parents=True, exist_ok=True)


def make_home(folder: Path) -> ServerHome:
    """Choose the place for a new server of `folder`, which exists, and store it."""
    folder = folder.resolve()
    if Account.for_data(folder / "data").can_enter(folder):
        home = ServerHome(folder, folder)
        home.write_state(State())
        return home
    place = Path(tempfile.mkdtemp(prefix="postgres-", dir=shared_folder()))
    place.chmod(0o711)
    _write_private(place / "belongs-to", str(folder))
    home = ServerHome(folder, place)
    home.write_state(State(place=str(place)))
    return home


def choose_port(folder: Path, kept: int) -> int:
    """The last port if it is free, else one derived from the folder's name, else any."""
    preferred = PORTS[zlib.crc32(str(folder).encode()) % len(PORTS)]
    for port in (kept or preferred, preferred, *random.sample(PORTS, k=200), 0):
        free = free_port(port)
        if free is not None:
            return free
    raise DatabaseUnavailable(
        f"found no free port on {HOST} for the embedded Postgres: see which programs use them (ss -ltnp)"
    )


def free_port(port: int) -> int | None:
    """`port` if it is free, else None. For 0, a port that the system chooses."""
    with socket.socket() as probe:
        # As the server does; without it, a connection that ended a minute ago makes the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _read_state(folder: Path) -> State | None:
    path = folder / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{path} was not written by st-pipeline, or was changed ({error}): restore it from a backup"
        ) from error


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only the owner of its folder may read it."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if os.geteuid() == 0:  # in a container that mounts a user's project we are root; the files stay the user's
            os.chown(draft, path.parent.stat().st_uid, path.parent.stat().st_gid)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
