"""Text from outside never steers the terminal it is shown on: an escape sequence clears the screen, or worse."""

import json
import re
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine, text

import st_pipeline.cli
from st_pipeline.errors import PipelineError, ServiceUnavailable
from st_pipeline.logs import configure_logs
from st_pipeline.settings import Settings
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

# Clear the screen, the same in one byte less, ring, go back over the line, turn what follows around.
ODD = "\x1b[2J\x9b2J\x07\rneedle\u202eeldeen"
STEERING = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PLANTED = (
    "UPDATE companies SET name = :odd, intacct_id = :odd, trade = :odd",
    "UPDATE servicetitan_credentials SET connection_message = :odd, disabled_reason = :odd",
    (
        "INSERT INTO tenant_schedules (credential_id, paused_at, paused_because) "
        "SELECT id, now(), :odd FROM servicetitan_credentials"
    ),
    (
        "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type, status, completed_at, "
        "duration_seconds, message, details) SELECT id, gen_random_uuid(), 'manual', 'full', 'invoices', 'failed', "
        "now(), 1, :odd, CAST(:details AS jsonb) FROM servicetitan_credentials"
    ),
    (
        "INSERT INTO sync_log_entities (sync_log_id, entity, mode, status, completed_at, message) "
        "SELECT id, 'customers', 'full', 'failed', now(), :odd FROM servicetitan_sync_logs"
    ),
    (
        "INSERT INTO sync_cursors (credential_id, entity, newest_modified_on, last_failed_at) "
        "SELECT id, 'customers', :odd, now() FROM servicetitan_credentials"
    ),
    (
        "INSERT INTO sync_rejects (credential_id, entity, record_key, st_id, record, reasons) "
        "SELECT id, 'customers', '7', 7, convert_to(:odd, 'UTF8'), ARRAY[:odd] FROM servicetitan_credentials"
    ),
    (
        "INSERT INTO audit_log (actor, origin, action, tenant, result, details) "
        "VALUES (:odd, :odd, 'sync', 'acme', 'done', CAST(:details AS jsonb))"
    ),
)
COMMANDS = (
    "sync-status", "sync-status --failed-only", "logs 1", "rejects list", "rejects list --summary",
    "rejects show acme customers 7", "explain acme customers 7", "tenants list", "companies list", "credentials list",
    "credentials show acme", "audit list", "retry-failed --dry-run", "sync --dry-run",
)  # fmt: skip


@pytest.fixture
def odd_tenant(engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A tenant `acme` of whom every text that may come from outside is odd."""
    put_tenant(engine, settings, new_credential(company="acme"))
    details = {"odd": ODD, "asked": {"entities": ["customers"]}, "notes": {"customers": [ODD]},
               "drift": {"customers": {ODD: 1}}, "warnings": {"customers": {ODD: 1}}}  # fmt: skip
    with engine.begin() as connection:
        for statement in PLANTED:
            bound = {"odd": ODD, "details": json.dumps(details)}
            connection.execute(text(statement), {name: bound[name] for name in bound if f":{name}" in statement})
    monkeypatch.setenv("ST_PIPELINE_LOG_LEVEL", "ERROR")
    return engine


@pytest.mark.usefixtures("odd_tenant")
def test_no_command_lets_text_from_outside_steer_the_terminal(command: Command):
    for line in COMMANDS:
        for more in ((), ("--json",)):
            said = command(*line.split(), *more)
            assert "Traceback" not in said.err
            assert STEERING.findall(said.all) == [], f"{line} {more}: {said.all!r}"
            assert more or "needle" in said.out, f"{line} shows nothing of it: {said.all}"


def test_nor_does_the_doctor(odd_tenant: Engine, command: Command):
    with odd_tenant.begin() as connection:
        connection.execute(text("UPDATE servicetitan_credentials SET connection_status = 'error'"))
    said = command("doctor")
    assert ("needle" in said.out, STEERING.findall(said.all)) == (True, [])


@pytest.mark.usefixtures("odd_tenant")
def test_json_for_machines_keeps_every_character_as_an_escape(command: Command):
    assert command("tenants", "list", "--json").json[0]["paused_because"] == ODD


def test_a_log_line_is_stripped_too(settings: Settings, capsys: pytest.CaptureFixture[str]):
    """Structlog quotes what holds a blank, and writes any other word as it is."""
    configure_logs(settings)
    structlog.get_logger().warning("odd", tenant=ODD.replace("\r", ""), because="needle\x1b[2J")
    written = capsys.readouterr().err
    assert (STEERING.findall(written), written.count("needle")) == ([], 2)


def test_an_error_s_message_holds_nothing_that_steers():
    """It goes into the sync log, events of Dagster, and wherever else people look."""
    assert str(ServiceUnavailable(ODD, 3.0)) == "[2J2Jneedleeldeen"
    assert str(PipelineError("two\nlines\t")) == "two\nlines\t"


def test_only_one_module_opens_a_console():
    """The one that strips what would steer it."""
    folder = Path(st_pipeline.cli.__file__).parent
    opens = re.compile(r"\bConsole\((?!\))|\bConsole\(\)|\(Console\):")
    assert [file.name for file in folder.glob("*.py") if opens.search(file.read_text())] == ["terminal.py"]
