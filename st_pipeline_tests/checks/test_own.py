"""A company's own checks in SQL: they write nothing, read no secret, end in time, and say what is wrong with them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.own import own_checks, read
from st_pipeline.checks.registry import BY_NAME, all_checks
from st_pipeline.checks.spec import CheckedTenant, Severity, Status, Verdict
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.readers import ROLE, grant_reading
from st_pipeline.settings import Settings
from st_pipeline_tests.checks.planted import execute, tenants_in_order

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)
HEADER = "-- severity: warn\n-- description: No customer lacks a name.\n"
QUERY = "SELECT name FROM st_customers WHERE credential_id = :credential_id AND name = ''"
CUSTOMER = """
    INSERT INTO st_customers (credential_id, st_id, name, record_hash, spec_version, local_synced_at)
    VALUES (:id, 1, '', 0, 1, :now)
"""


@pytest.fixture
def role(engine: Engine) -> Iterator[Engine]:
    """The reading role, as an administrator makes it."""
    execute(engine, f"CREATE ROLE {ROLE} NOLOGIN")
    with engine.begin() as connection:
        grant_reading(connection)
    yield engine
    execute(engine, f"DROP OWNED BY {ROLE}")
    execute(engine, f"DROP ROLE {ROLE}")


@pytest.fixture
def with_folder(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a folder of own checks, which is empty."""
    return settings.model_copy(update={"own_checks_folder": tmp_path})


def put(folder: Path, text: str = HEADER + QUERY, name: str = "named") -> Path:
    path = folder / f"{name}.sql"
    path.write_text(text)
    return path


def found(engine: Engine, settings: Settings, tenants: list[CheckedTenant], name: str = "named") -> list[Verdict]:
    return evaluate(engine, settings, tenants, only=[name], now=NOW)


def test_a_query_that_returns_something_fails_its_tenant_alone_and_recovers(
    role: Engine, with_folder: Settings, tmp_path: Path
):
    put(tmp_path)
    tenants = tenants_in_order(role, 2, NOW)
    assert [one.status for one in found(role, with_folder, tenants)] == [Status.PASSED, Status.PASSED]
    execute(role, CUSTOMER, id=tenants[1].credential_id, now=NOW)
    first, second = found(role, with_folder, tenants)
    assert (first.status, second.status, second.severity) == (Status.PASSED, Status.FAILED, Severity.WARN)
    assert (second.message, second.figures) == ("Its query returned 1 row; 0 may be.", {"rows": 1})
    execute(role, "DELETE FROM st_customers")
    assert [one.status for one in found(role, with_folder, tenants)] == [Status.PASSED, Status.PASSED]


def test_a_threshold_may_allow_some_rows(role: Engine, with_folder: Settings, tmp_path: Path):
    put(tmp_path)
    tenants = tenants_in_order(role, 1, NOW)
    execute(role, CUSTOMER, id=tenants[0].credential_id, now=NOW)
    lenient = with_folder.model_copy(update={"check_thresholds": {"named.rows": 1.0}})
    assert [one.status for one in found(role, lenient, tenants)] == [Status.PASSED]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 FROM st_custmers WHERE credential_id = :credential_id", 'relation "st_custmers" does not exist'),
        ("SELECT 1 WHERE :credential_id > 0 ORDER BY", "syntax error"),
        ("SELECT client_secret FROM servicetitan_credentials WHERE id = :credential_id", "permission denied"),
        ("DELETE FROM st_customers WHERE credential_id = :credential_id RETURNING 1", "syntax error"),
        ("SELECT 1) AS x; DELETE FROM st_customers; SELECT (:credential_id", "cannot insert multiple commands"),
        ("SELECT pg_sleep(9) WHERE :credential_id > 0", "the query took longer than 0.1 s"),
        (
            "SELECT 1 FROM st_customers WHERE credential_id = :credential_id AND name::integer > 0",
            "InvalidTextRepresentation",
        ),
    ],
)
def test_a_query_that_is_wrong_says_so_with_its_file_and_never_shows_a_row(
    role: Engine, with_folder: Settings, tmp_path: Path, query: str, said: str
):
    path = put(tmp_path, HEADER + query)
    tenants = tenants_in_order(role, 1, NOW)
    execute(role, CUSTOMER.replace("''", "'Jane Doe'"), id=tenants[0].credential_id, now=NOW)
    impatient = with_folder.model_copy(update={"own_checks_timeout_seconds": 0.1})
    (verdict,) = found(role, impatient, tenants)
    assert verdict.status is Status.FAILED
    assert f"It could not be evaluated: {path}: " in verdict.message
    assert said in verdict.message
    assert "Jane" not in verdict.message
    with role.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM st_customers").scalar_one() == 1


def test_without_the_reading_role_nothing_runs(engine: Engine, with_folder: Settings, tmp_path: Path):
    put(tmp_path)
    (verdict,) = found(engine, with_folder, tenants_in_order(engine, 1, NOW))
    assert verdict.status is Status.FAILED
    assert f"the role {ROLE}, which is missing" in verdict.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (QUERY, "lacks a line `-- severity: …`"),
        ("-- severity: warn\n" + QUERY, "lacks a line `-- description: …`"),
        (HEADER.replace("warn", "bad") + QUERY, "severity 'bad': write warn or error"),
        ("-- adivce: x\n" + HEADER + QUERY, "no word 'adivce'"),
        (HEADER + "-- reads: invoice\n" + QUERY, "reads invoice, which is not an entity"),
        (HEADER + "SELECT 1", "it lacks :credential_id"),
        (HEADER + QUERY + " AND st_id > :least", "it has :least"),
        (HEADER, "it lacks :credential_id"),
    ],
)
def test_a_file_that_is_broken_is_a_failed_check_that_names_it(
    engine: Engine, with_folder: Settings, tmp_path: Path, text: str, said: str
):
    path = put(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)
    (verdict,) = found(engine, with_folder, tenants_in_order(engine, 1, NOW))
    assert (verdict.status, verdict.severity) == (Status.FAILED, Severity.ERROR)
    assert said in verdict.message


def test_what_its_top_says_is_what_people_read(tmp_path: Path):
    text = f"""
-- severity:  error
-- description: Nobody owes
--   more than a house.
--
-- advice: Ask them.
-- reads: invoices, payments

{QUERY};  """
    own = read(put(tmp_path, text))
    assert (own.severity, own.description, own.advice) == (
        Severity.ERROR, "Nobody owes more than a house.", "Ask them."
    )  # fmt: skip
    assert (own.reads, own.query) == (("invoices", "payments"), QUERY)


@pytest.mark.parametrize("name", ["freshness", "with space", "ünicode"])
def test_a_name_that_a_check_cannot_have_is_refused_without_hiding_the_others(
    with_folder: Settings, tmp_path: Path, name: str
):
    put(tmp_path)
    put(tmp_path, name=name)
    checks = own_checks(with_folder, frozenset(BY_NAME))
    assert len({check.name for check in all_checks(with_folder)}) == len(BY_NAME) + 2
    assert all(check.name.isascii() and check.name.replace("_", "a").isalnum() for check in checks)
    assert {check.severity for check in checks} == {Severity.WARN, Severity.ERROR}


def test_a_folder_that_is_not_there_is_a_failed_check(engine: Engine, with_folder: Settings, tmp_path: Path):
    gone = with_folder.model_copy(update={"own_checks_folder": tmp_path / "gone"})
    (verdict,) = found(engine, gone, tenants_in_order(engine, 1, NOW), "own_checks")
    assert "there is no folder" in verdict.message
    assert own_checks(gone.model_copy(update={"own_checks_folder": None}), frozenset()) == ()
