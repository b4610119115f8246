"""Many companies at once, from a CSV file: all of it is checked, then written in one transaction.

Here: the file's format, every mistake in it with its line, and writing it. Not here: one company (companies), one
credential (registration), asking ServiceTitan (diagnosis). No message shows a value from the file: where columns are
out of place, it may be a secret.
"""

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import database_errors
from st_pipeline.settings import ENVIRONMENTS, Environment
from st_pipeline.tenants.audit import Entry
from st_pipeline.tenants.companies import SLUG, SLUG_FORM, add_company, check_texts
from st_pipeline.tenants.registration import NewCredential, OtherCredentials, add_credential
from st_pipeline.tenants.secret_text import check_secret, clean_secret, others_may_read, read_key_file
from st_pipeline.vault.encryption import Vault

NEEDED = ("slug", "name", "tenant_id", "client_id", "secret")
COLUMNS = ("slug", "name", "intacct_id", "trade", "environment", "tenant_id", "client_id", "secret")
LARGEST_FILE_BYTES = 4 * 1024 * 1024  # some 40,000 companies
FORM = f"columns: {', '.join(COLUMNS)}; secret is env:NAME or file:PATH"
# Variables that the pipeline, Dagster or Postgres's client library reads.
SETTINGS = ("ST_PIPELINE_", "DATABASE_URL", "DAGSTER_", "PGPASSWORD")
_NAME = re.compile(r"[a-z_]{1,24}")
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake, and its line in the file, from 1."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """One company and its credential, as the file states them."""

    number: int
    name: str
    intacct_id: str | None
    trade: str | None
    new: NewCredential


@dataclass(frozen=True, slots=True)
class Written:
    """The result of a line: its company was `added` or `unchanged`, and so were its credentials."""

    line: int
    tenant: str
    company: str
    credentials: str


@dataclass(slots=True)
class Sheet:
    """A file as it was read: its valid lines, its mistakes, and the lines whose secret is in a file others may read."""

    lines: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    readable: list[int] = field(default_factory=list)


def read_sheet(path: Path) -> Sheet:
    """Read and check every line. Raises ConfigurationError: the file cannot be read, or its header is wrong."""
    sheet = Sheet()
    rows = _rows(path)
    header = _header(path, next(rows, (1, []))[1])
    for number, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            sheet.problems.append(
                Problem(
                    number, f"{len(cells)} {_plural('value', len(cells))}, but the header has {len(header)} columns"
                )
            )
            continue
        values = dict.fromkeys(COLUMNS, "") | dict(zip(header, cells, strict=True))
        _read_line(sheet, path, number, values)
    if not sheet.lines and not sheet.problems:
        raise ConfigurationError(f"{path} lists no company: write one on each line below the header; {FORM}")
    sheet.problems += _repetitions(sheet.lines)
    sheet.problems.sort(key=lambda problem: problem.line)
    return sheet


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, and cells without blanks around them. Excel may write a byte order mark, CRLF, and semicolons."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise ConfigurationError(f"{path} is larger than {LARGEST_FILE_BYTES // 1024**2} MB: split it into several")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not valid UTF-8 text: save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=";" if first.count(";") > first.count(",") else ","
    )
    number = 1
    try:
        for cells in reader:
            yield number, [cell.strip() for cell in cells]
            number = reader.line_num + 1
    except csv.Error:
        raise ConfigurationError(
            f"{path} is not valid CSV from line {number} on: is a quote not closed? {FORM}"
        ) from None


def _header(path: Path, cells: list[str]) -> list[str]:
    """The columns. What does not look like a name may be a secret, in a file without a header, and is not shown."""
    header = [cell.lower() for cell in cells]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigurationError(
            f"{path}: the first line lacks {_plural('column', len(missing))} {', '.join(missing)}; {FORM}"
        )
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        shown = [name for name in unknown if _NAME.fullmatch(name)] or ["(not shown)"]
        raise ConfigurationError(f"{path}: unknown {_plural('column', len(shown))} {', '.join(shown)}; {FORM}")
    if len(set(header)) < len(header):
        raise ConfigurationError(f"{path}: a column appears twice; {FORM}")
    return header


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _problems(values: dict[str, str]) -> Iterator[str]:
    """Every mistake of a line that shows without the other lines."""
    if empty := [name for name in NEEDED if not values[name]]:
        yield f"{', '.join(empty)} {'are' if len(empty) > 1 else 'is'} empty"
    if values["slug"] and not SLUG.fullmatch(values["slug"]):
        yield f"slug is not valid: {SLUG_FORM}"
    if values["environment"] and values["environment"] not in ENVIRONMENTS:
        yield f"environment is not valid: write {' or '.join(ENVIRONMENTS)}; empty means {ENVIRONMENTS[0]}"
    if values["tenant_id"] and not (_NUMBER.fullmatch(values["tenant_id"]) and 0 < int(values["tenant_id"]) < 2**63):
        yield "tenant_id is not a positive number"
    texts = {name: values[name] or None for name in ("name", "intacct_id", "trade")}
    for check in (lambda: check_texts(texts), lambda: check_secret("client_id", values["client_id"] or "x")):
        try:
            check()
        except ConfigurationError as error:
            yield str(error)


def _read_line(sheet: Sheet, path: Path, number: int, values: dict[str, str]) -> None:
    problems = list(_problems(values))
    secret = None
    try:
        secret = _secret(sheet, path, number, values["secret"]) if values["secret"] else None
    except ConfigurationError as error:
        problems.append(str(error))
    sheet.problems += [Problem(number, problem) for problem in problems]
    if problems or secret is None:
        return
    environment: Environment = "integration" if values["environment"] == "integration" else "production"
    new = NewCredential(values["slug"], environment, int(values["tenant_id"]), SecretStr(values["client_id"]), secret)
    sheet.lines.append(Line(number, values["name"], values["intacct_id"] or None, values["trade"] or None, new))


def _secret(sheet: Sheet, path: Path, number: int, reference: str) -> SecretStr:
    """The secret that `env:NAME` or `file:PATH` refers to; a path is relative to the CSV file.

    A test of the credentials sends the secret to ServiceTitan, so a CSV that others wrote must not name any file.
    """
    kind, _, place = reference.partition(":")
    if kind == "env" and place:
        if place.upper().startswith(SETTINGS):
            raise ConfigurationError("secret: the variable that it names is a setting; use another variable")
        value = os.environ.get(place)
        if value is None:
            raise ConfigurationError("secret: the variable that it names is not set; export it")
        return clean_secret("secret in the variable", value)[0]
    if kind == "file" and place:
        file = _beside(path, place)
        if others_may_read(file):
            sheet.readable.append(number)
        return clean_secret("secret in the file", read_key_file(file, "the file that secret names"))[0]
    raise ConfigurationError("secret is not valid: write env:NAME or file:PATH, and never the secret itself")


def _beside(path: Path, place: str) -> Path:
    """The file, links followed. Raises ConfigurationError: it is not in or below the CSV's folder, or is hidden."""
    folder = path.parent.resolve()
    try:
        file = (folder / Path(place).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, no home, a NUL
        raise ConfigurationError("secret: what follows file: is not a valid path") from None
    if not file.is_relative_to(folder):
        raise ConfigurationError("secret: the file that it names is outside the CSV's folder; put it there")
    # `.env` and `.st-pipeline` hold our own secrets. Mounted secrets are links to folders that begin with two dots.
    if any(part.startswith(".") and not part.startswith("..") for part in file.relative_to(folder).parts):
        raise ConfigurationError("secret: the file that it names is hidden; give it a name without a leading dot")
    return file


def _repetitions(lines: list[Line]) -> Iterator[Problem]:
    """Lines that contradict each other."""
    tenants: dict[str, int] = {}
    numbers: dict[tuple[str, int], int] = {}
    companies: dict[str, Line] = {}
    intacct: dict[str, tuple[str, int]] = {}
    for line in lines:
        new = line.new
        if (at := tenants.setdefault(new.partition_key, line.number)) != line.number:
            yield Problem(line.number, f"tenant {new.partition_key} is in line {at} already")
        elif (at := numbers.setdefault((new.environment, new.tenant_id), line.number)) != line.number:
            yield Problem(line.number, f"tenant_id is the same as in line {at}, which is another tenant's")
        first = companies.setdefault(new.company, line)
        if (first.name, first.intacct_id, first.trade) != (line.name, line.intacct_id, line.trade):
            yield Problem(
                line.number, f"name, intacct_id or trade differs from line {first.number}, the same company's"
            )
        if line.intacct_id is not None:
            slug, at = intacct.setdefault(line.intacct_id, (new.company, line.number))
            if slug != new.company:
                yield Problem(line.number, f"intacct_id is the same as in line {at}, which is another company's")


def write_sheet(
    engine: Engine, vault: Vault, sheet: Sheet, *, dry_run: bool = False
) -> tuple[list[Written], list[Problem]]:
    """Add what is new; lines that are stored already change nothing. With a problem, or dry, nothing is written.

    Returns the result of each line (of a dry run, what it would be), and the problems: those of the sheet, and
    contradictions to the database.
    """
    doing = "onboard companies"
    written: list[Written] = []
    problems = list(sheet.problems)
    wrong = {problem.line for problem in problems}
    with database_errors(doing), engine.connect() as connection:
        for line in (line for line in sheet.lines if line.number not in wrong):
            try:
                written.append(_write(connection, vault, line))
            except OtherCredentials:
                key = line.new.partition_key
                problems.append(
                    Problem(
                        line.number,
                        f"tenant {key} already has other credentials: change them with `st-pipeline credentials "
                        f"rotate-secret {key}`, `update`, or `add --replace`",
                    )
                )
            except ConfigurationError as error:
                problems.append(Problem(line.number, str(error)))
        if problems:
            connection.rollback()
            if not dry_run:
                details = {"lines": len(sheet.lines), "problems": len(problems)}
                Entry("onboard", None, details={**details}).write(connection, "refused")
                connection.commit()
        elif dry_run:
            connection.rollback()
        else:
            connection.commit()
    return written, sorted(problems, key=lambda problem: problem.line)


def _write(connection: Connection, vault: Vault, line: Line) -> Written:
    new, values = line.new, {"name": line.name, "intacct_id": line.intacct_id, "trade": line.trade}
    is_new = add_company(connection, new.company, name=line.name, intacct_id=line.intacct_id, trade=line.trade)
    if is_new:
        Entry("companies.add", None, details={"company": new.company, **values}).write(connection, "done")
    outcome, credential_id = add_credential(connection, vault, new)
    details = {"servicetitan_tenant_id": new.tenant_id, "outcome": outcome, "onboarded": True}
    Entry("credentials.add", new.partition_key, credential_id, {**details}).write(connection, "done")
    return Written(line.number, new.partition_key, "added" if is_new else "unchanged", outcome)
