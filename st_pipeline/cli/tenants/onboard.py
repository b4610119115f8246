"""`st-pipeline onboard`: many companies with their credentials, from a CSV file.

Here: the command and its output. Not here: the file's form and its checks (tenants/).
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from st_pipeline.tenants.diagnosis import Diagnosis
    from st_pipeline.tenants.onboarding import Problem, Written


@click.command(
    epilog=examples(
        "st-pipeline onboard companies.csv --dry-run",
        "st-pipeline onboard companies.csv",
    )
    + "\n\n\b\nThe file:\n"
    + "  slug,name,intacct_id,trade,environment,tenant_id,client_id,secret\n"
    + "  acme,Acme,INT-1001,plumbing,production,123456789,cid.abc,env:ACME_SECRET\n"
    + "  beta,Beta,INT-1002,hvac,,234567891,cid.def,file:secrets/beta"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be done; write nothing.")
@click.option("--test/--no-test", default=True, show_default=True, help="Ask ServiceTitan whether each works.")
@json_option()
def onboard(file: Path, dry_run: bool, test: bool, as_json: bool) -> int:
    """Add the companies of a CSV FILE with their credentials.

    The whole file is checked, also against the database, before anything is written: every mistake is shown at once,
    with its line (exit code 2). Then all lines are written together, and each tenant is tested (exit code 1 if one
    fails). Safe to repeat: lines that are already stored are shown as unchanged. The file contains no secrets, only
    where they are: env:NAME, or file:PATH in its own folder. Columns that may be empty: intacct_id, trade, and
    environment, which is then production.
    """
    from st_pipeline.cli.credentials.test import diagnoses
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import number_of
    from st_pipeline.tenants.onboarding import read_sheet, write_sheet
    from st_pipeline.vault.encryption import Vault

    sheet = read_sheet(file)
    for line in sheet.readable:
        warning = f"Warning: line {line}: other users of this machine can read its secret's file: use chmod 600"
        click.echo(warning, err=True)
    with open_database() as (settings, engine):
        written, problems = write_sheet(engine, Vault.from_settings(settings), sheet, dry_run=dry_run)
        if problems:
            return _refuse(file, problems, as_json=as_json)
        found: list[Diagnosis | dict[str, object]] = []
        if test and not dry_run:
            click.echo(f"testing {number_of(len(written), 'tenant')}", err=True)
            found = list(diagnoses((line.tenant for line in written), settings, engine))
    _report(written, found, dry_run=dry_run, as_json=as_json)
    return 0 if all(not isinstance(one, dict) and one.complete for one in found) else 1


def _refuse(file: Path, problems: "list[Problem]", *, as_json: bool) -> int:
    from st_pipeline.cli.output import number_of, print_json
    from st_pipeline.cli.terminal import say

    if as_json:
        print_json({"written": False, "problems": [asdict(problem) for problem in problems], "lines": []})
    click.echo(f"Error: {file}: {number_of(len(problems), 'mistake')}, so nothing was written", err=True)
    for problem in problems:
        say(f"line {problem.line}: {problem.message}", err=True)
    return 2


def _report(
    written: "list[Written]", found: "list[Diagnosis | dict[str, object]]", *, dry_run: bool, as_json: bool
) -> None:
    from st_pipeline.cli.output import print_json, print_table, print_text

    tests: list[dict[str, Any] | None] = [one if isinstance(one, dict) else one.as_dict() for one in found]
    tests = tests or [None] * len(written)
    if as_json:
        lines = [{**asdict(line), "test": _short(test)} for line, test in zip(written, tests, strict=True)]
        print_json({"written": not dry_run, "problems": [], "lines": lines})
        return
    print_table(
        ("line", "tenant", "company", "credentials", "test"),
        ((str(line.line), line.tenant, line.company, line.credentials, "" if test is None else test["verdict"])
         for line, test in zip(written, tests, strict=True)),
    )  # fmt: skip
    for test in tests:
        if test is not None and not test["complete"]:
            print_text(f"{test['tenant']}: {test['message']}.")
    added = sum(line.credentials == "added" for line in written)
    kept = len(written) - added
    click.echo(
        f"{'would be added' if dry_run else 'added'}: {added}, unchanged: {kept}"
        + ("; nothing was written" if dry_run else "")
    )


def _short(test: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if test is None else {name: test[name] for name in ("connected", "complete", "verdict", "message")}
