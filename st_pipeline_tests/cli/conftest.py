"""The command line against the test's database, in this process and in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from st_pipeline.cli import run
from st_pipeline.settings import Settings


@dataclass(frozen=True)
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)

    @property
    def all(self) -> str:
        """Both streams."""
        return self.out + self.err


Command = Callable[..., Said]


@pytest.fixture
def variables(settings: Settings) -> dict[str, str]:
    """The settings of the test as an operator would set them."""
    assert settings.database_url is not None
    assert settings.encryption_keys is not None
    assert settings.app_key is not None
    return {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "ST_PIPELINE_HOME": str(settings.home),
        "ST_PIPELINE_ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "ST_PIPELINE_APP_KEY": settings.app_key.get_secret_value(),
        "ST_PIPELINE_RETRY_INITIAL_SECONDS": "0.001",
        "ST_PIPELINE_RETRY_MAX_SECONDS": "0.05",
        "COLUMNS": "80",
    }


@pytest.fixture
def command(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("companies", "list")`, in this process: quick."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def say(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(list(arguments))
        written = capsys.readouterr()
        return Said(code, written.out, written.err)

    return say


@pytest.fixture
def process(variables: dict[str, str]) -> Command:
    """`process("credentials", "add", …, stdin="…")`, in a process of its own: what pipes and exit codes really do."""

    def say(*arguments: str, stdin: str | bytes = "", env: Mapping[str, str] | None = None) -> Said:
        done = subprocess.run(
            [sys.executable, "-c", "from st_pipeline.cli import main; main()", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**os.environ, **variables, **(env or {})},
            check=False,
            timeout=60,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    return say
