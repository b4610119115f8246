"""What the tests of the embedded server share: folders its account can enter, and processes that start it.

pytest's own tmp_path is closed to other accounts, so as root every server would live outside it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from st_pipeline.embedded_postgres import embedded
from st_pipeline.embedded_postgres.home import find_home
from st_pipeline_tests.quick_storage import make_folder

QUICK = {"fsync": "off", "shared_buffers": "16MB"}


@contextmanager
def project_folder(mode: int) -> Iterator[Path]:
    """A project's `.st-pipeline/postgres` below a folder with `mode`; afterwards no process of its server is left."""
    root = make_folder("st-pipeline-test-")
    root.chmod(mode)
    folder = root / "project" / ".st-pipeline" / "postgres"
    try:
        yield folder
    finally:
        home = find_home(folder) if folder.exists() else None
        embedded.remove(folder)
        shutil.rmtree(root)
        assert home is None or processes_naming(home.data) == []


def processes_naming(path: Path) -> list[str]:
    """The command lines of living processes that name `path`."""
    if not Path("/proc/self").exists():  # macOS
        listed = subprocess.run(["/bin/ps", "-e", "-ww", "-o", "command="], capture_output=True, text=True, check=True)
        return [line for line in listed.stdout.splitlines() if str(path) in line]
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(path) in line]


def in_other_process(code: str, *arguments: Path) -> subprocess.Popen[str]:
    """Run code that uses `embedded`, `Path` and `folder` (the first argument) in a new Python process."""
    prelude = (
        "import sys, time; from pathlib import Path; from st_pipeline.embedded_postgres import embedded;"
        f"folder = Path(sys.argv[1]); QUICK = {QUICK!r};"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def query(server: embedded.EmbeddedServer, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in database `postgres` and commit; returns the rows, if any."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []
