"""A company's own checks: each a file with a query in SQL that returns what is wrong.

Here: reading the files, and running a query so that it can neither write nor read secrets. Not here: what a check is
(spec).

The file's name is the check's. Comment lines at its top say the rest: `-- severity: warn`, `-- description: …`, and if
wanted `-- advice: …` and `-- reads: invoices, payments`. The query is run for one tenant, `:credential_id`. What it
returns is counted on the server; no value of it comes here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Rule, Severity, Status, Threshold
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.readers import ROLE
from st_pipeline.settings import Settings, variable_name
from st_pipeline.sync.data_types import SYNCED

ROWS = "rows"
KEYS = ("severity", "description", "advice", "reads")
HEADER_LINE = re.compile(r"--\s*(?:(\w+)\s*:\s)?\s*(.*)")
# Errors in the query itself, whose text names only what the query names; those of values would quote rows.
OF_THE_QUERY = ("42", "25")
THRESHOLDS = (Threshold(ROWS, 0, "Rows that the query may return."),)


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """A file, read."""

    path: Path
    query: str
    severity: Severity
    description: str
    advice: str
    reads: tuple[str, ...]


def own_checks(settings: Settings, taken: frozenset[str]) -> tuple[Check, ...]:
    """The checks of the folder, by name. One whose file is broken fails, and says so; `taken`: names of others."""
    folder = settings.own_checks_folder
    if folder is None:
        return ()
    if not folder.is_dir():
        message = f"{variable_name('own_checks_folder')}: there is no folder {folder}"
        return (_broken("own_checks", ConfigurationError(message)),)
    return tuple(_check(path, taken) for path in sorted(folder.glob("*.sql")))


def _check(path: Path, taken: frozenset[str]) -> Check:
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    if name != path.stem or name in taken:
        return _broken(f"own_{name}", ConfigurationError(f"{path}: rename it: a check of this name cannot be added"))
    try:
        own = read(path)
    except ConfigurationError as error:
        return _broken(name, error)
    return Check(
        name, (TENANT,), own.severity, own.description, own.advice, THRESHOLDS, _rule(name, own), reads=own.reads,
        reads_all_rows=True,
    )  # fmt: skip


def read(path: Path) -> OwnCheck:
    """The file's check. Raises ConfigurationError that names the file and what is wrong with it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from None
    said: dict[str, str] = {}
    last, number = "", 0
    for number, line in enumerate(lines):  # noqa: B007 - it is used after the loop
        stripped = line.strip()
        found = HEADER_LINE.fullmatch(stripped)
        if stripped and found is None:
            break
        if found is None:
            continue
        key, value = found.groups()
        if key in KEYS:
            said[key], last = value.strip(), key
        elif key is not None:
            raise ConfigurationError(f"{path}: it has no word {key!r}: write one of {', '.join(KEYS)}")
        elif last:
            said[last] = f"{said[last]} {value}".strip()
    else:
        number = len(lines)
    query = "\n".join(lines[number:]).strip().rstrip(";")
    return _checked(path, said, query)


def _checked(path: Path, said: dict[str, str], query: str) -> OwnCheck:
    for key in ("severity", "description"):
        if not said.get(key):
            raise ConfigurationError(f"{path}: it lacks a line `-- {key}: …` at its top")
    if said["severity"] not in set(Severity):
        raise ConfigurationError(f"{path}: severity {said['severity']!r}: write warn or error")
    reads = tuple(name.strip() for name in said.get("reads", "").split(",") if name.strip())
    unknown = [name for name in reads if name not in SYNCED]
    if unknown:
        raise ConfigurationError(f"{path}: reads {unknown[0]}, which is not an entity or stream")
    parameters = text(query).compile().params
    if set(parameters) != {"credential_id"}:
        others = ", ".join(f":{name}" for name in sorted(set(parameters) - {"credential_id"}))
        wrong = f"it has {others}" if others else "it lacks :credential_id"
        raise ConfigurationError(f"{path}: the query must have one parameter, :credential_id; {wrong}")
    advice = said.get("advice", "") or f"Run the query of {path.name} by hand to see the rows."
    return OwnCheck(path, query, Severity(said["severity"]), said["description"], advice, reads)


def _broken(name: str, error: ConfigurationError) -> Check:
    def rule(_: CheckInput) -> Iterator[Finding]:
        raise error

    advice = "Correct the file, then run `st-pipeline checks run`."
    return Check(
        name, (TENANT,), Severity.ERROR, "One of your own checks, which cannot be read.", advice, THRESHOLDS, rule
    )


def _rule(name: str, own: OwnCheck) -> Rule:
    def rule(asked: CheckInput) -> Iterator[Finding]:
        doing = f"run the check {own.path.name}"
        with database_errors(doing), asked.engine.connect() as connection:
            for credential_id, _ in asked.tenants:
                try:
                    rows = _count(connection, own, credential_id, asked.settings.own_checks_timeout_seconds)
                except ConfigurationError as error:
                    yield Finding(credential_id, TENANT, Status.FAILED, f"It could not be evaluated: {error}")
                    continue
                allowed = asked.thresholds.value(credential_id, TENANT, name, ROWS)
                status = Status.PASSED if rows <= allowed else Status.FAILED
                message = f"Its query returned {rows:,} row{'' if rows == 1 else 's'}; {allowed:,.0f} may be."
                yield Finding(credential_id, TENANT, status, message, {ROWS: rows})

    return rule


def _count(connection: Connection, own: OwnCheck, credential_id: int, timeout_seconds: float) -> int:
    """How many rows the query returns. Raises ConfigurationError: it is wrong, too slow, or the role is missing."""
    # In parentheses a query can be nothing but one query, and the driver sends a single statement.
    counted = text(f"SELECT count(*) FROM (\n{own.query}\n) AS wrong")  # noqa: S608 - the purpose of the file
    with connection.begin():
        _become_reader(connection, timeout_seconds)
        try:
            return int(connection.execute(counted, {"credential_id": credential_id}).scalar_one())
        except DBAPIError as error:
            why = _why(error.orig, timeout_seconds)
            if why is None:
                raise
            raise ConfigurationError(f"{own.path}: {why}") from None


def _become_reader(connection: Connection, timeout_seconds: float) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    milliseconds = max(round(timeout_seconds * 1000), 1)
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
    try:
        connection.exec_driver_sql(f"SET LOCAL ROLE {ROLE}")
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege | psycopg.errors.InvalidParameterValue):
            raise ConfigurationError(
                f"your own checks run as the role {ROLE}, which is missing or not granted to the pipeline's own role: "
                "docs/trust.md says how to make it"
            ) from None
        raise


def _why(error: BaseException | None, timeout_seconds: float) -> str | None:
    """What is wrong with the query, without values of rows; None: the database is not there."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return f"the query took longer than {timeout_seconds:g} s for a tenant"
    state: Any = getattr(error, "sqlstate", None)
    if not isinstance(error, psycopg.Error) or state is None or state.startswith(("08", "57")):
        return None
    told = error.diag.message_primary if state.startswith(OF_THE_QUERY) else None
    return f"the query fails: {told or type(error).__name__}"
