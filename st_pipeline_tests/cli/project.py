"""A project folder of a test's own, and the command run in it as a person would."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from st_pipeline.cli import run

CHECKOUT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("st-pipeline"))


class Project:
    """A folder with dagster.yaml and workspace.yaml, and no settings but its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(CHECKOUT / name, folder / name)

    def run_as_a_process(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `st-pipeline` here as a person does, and wait. Starting Python and its libraries takes a second."""
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=_without_settings() | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """The same in this process, which is left as it was."""
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _become(_without_settings() | variables)
            try:
                code = run(list(arguments))
            finally:
                _become(before)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    @property
    def environment_file(self) -> Path:
        """The `.env` that `up` writes."""
        return self.folder / ".env"


def _without_settings() -> dict[str, str]:
    """This process's variables, but for settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ST_PIPELINE_") and name not in ("DATABASE_URL", "DAGSTER_HOME")
    }


def _become(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
