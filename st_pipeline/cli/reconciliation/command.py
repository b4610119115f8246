"""`st-pipeline reconcile`: do the tables equal ServiceTitan?

Here: the command and its exit code. Not here: comparing and repairing (reconciliation/), the tables it prints (table).
"""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import selection_options
from st_pipeline.cli.selection_options import tenants as tenant_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from st_pipeline.reconciliation.tenant import Request
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.selection import Selection
    from st_pipeline.tenants.store import Tenant


def entity_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes entities."""
    from st_pipeline.entities import ENTITIES

    return [CompletionItem(name) for name in ENTITIES if name.startswith(incomplete)]


@click.command(
    epilog=examples(
        "st-pipeline reconcile acme-plumbing                  does everything equal ServiceTitan?",
        "st-pipeline reconcile acme-plumbing --repair         and fetch again what does not",
        "st-pipeline reconcile --all --html report.html       every company, as a page for a manager",
        "st-pipeline reconcile acme-plumbing --entity invoices --from 2026-03-01 --to 2026-04-01 --deep",
        "st-pipeline reconcile --all --last                   what was found the last time; asks nobody",
    )
)
@click.argument("names", nargs=-1, metavar="[TENANT]...", shell_complete=tenant_keys)
@selection_options
@click.option("--all", "everybody", is_flag=True, help="Every enabled tenant.")
@click.option(
    "--entity", "entities", multiple=True, shell_complete=entity_names, metavar="NAME",
    help="Only this entity; may be repeated.",
)  # fmt: skip
@click.option("--from", "created_from", default="", metavar="TIME", help="Created since then, like 2026-01-31.")
@click.option("--to", "created_before", default="", metavar="TIME", help="Created before that.")
@click.option("--deep", is_flag=True, help="Compare every record of the period, column by column, not only totals.")
@click.option("--repair", is_flag=True, help="Fetch what differs again, and mark what is gone; then compare again.")
@click.option("--show-values", is_flag=True, help="Show both values of each field that differs: customers' data.")
@click.option("--last", is_flag=True, help="Show what was found the last time, and ask ServiceTitan nothing.")
@json_option()
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a report as one HTML page."
)
def reconcile(
    *,
    names: tuple[str, ...],
    environment: str | None,
    companies: tuple[str, ...],
    intacct_ids: tuple[str, ...],
    tenants: tuple[str, ...],
    credential_ids: tuple[int, ...],
    everybody: bool,
    show_values: bool,
    last: bool,
    as_json: bool,
    html: Path | None,
    **asked: Any,
) -> int:
    """Compare the tables with ServiceTitan, and say what differs.

    Totals first: some four small requests an entity. Where they differ, ranges of creation times are halved until they
    are small, and their records are compared: missing here, gone there, or different, and in which fields. Whatever
    seems to differ is looked up again, and what the next poll will bring does not count. Records that were created
    after an entity was last known to be complete, less 15 minutes, are left out.

    A record that changed without a new modification time is found with --deep only, which reads every record of the
    period. Polls go on meanwhile; --repair takes each tenant for as long as it writes. docs/trust.md says what each
    way of reading guarantees.

    Exit code 0: everything compared is equal, or was repaired. 1: something differs or could not be compared. 2: wrong
    use or set-up.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.reconciliation.documents import summary
    from st_pipeline.tenants.selection import Selection

    selection = Selection((*names, *tenants), companies, intacct_ids, credential_ids, environment)
    _check(selection, html, everybody=everybody)
    request = _request(**asked)
    with open_database() as (settings, engine):
        chosen = _chosen(engine, selection)
        found = (
            _last(engine, chosen)
            if last
            else _now(engine, settings, chosen, request, show_values=show_values, quiet=as_json)
        )
    document = summary(found)
    if html is not None:
        _write(html, document)
    if as_json:
        from st_pipeline.cli.output import print_json

        print_json(document)
    else:
        from st_pipeline.cli.reconciliation.table import print_tenants

        print_tenants(document)
    return 1 if document["verdict"] in ("differs", "incomplete") else 0


def _check(selection: "Selection", html: Path | None, *, everybody: bool) -> None:
    """Refuse what is wrong before anything is asked. Raises ConfigurationError."""
    from st_pipeline.errors import ConfigurationError

    if selection.names_somebody == everybody:
        raise ConfigurationError(
            "name the tenants to reconcile, as in `st-pipeline reconcile acme-plumbing`, or say --all; not both"
        )
    if html is not None and not html.absolute().parent.is_dir():
        raise ConfigurationError(f"--html {html}: its folder does not exist")


def _request(
    *, entities: tuple[str, ...], created_from: str, created_before: str, deep: bool, repair: bool
) -> "Request":
    """The request. Raises ConfigurationError for a wrong name or time."""
    from st_pipeline.entities import ENTITIES
    from st_pipeline.errors import ConfigurationError
    from st_pipeline.reconciliation.entity import Period
    from st_pipeline.reconciliation.tenant import Request

    for name in entities:
        if name not in ENTITIES:
            raise ConfigurationError(f"--entity {name}: there is no such entity; there are {', '.join(ENTITIES)}")
    first, before = _moment("--from", created_from), _moment("--to", created_before)
    if first is not None and before is not None and first >= before:
        raise ConfigurationError("--from must be before --to")
    return Request(entities, Period(first, before, deep), repairs=repair)


def _moment(option: str, written: str) -> datetime | None:
    from datetime import UTC

    from st_pipeline.sync.configuration import moment

    read = moment(option, written)
    return read.replace(tzinfo=UTC) if read is not None and read.tzinfo is None else read


def _chosen(engine: "Engine", selection: "Selection") -> "list[Tenant]":
    """The tenants, enabled or named. Raises ConfigurationError: a name that no tenant has."""
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.selection import check_names
    from st_pipeline.tenants.store import all_tenants

    with transaction(engine, "choose the tenants to reconcile") as connection:
        tenants = all_tenants(connection)
    check_names(tenants, selection)
    return [one for one in tenants if selection.covers(one) and (one.enabled or selection.names_somebody)]


def _now(
    engine: "Engine",
    settings: "Settings",
    chosen: "Sequence[Tenant]",
    request: "Request",
    *,
    show_values: bool,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Reconcile tenant after tenant."""
    from st_pipeline.cli.reconciliation.table import progress
    from st_pipeline.reconciliation.documents import tenant_document
    from st_pipeline.reconciliation.keeping import reconcile_and_keep

    found = []
    with progress(quiet=quiet) as told:
        for number, tenant in enumerate(chosen, start=1):
            after_entity = partial(told, f"{tenant.partition_key} ({number} of {len(chosen)})")
            finding = reconcile_and_keep(engine, settings, tenant, request, after_entity=after_entity)
            found.append(tenant_document(finding, company=tenant.company_name, values=show_values))
    return found


def _last(engine: "Engine", chosen: "Sequence[Tenant]") -> list[dict[str, Any]]:
    from st_pipeline.errors import ConfigurationError
    from st_pipeline.postgres import reconciliations
    from st_pipeline.postgres.database import transaction

    with transaction(engine, "read the last reconciliations") as connection:
        found = reconciliations.latest(connection, [one.credential_id for one in chosen])
    if not found:
        raise ConfigurationError("none of these tenants was ever reconciled; omit --last")
    return found


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write the page. Raises ConfigurationError when it cannot be written."""
    from st_pipeline.errors import ConfigurationError
    from st_pipeline.reconciliation.report import page

    try:
        path.write_text(page(document), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--html {path}: it cannot be written: {error.strerror}") from None
