"""A copy of the project that may be broken, and pytest run in it.

Here: making the copy, putting a module's text into it, ending a run that hangs. Not here: which tests are run.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

# As `make test` runs it.
IN_PARALLEL = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile")
SECONDS_TO_TIDY_UP = 20


class Outcome(Enum):
    """How a run of tests ended. The values are pytest's exit codes; a run that hangs has none."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    HUNG = -1


@dataclass(frozen=True)
class ProjectCopy:
    """Every file of the project that git does not ignore. `place`: the folder of the copy and of what tests leave."""

    original: Path
    place: Path

    @property
    def root(self) -> Path:
        """The copy."""
        return self.place / "project"

    @contextmanager
    def with_text(self, path: Path, text: str) -> Iterator[None]:
        """The copy with another text for one of the original's modules."""
        copied = self.root / path.relative_to(self.original)
        before = copied.read_text(encoding="utf-8")
        self._put(copied, text)
        try:
            yield
        finally:
            self._put(copied, before)

    def _put(self, copied: Path, text: str) -> None:
        copied.write_text(text, encoding="utf-8")
        # Python compares seconds and size, and mutants come faster than that.
        for stale in (copied.parent / "__pycache__").glob(f"{copied.stem}.*.pyc"):
            stale.unlink()

    def imports(self, module: str) -> bool:
        """Does the module still import?"""
        done = subprocess.run([sys.executable, "-c", f"import {module}"], check=False, env=self._environment(),
                              cwd=self.root, capture_output=True)  # fmt: skip
        return done.returncode == 0

    def test(
        self, tests: Sequence[str], *, limit_seconds: float, options: Sequence[str] = (), **environment: str
    ) -> tuple[Outcome, str]:
        """Run tests by their ids, up to the first failure; and what pytest said last.

        Raises RuntimeError: pytest could not run them, which says nothing of the mutant.
        """
        named = self.place / "tests.txt"
        named.write_text("\n".join(tests), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *options, f"@{named}"]
        with (self.place / "output.txt").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True,
                                       env=self._environment() | environment)  # fmt: skip
            try:
                code = process.wait(limit_seconds)
            except subprocess.TimeoutExpired:
                self._end(process)
                return Outcome.HUNG, f"longer than {limit_seconds:.0f} s"
            except BaseException:
                self._end(process)
                raise
            output.seek(0)
            said = output.read()
        if code not in (0, 1, 2):
            raise RuntimeError(f"pytest could not run the tests (exit code {code}):\n{said[-3000:]}")
        failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return Outcome(code), failed[0] if failed else said[-300:]

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        """As Ctrl-C does, so that fixtures stop their servers; then whatever is left of its process group."""
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_TIDY_UP)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pid_file in self.place.glob("tmp/**/postmaster.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text(encoding="utf-8").split()[0]), signal.SIGINT)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.root), "TMPDIR": str(self.place / "tmp")}


@contextmanager
def copied(original: Path) -> Iterator[ProjectCopy]:
    """A copy for as long as it is needed."""
    place = Path(tempfile.mkdtemp(prefix="mutants-"))
    place.chmod(0o755)  # for root, the tests' Postgres runs as another account
    copy = ProjectCopy(original, place)
    (place / "tmp").mkdir(mode=0o777)
    (place / "tmp").chmod(0o777)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
                            cwd=original, check=True, capture_output=True, text=True)  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (original / name).is_file():
            (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original / name, copy.root / name)
    try:
        yield copy
    finally:
        shutil.rmtree(place, ignore_errors=True)
