"""A project folder of a test's own, and the command run in it as a person would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).with_name("st-pipeline"))


class Project:
    """A folder with dagster.yaml and workspace.yaml, and no settings but its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(CHECKOUT / name, folder / name)

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `st-pipeline` here and wait."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ST_PIPELINE_") and name not in ("DATABASE_URL", "DAGSTER_HOME")
        }
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def environment_file(self) -> Path:
        """The `.env` that `up` writes."""
        return self.folder / ".env"
