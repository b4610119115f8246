"""`st-pipeline credentials test`: what ServiceTitan lets a tenant's credentials read.

Here: the command, and showing a diagnosis, which other commands do, too. Not here: asking ServiceTitan (tenants/).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from st_pipeline.settings import Settings
    from st_pipeline.tenants.diagnosis import Diagnosis

AT_ONCE = 4  # tenants tested at the same time: each has a rate limit of its own at ServiceTitan


@click.command(
    "test",
    short_help="Ask ServiceTitan what TENANT may read; --all: every tenant.",
    epilog=examples(
        "st-pipeline credentials test acme-plumbing",
        "st-pipeline credentials test --all --json | jq -r '.[].message'",
    ),
)
@click.argument("tenant", required=False)
@click.option("--all", "every", is_flag=True, help="Every enabled tenant; one line each.")
@json_option()
def test(tenant: str | None, every: bool, as_json: bool) -> int:
    """Ask ServiceTitan what TENANT's credentials may read, and say what is wrong.

    Each test fetches a new token and sends one request for each entity. The result is stored: `credentials list` shows
    it. Exit code 1 unless every entity can be read.
    """
    from st_pipeline.cli.database_session import open_database

    if (tenant is None) == (not every):
        raise click.UsageError("name one tenant, or give --all")
    with open_database() as (settings, engine):
        if tenant is not None:
            return test_one(tenant, settings, engine, as_json=as_json)
        return _test_all(settings, engine, as_json=as_json)


def test_one(tenant: str, settings: "Settings", engine: "Engine", *, as_json: bool) -> int:
    """Test a tenant and show the result; returns the exit code."""
    from st_pipeline.cli.output import print_json
    from st_pipeline.tenants.diagnosis import test_credentials

    diagnosis = test_credentials(tenant, settings=settings, engine=engine)
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        print_diagnosis(diagnosis)
    return 0 if diagnosis.complete else 1


def print_diagnosis(diagnosis: "Diagnosis") -> None:
    """What it means, then entity by entity what ServiceTitan answered."""
    from st_pipeline.cli.output import print_table, print_text
    from st_pipeline.tenants.diagnosis import NOT_ASKED

    state = "connected" if diagnosis.connected else "NOT connected"
    print_text(f"{diagnosis.tenant}: {state}. {diagnosis.message}.")
    asked = [(e.entity, e.scope, e.granted, e.rows, e.status) for e in diagnosis.entities if e.status != NOT_ASKED]
    if asked:
        print_table(("entity", "scope", "readable", "rows", "status"), asked)


def _test_all(settings: "Settings", engine: "Engine", *, as_json: bool) -> int:
    from st_pipeline.cli.output import print_json
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.store import enabled_tenants

    with transaction(engine, "list the enabled tenants") as connection:
        tenants = [tenant.partition_key for tenant in enabled_tenants(connection)]
    found = list(diagnoses(tenants, settings, engine))
    if as_json:
        print_json([diagnosis if isinstance(diagnosis, dict) else diagnosis.as_dict() for diagnosis in found])
    elif found:
        print_summary(found)
    else:
        click.echo("no enabled tenant: add credentials with `st-pipeline credentials add`")
    return 0 if all(not isinstance(diagnosis, dict) and diagnosis.complete for diagnosis in found) else 1


def diagnoses(
    tenants: "Iterable[str]", settings: "Settings", engine: "Engine"
) -> "Iterator[Diagnosis | dict[str, object]]":
    """Test several tenants, a few at a time, in their order; for one that cannot be tested, the reason."""
    from st_pipeline.errors import ConfigurationError
    from st_pipeline.tenants.diagnosis import test_credentials

    def one(tenant: str) -> "Diagnosis | dict[str, object]":
        try:
            return test_credentials(tenant, settings=settings, engine=engine)
        except ConfigurationError as error:
            return {"tenant": tenant, "connected": False, "complete": False, "verdict": "not tested",
                    "message": str(error)}  # fmt: skip

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(one, tenants)


def print_summary(found: "Iterable[Diagnosis | dict[str, object]]") -> None:
    """A line for each tenant, and what to do below."""
    from st_pipeline.cli.output import print_table, print_text

    rows, messages = [], []
    for diagnosis in found:
        if isinstance(diagnosis, dict):
            rows.append((diagnosis["tenant"], False, "", diagnosis["verdict"]))
            messages.append(f"{diagnosis['tenant']}: {diagnosis['message']}")
            continue
        readable = sum(entity.granted is True for entity in diagnosis.entities)
        share = f"{readable} of {len(diagnosis.entities)}"
        rows.append((diagnosis.tenant, diagnosis.connected, share, diagnosis.verdict.value))
        if not diagnosis.complete:
            messages.append(f"{diagnosis.tenant}: {diagnosis.message}.")
    print_table(("tenant", "connected", "readable lists", "verdict"), rows)
    for message in messages:
        print_text(message)
