"""The search of test_secrets_stay_secret.py finds what is put where it must not be."""

import base64
import logging
from collections.abc import Callable

import pytest
import structlog

from st_pipeline.logs import configure_logs
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.leaks import EMAIL, PHONE, Ear, Leaks, forms, plant

SAID: dict[str, Callable[[str], None]] = {
    "standard error": lambda value: structlog.get_logger().info("a structured line", value=value),
    "logger anything.at.all": lambda value: logging.getLogger("anything.at.all").info("a line with %s", value),
    "logger httpx": lambda value: logging.getLogger("httpx").debug("a line with %s", value),
    "logger args": lambda value: logging.getLogger("args").info("a line that does not show its argument %.0s", value),
}
STORED = {
    "table servicetitan_sync_logs": "UPDATE servicetitan_sync_logs SET message = 'because of ' || :value",
    "table sync_log_entities": "UPDATE sync_log_entities SET message = 'because of ' || :value",
    "table audit_log": "INSERT INTO audit_log (actor, origin, action, result, details) VALUES "
    "('a', 'b', 'c', 'done', jsonb_build_object('a', jsonb_build_array(CAST(:value AS text))))",
    "table sync_rejects": "INSERT INTO sync_rejects (credential_id, entity, record_key, record, reasons) "
    "SELECT id, 'customers', '1', '', ARRAY['because of ' || :value] FROM servicetitan_credentials",
    "table servicetitan_credentials": "UPDATE servicetitan_credentials SET access_token = convert_to(:value, 'UTF8')",
    "table companies": "UPDATE companies SET trade = encode(convert_to('ab' || :value || 'cd', 'UTF8'), 'base64')",
}


@pytest.fixture
def leaks(acme: Acme) -> Leaks:
    """What to look for, planted."""
    return plant(acme)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_a_line_says_is_found(acme: Acme, leaks: Leaks, log_format: str, capfd: pytest.CaptureFixture[str]):
    configure_logs(acme.settings.model_copy(update={"log_format": log_format}))
    for where, say in SAID.items():
        for name, value in {**leaks.secrets, **leaks.customers}.items():
            with Ear(leaks):
                say(value)
            leaks.hear("standard error", capfd.readouterr().err)
            assert [one for one in leaks.found() if one.startswith(f"{name} (") and f" in {where}: " in one]


def test_what_hides_behind_an_error_is_found(leaks: Leaks):
    with pytest.raises(RuntimeError) as raised:
        _fail_because_of(PHONE)
    leaks.hear("an error", raised.value)
    assert leaks.found()[0].startswith("a customer's phone (clear) in an error: ")


def _fail_because_of(value: str) -> None:
    try:
        int(value)
    except ValueError as cause:
        raise RuntimeError("clean") from cause


def test_what_a_table_holds_is_found(acme: Acme, leaks: Leaks):
    acme.sync(only=("membership_types",))
    assert leaks.at_rest(acme.engine) == []
    for where, statement in STORED.items():
        assert acme.execute(statement, value=PHONE) > 0
        leaks.hear_database(acme.engine)
        assert [one for one in leaks.found() if one.startswith("a customer's phone (") and f" in {where}: " in one]
    assert acme.execute("UPDATE st_membership_types SET name = encode(:value, 'hex')", value=b"x" + _app_key(acme)) > 0
    assert leaks.at_rest(acme.engine)[0].startswith("app key (hex) in table st_membership_types: ")


def _app_key(acme: Acme) -> bytes:
    return acme.source.app_key.encode()


@pytest.mark.parametrize("value", [PHONE, EMAIL, "cs.planted-secret"])
def test_each_form_of_a_value_is_found_inside_a_longer_text(value: str):
    for before in ("", "a", "ab", "abc"):
        whole = f"{before}{value}zzz".encode()
        for encoded in (base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode(), whole.hex()):
            assert [hidden for hidden in forms(value).values() if hidden in encoded], before
