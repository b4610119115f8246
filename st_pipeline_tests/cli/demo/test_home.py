"""`demo` and `dev` on a checkout: a folder of their own, and not where anything real is configured."""

import os
from pathlib import Path

import pytest

from st_pipeline.cli import run
from st_pipeline.cli.demo import home
from st_pipeline.cli.demo.home import FOLDER
from st_pipeline.environment_file import read_file, write_values
from st_pipeline.settings import load_settings
from st_pipeline.simulator.demo import APP_KEY
from st_pipeline_tests.cli.project import Project

DEPLOYMENT = {
    "DATABASE_URL": "postgresql://st_pipeline:pass-word@db.example.com/st_pipeline",
    "ST_PIPELINE_APP_KEY": "ak1.real",
    "ST_PIPELINE_PRODUCTION_API_URL": "https://gateway.example.com",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout as the working folder; the environment is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("DAGSTER_HOME", "ST_PIPELINE_HOME", *DEPLOYMENT):
        monkeypatch.setenv(name, "")
    return Project(tmp_path)


@pytest.mark.parametrize("command", ["demo", "dev"])
@pytest.mark.parametrize("name", DEPLOYMENT)
def test_a_checkout_that_serves_a_deployment_is_refused_and_left_as_it_was(
    checkout: Project, capsys: pytest.CaptureFixture[str], command: str, name: str
):
    checkout.environment_file.write_text(f"{name}={DEPLOYMENT[name]}\n")
    assert run([command]) == 2
    said = capsys.readouterr().err
    assert f"`.env` in this folder sets {name}: something real is configured here" in said
    assert "pass-word" not in said
    assert said.count("\n") == 1
    assert checkout.environment_file.read_text() == f"{name}={DEPLOYMENT[name]}\n"
    assert not (checkout.folder / FOLDER).exists()


@pytest.mark.parametrize("name", [*DEPLOYMENT, "ST_PIPELINE_ENCRYPTION_KEYS", "ST_PIPELINE_DAGSTER_STORAGE"])
def test_a_deployment_s_exported_settings_are_refused(
    checkout: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    """They win over every file, so the demo would write there."""
    monkeypatch.setenv(name, DEPLOYMENT.get(name, "something"))
    assert run(["demo"]) == 2
    assert f"the environment sets {name}: " in capsys.readouterr().err
    assert not (checkout.folder / FOLDER).exists()


def test_everything_of_the_demo_is_in_a_folder_of_its_own(checkout: Project, monkeypatch: pytest.MonkeyPatch):
    # Written values hold for the process, too: without this every later test would send one request a second.
    monkeypatch.setenv("ST_PIPELINE_RATE_LIMIT", "40/second")
    held = "ST_PIPELINE_HOME=/srv/st-pipeline/.st-pipeline\nST_PIPELINE_ENCRYPTION_KEYS=1:their-own\n"
    checkout.environment_file.write_text(held)
    home.enter()
    folder = checkout.folder / FOLDER
    assert Path.cwd() == folder
    assert load_settings().home == folder
    assert load_settings().encryption_keys is None
    assert os.environ["DAGSTER_HOME"] == str(folder)
    assert {file.name for file in folder.iterdir()} == {"dagster.yaml", "workspace.yaml"}
    write_values({"ST_PIPELINE_RATE_LIMIT": "1/second"})
    assert read_file() == {"ST_PIPELINE_RATE_LIMIT": "1/second"}
    assert checkout.environment_file.read_text() == held


def test_a_checkout_in_which_an_earlier_version_s_demo_ran_is_no_deployment(checkout: Project):
    """It wrote the simulator's addresses into the checkout's own `.env`."""
    checkout.environment_file.write_text(
        f"ST_PIPELINE_APP_KEY={APP_KEY}\nST_PIPELINE_PRODUCTION_API_URL=http://127.0.0.1:8710\n"
    )
    home.enter()
    assert load_settings().production_api_url == "https://api.servicetitan.io"
