"""`up`, `down`, `migrate` and `doctor`: once each as a process, as a person runs them, the rest in this process."""

import json
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from st_pipeline.embedded_postgres import embedded
from st_pipeline.entities import ENTITIES
from st_pipeline.environment_file import read_file
from st_pipeline.postgres.schema_version import newest_version
from st_pipeline_tests.cli.project import Project
from st_pipeline_tests.quick_storage import make_folder


@pytest.fixture(scope="module")
def started() -> Iterator[Project]:
    """A project after `st-pipeline up --database-only`."""
    folder = make_folder("st-pipeline-project-")
    folder.chmod(0o755)
    project = Project(folder)
    done = project.run_as_a_process("up", "--database-only")
    assert done.returncode == 0, done.stderr
    yield project
    embedded.remove(folder / ".st-pipeline" / "postgres")
    shutil.rmtree(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that was never started."""
    return Project(tmp_path)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The error as a person sees it: one line, no traceback, nothing on standard output."""
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_up_writes_an_environment_file_that_is_the_owners_alone(started: Project):
    assert stat.S_IMODE(started.environment_file.stat().st_mode) == 0o600
    values = read_file(started.environment_file)
    assert set(values) == {
        "DAGSTER_HOME",
        "ST_PIPELINE_HOME",
        "ST_PIPELINE_DAGSTER_STORAGE",
        "ST_PIPELINE_ENCRYPTION_KEYS",
    }
    assert values["DAGSTER_HOME"] == str(started.folder)
    assert values["ST_PIPELINE_DAGSTER_STORAGE"].startswith("postgresql+psycopg2://")


def test_up_again_keeps_the_key_and_whatever_else_the_file_holds(started: Project):
    key = read_file(started.environment_file)["ST_PIPELINE_ENCRYPTION_KEYS"]
    with started.environment_file.open("a") as file:
        file.write("ST_PIPELINE_RATE_LIMIT=100/minute\n")
    assert started.run("up", "--database-only").returncode == 0
    values = read_file(started.environment_file)
    assert values["ST_PIPELINE_ENCRYPTION_KEYS"] == key
    assert values["ST_PIPELINE_RATE_LIMIT"] == "100/minute"


def test_down_stops_the_server_and_up_brings_it_back_with_its_rows(started: Project):
    assert started.run("companies", "add", "acme", "--name", "Acme").returncode == 0
    assert "stopped" in started.run_as_a_process("down").stdout
    assert "not running" in started.run("down").stdout
    assert "st-pipeline up" in one_line(started.run("companies", "list"))
    assert started.run("up", "--database-only").returncode == 0
    assert "acme" in started.run("companies", "list").stdout


def test_migrate_says_what_it_did_and_does_not_go_down_unasked(started: Project):
    assert f"{newest_version()} -> {newest_version()}" in started.run_as_a_process("migrate").stdout
    refused = started.run("migrate", "--to", "0001")
    assert refused.returncode == 2
    assert "--yes" in one_line(refused)
    assert "unknown version '0042'" in one_line(started.run("migrate", "--to", "0042", "--yes"))


def test_up_and_migrate_let_columns_say_what_they_mean(started: Project):
    said = ENTITIES["jobs"].column("total").comment
    query = """
        SELECT col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 'st_jobs'::regclass AND attname = 'total'
    """
    with psycopg.connect(_url(started), autocommit=True) as connection:
        assert connection.execute(query).fetchone() == (said,)
        connection.execute("COMMENT ON COLUMN st_jobs.total IS 'old words'")
        assert started.run("migrate").returncode == 0
        assert connection.execute(query).fetchone() == (said,)


def test_a_lost_key_is_asked_for_and_not_replaced(started: Project):
    """A new key could not decrypt the old secrets, and nothing would say so."""
    with psycopg.connect(_url(started)) as connection:
        connection.execute("INSERT INTO companies (slug, name) VALUES ('beta', 'Beta') ON CONFLICT DO NOTHING")
        connection.execute("""
            INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret)
            SELECT id, 'production', 1, 'x', 'x' FROM companies WHERE slug = 'beta'
        """)
    held = started.environment_file.read_text()
    started.environment_file.write_text("")
    try:
        done = started.run("up", "--database-only")
        assert done.returncode == 2
        assert "ST_PIPELINE_ENCRYPTION_KEYS" in one_line(done)
        assert "ENCRYPTION_KEYS" not in started.environment_file.read_text()
    finally:
        started.environment_file.write_text(held)
        with psycopg.connect(_url(started)) as connection:
            connection.execute("DELETE FROM servicetitan_credentials")


def test_doctor_finds_all_well_after_up(started: Project):
    done = started.run_as_a_process("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert findings["Postgres"]["state"] == "ok"
    assert findings["encryption keys"]["state"] == "ok"
    assert findings["app key"]["state"] == "warning"


@pytest.mark.parametrize(
    ("variables", "check"),
    [
        ({"ST_PIPELINE_ENCRYPTION_KEYS": "1:c2hvcnQ="}, "keys"),
        ({"ST_PIPELINE_APP_KEY": "ak1.key "}, "app key"),
        ({"ST_PIPELINE_PRODUCTION_API_URL": "http://127.0.0.1:1"}, "production addresses"),
        ({"ST_PIPELINE_INTEGRATION_API_URL": "http://example.com"}, "integration addresses"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "Postgres"),
        ({"ST_PIPELINE_MAX_ATTEMPTS": "many"}, "settings"),
        ({"DAGSTER_HOME": "relative/folder"}, "DAGSTER_HOME"),
        ({"ST_PIPELINE_ALERT_CHANNELS": "ops=nowhere"}, "alerts"),
    ],
)
def test_doctor_names_what_is_wrong(started: Project, variables: dict[str, str], check: str):
    done = started.run("doctor", "--json", **variables)
    assert done.returncode == 1
    wrong = [finding["check"] for finding in json.loads(done.stdout) if finding["state"] == "wrong"]
    assert wrong == [check]


def test_doctor_warns_of_an_environment_file_others_can_read(started: Project):
    started.environment_file.chmod(0o644)
    done = started.run("doctor")
    started.environment_file.chmod(0o600)
    assert done.returncode == 1
    assert "chmod 600 .env" in done.stdout


def test_a_taken_port_is_one_clear_line(started: Project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = started.run("up", ST_PIPELINE_DAGSTER_PORT=port)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr
    assert "ST_PIPELINE_DAGSTER_PORT" in done.stderr


def test_the_web_server_alone_wants_a_project_that_was_set_up(project: Project):
    refused = project.run_as_a_process("webserver", "--port", "39173")  # it would become Dagster's
    assert "run `st-pipeline up --database-only` first" in one_line(refused)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ST_PIPELINE_DAGSTER_HOST_NAMES": "https://dagster.example.com"}, "without http:// and port"),
        ({"DATABASE_URL": "mysql://somewhere/db"}, "DATABASE_URL is not a valid Postgres address"),
        ({"DATABASE_URL": "postgresql://u:pass-word@127.0.0.1:1/db"}, "Postgres at 127.0.0.1:1 does not answer"),
        ({"ST_PIPELINE_RATE_LIMIT": "fast"}, "write a rate as 40/second"),
        ({"ST_PIPELINE_LOG_LEVEL": "loud"}, "ST_PIPELINE_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_changes_nothing(project: Project, variables: dict[str, str], words: str):
    done = project.run("up", "--database-only", **variables)
    assert done.returncode in (1, 2)
    assert words in one_line(done)
    assert "pass-word" not in done.stderr
    assert not project.environment_file.exists()


def test_a_database_with_other_tables_is_refused_and_not_changed(project: Project, empty_engine: Engine):
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id int)")
    url = empty_engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = project.run("migrate", DATABASE_URL=url)
    assert done.returncode == 2
    assert "tables that are not st-pipeline's" in one_line(done)


def test_outside_a_project_folder_the_missing_file_is_named(tmp_path: Path, engine: Engine):
    project = Project(tmp_path)
    (tmp_path / "workspace.yaml").unlink()
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = project.run("up", "--database-only", DATABASE_URL=url)
    assert done.returncode == 2
    assert "no workspace.yaml" in one_line(done)


def test_help_is_quick_to_import():
    """Help must not pay for pandas or Dagster."""
    probe = (
        "import sys, st_pipeline.cli as c; c.run(['--help']); "
        "print([name for name in ('pandas', 'dagster', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def _url(project: Project) -> str:
    server = embedded.attach(project.folder / ".st-pipeline" / "postgres")
    assert server is not None
    return server.url("st_pipeline")
