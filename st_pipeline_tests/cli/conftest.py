"""The command line against the test's database, in this process and in one of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from st_pipeline.cli import run
from st_pipeline.embedded_postgres.embedded import EmbeddedServer, ensure_database
from st_pipeline.postgres.dagster_database import owner_of
from st_pipeline.postgres.database import DAGSTER_DRIVER, DRIVER, open_engine
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.cli.installation import Installation, pythonpath, variables_for
from st_pipeline_tests.cli.project import CHECKOUT
from st_pipeline_tests.tenants import planted


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
    def words(self) -> str:
        """Standard output without its line breaks."""
        return " ".join(self.out.split())

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

    return _here(capsys)


@pytest.fixture
def acme_command(acme: Acme, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`command` where `acme` is onboarded, with its simulator in ServiceTitan's place."""
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_API_URL", acme.source.url)
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_AUTH_URL", f"{acme.source.url}/connect/token")
    monkeypatch.setenv("ST_PIPELINE_INTEGRATION_API_URL", acme.source.control.integration_url)
    monkeypatch.setenv("ST_PIPELINE_INTEGRATION_AUTH_URL", f"{acme.source.control.integration_url}/connect/token")
    monkeypatch.setenv("ST_PIPELINE_APP_KEY", acme.source.app_key)
    return command


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command` without a database: what ends well here never asked for one."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    return _here(capsys)


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


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """The planted client secret, as a careful operator keeps it."""
    file = tmp_path / "secret"
    file.write_text(planted.CLIENT_SECRET + "\n")
    file.chmod(0o600)
    return file


def _here(capsys: pytest.CaptureFixture[str]) -> Command:
    def say(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(list(arguments))
        written = capsys.readouterr()
        return Said(code, written.out, written.err)

    return say


def assert_refused(said: Said, reason: str, engine: Engine | None = None) -> None:
    """Exit code 2, one line, no secret, nothing half-written."""
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    assert reason in said.err
    assert not [secret for secret in planted.PLANTED if secret in said.err]
    if engine is not None:
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM servicetitan_credentials")).scalar_one() == 0
        planted.assert_nothing_planted(engine)


@pytest.fixture(scope="session")
def dagster_storage(postgres_server: EmbeddedServer) -> str:
    """A database for Dagster's own storage: its tables take a second to make, so all tests share it."""
    ensure_database(postgres_server, "dagster_of_the_desk")
    url = make_url(postgres_server.url("dagster_of_the_desk")).set(drivername=DAGSTER_DRIVER)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def installation(
    engine: Engine,
    settings: Settings,
    variables: dict[str, str],
    dagster_storage: str,
    servicetitan_simulator: SimulatorControl,
    servicetitan_tenant: Callable[..., SimulatedTenant],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Installation:
    """An installation without tenants; commands and their processes find everything in the environment."""
    hand_over(dagster_storage, engine)
    home = tmp_path / "project"
    home.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(CHECKOUT / name, home / name)
    simulator = servicetitan_simulator
    more = variables_for(simulator.production_url, simulator.integration_url, dagster_storage, home)
    for name, value in {**variables, **more, "PYTHONPATH": pythonpath()}.items():
        monkeypatch.setenv(name, value)
    return Installation(engine, settings, servicetitan_tenant, home)


def hand_over(storage: str, engine: Engine) -> None:
    """Dagster's storage, which the tests share, belongs to this test's database from now on."""
    there = open_engine(make_url(storage).set(drivername=DRIVER))
    with there.begin() as connection:
        if owner_of(connection) is not None:
            connection.execute(text("UPDATE st_pipeline_deployment SET main_database = :n"), {"n": engine.url.database})
    there.dispose()
