"""`st-pipeline rejects`: rejected records, and what to do about them.

Here: the commands. Not here: the queries, replaying records (operations/).
"""

import sys
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import companies as company_slugs
from st_pipeline.cli.selection_options import entities as entity_names
from st_pipeline.cli.selection_options import tenants as tenant_keys
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from st_pipeline.operations.rejects import RejectFilter
    from st_pipeline.tenants.store import Tenant


@click.group(cls=InOrder, short_help="Rejected records: list, replay or dismiss them.")
def rejects() -> None:
    """Rejects, records that could not be stored: list them, replay them, or dismiss them."""


@rejects.command(
    "list",
    epilog=examples(
        "st-pipeline rejects list --summary",
        "st-pipeline rejects list --tenant acme-plumbing --entity invoices",
    ),
)
@click.option("--tenant", "tenants", multiple=True, shell_complete=tenant_keys, metavar="TENANT",
              help="Only rejects of this tenant; may be repeated.")  # fmt: skip
@click.option("--company", "-c", "companies", multiple=True, shell_complete=company_slugs, metavar="SLUG",
              help="Only rejects of this company; may be repeated.")  # fmt: skip
@click.option("--entity", "entities", multiple=True, shell_complete=entity_names, metavar="NAME",
              help="Only rejects of this entity or stream; may be repeated.")  # fmt: skip
@click.option("--dismissed", is_flag=True, help="The dismissed rejects instead of the open ones.")
@click.option("--summary", is_flag=True, help="Count the rejects by reason.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Records to show.")
@json_option()
def list_(
    *,
    tenants: tuple[str, ...],
    companies: tuple[str, ...],
    entities: tuple[str, ...],
    dismissed: bool,
    summary: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Show rejected records with their reasons. Ids and reasons only, nothing of the records."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations import rejects
    from st_pipeline.postgres.database import transaction

    with open_database() as (_, engine), transaction(engine, "read the rejects") as connection:
        chosen = _choose(connection, tenants, companies, entities, dismissed=dismissed)
        rows = rejects.counted(connection, chosen) if summary else rejects.listed(connection, chosen, limit)
        total = rejects.number(connection, chosen)
    if as_json:
        print_json(rows)
    elif rows:
        _print_list(rows, total, summary=summary)
    else:
        click.echo("no rejects" if not dismissed else "no dismissed rejects")


def _print_list(rows: list[dict[str, Any]], total: int, *, summary: bool) -> None:
    from st_pipeline.cli.output import number_of, print_table, print_text

    if summary:
        shown = [(r["tenant"], r["entity"], r["records"], r["last_seen_at"], r["reason"]) for r in rows]
        print_table(("tenant", "entity", "records", "last seen (UTC)", "reason"), shown)
        print_text(f"{number_of(total, 'record')} in all")
        return
    lines = [(r["tenant"], r["entity"], r["key"], r["last_seen_at"], "; ".join(r["reasons"])) for r in rows]
    print_table(("tenant", "entity", "id", "last seen (UTC)", "reasons"), lines)
    if total > len(rows):
        print_text(f"the last {len(rows):,} of {total:,}; --limit shows more, --summary counts them by reason")


@rejects.command(
    "show",
    epilog=examples(
        "st-pipeline rejects show acme-plumbing invoices 2838843594",
        "st-pipeline rejects show acme-plumbing invoices 2838843594 --record",
    ),
)
@click.argument("tenant", shell_complete=tenant_keys)
@click.argument("entity", shell_complete=entity_names)
@click.argument("id", metavar="ID")
@click.option("--record", is_flag=True, help="Also show the record as it was received: a customer's data.")
@json_option()
def show(*, tenant: str, entity: str, id: str, record: bool, as_json: bool) -> None:  # noqa: A002 - click's name for it
    """Show why the record ID of ENTITY was rejected. ID as `list` shows it; a record without an id has a hash, #….

    With --record the bytes go to standard output as they are, and nowhere else; a terminal gets them without control
    characters.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations import rejects
    from st_pipeline.postgres.database import transaction

    with open_database() as (_, engine), transaction(engine, "read a reject") as connection:
        chosen = _choose(connection, (tenant,), (), (entity,), keys=(id,), dismissed=None)
        found = rejects.listed(connection, chosen, limit=1)
        kept = rejects.record_of(connection, chosen) if record else None
    if not found:
        raise ConfigurationError(
            f"{tenant} has no reject of {entity} with id {id}: `st-pipeline rejects list --tenant {tenant}` shows them"
        )
    if as_json:
        shown = {} if kept is None else {"record": kept.decode(errors="replace")}
        print_json(found[0] | shown)
        return
    _print_one(found[0])
    if kept is not None:
        _print_record(kept)


def _print_record(kept: bytes) -> None:
    """Print it as it was received; on a terminal, without control characters."""
    from st_pipeline.cli.terminal import say

    if sys.stdout.isatty():
        say(kept.decode(errors="replace"))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(kept + b"\n")


def _print_one(found: dict[str, Any]) -> None:
    from st_pipeline.cli.output import number_of, print_text, shown

    print_text(f"{found['entity']} {found['key']} of {found['tenant']}, {number_of(found['bytes'], 'byte')}")
    for reason in found["reasons"]:
        print_text(f"  {reason}")
    seen = f"first seen {shown(found['first_seen_at'])}, last {shown(found['last_seen_at'])} UTC"
    times = number_of(found["times"], "time")
    print_text(f"{seen}, {times}; sync {found['sync_log_id'] or 'no longer in the log'}")
    if found["dismissed_at"] is not None:
        print_text(f"dismissed at {shown(found['dismissed_at'])} UTC")


@rejects.command(
    short_help="Prepare and write rejects again.",
    epilog=examples(
        "st-pipeline rejects replay acme-plumbing                       all open rejects",
        "st-pipeline rejects replay acme-plumbing invoices 2838843594   one record",
        "st-pipeline rejects replay --all-tenants",
    ),
)
@click.argument("tenant", required=False, shell_complete=tenant_keys)
@click.argument("entity", required=False, shell_complete=entity_names)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all-tenants", is_flag=True, help="Replay the rejects of every enabled tenant.")
@json_option()
def replay(*, tenant: str | None, entity: str | None, ids: tuple[str, ...], all_tenants: bool, as_json: bool) -> int:
    """Prepare and write rejects again, after a rule or a column was fixed. Does not contact ServiceTitan.

    Records that pass are written and are no longer rejects. A record that is older than its row is dropped and never
    overwrites it. Waits for a tenant that a sync works on.

    Exit code 0: all were tried; the output says which still fail. 1: a tenant's rejects could not be replayed.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.errors import PipelineError
    from st_pipeline.operations.rejects import names_of
    from st_pipeline.operations.replay import replay as replayed
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.store import enabled_tenants, find_tenant

    if (tenant is None) != all_tenants:
        raise ConfigurationError("whose rejects? Name a tenant, or give --all-tenants")
    names = names_of(entity) if entity else ()
    answers: list[dict[str, Any]] = []
    with open_database() as (settings, engine):
        with transaction(engine, "find the tenants") as connection:
            wanted = [find_tenant(connection, tenant)] if tenant else enabled_tenants(connection)
        for one in wanted:
            try:
                results = replayed(engine, settings, one, names=names, keys=ids)
            except PipelineError as error:
                answers.append({"tenant": one.partition_key, "error": str(error), "results": []})
            else:
                answers.append({"tenant": one.partition_key, "error": None, "results": results})
    if as_json:
        from dataclasses import asdict

        print_json([answer | {"results": [asdict(result) for result in answer["results"]]} for answer in answers])
    else:
        _print_replayed(answers)
    return 1 if any(answer["error"] for answer in answers) else 0


def _print_replayed(answers: list[dict[str, Any]]) -> None:
    from st_pipeline.cli.output import print_table, print_text

    rows = [
        (answer["tenant"], r.name, r.tried, r.passed, r.older, r.still_failing)
        for answer in answers
        for r in answer["results"]
    ]
    if rows:
        print_table(("tenant", "entity", "tried", "passed", "older", "still failing"), rows)
    elif not any(answer["error"] for answer in answers):
        print_text("no rejects")
    for answer in answers:
        if answer["error"]:
            print_text(f"{answer['tenant']}: {answer['error']}")


@rejects.command(
    epilog=examples(
        "st-pipeline rejects dismiss acme-plumbing invoices 2838843594",
        "st-pipeline rejects dismiss acme-plumbing invoices --all --yes",
        "st-pipeline rejects dismiss acme-plumbing invoices 2838843594 --undo",
    )
)
@click.argument("tenant", shell_complete=tenant_keys)
@click.argument("entity", shell_complete=entity_names)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All open rejects of the entity.")
@click.option("--undo", is_flag=True, help="Reopen dismissed rejects.")
@click.option("--yes", is_flag=True, help="Do not ask before dismissing all.")
@json_option()
def dismiss(
    *, tenant: str, entity: str, ids: tuple[str, ...], everything: bool, undo: bool, yes: bool, as_json: bool
) -> None:
    """Dismiss rejects that nobody will fix. A dismissed one is open again as soon as its bytes change."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations import rejects
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.audit import Action, record
    from st_pipeline.tenants.store import find_tenant

    if bool(ids) == everything:
        raise ConfigurationError("which records? Name their ids, or give --all")
    if everything and not undo and not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError(f"this would dismiss all rejects of {entity} of {tenant}: add --yes to do it")
        click.confirm(f"Dismiss every open reject of {entity} of {tenant}?", abort=True)
    with open_database() as (_, engine), transaction(engine, "dismiss rejects") as connection:
        chosen = _choose(connection, (tenant,), (), (entity,), keys=ids, dismissed=undo)
        changed = rejects.dismiss(connection, chosen, undo=undo)
        if changed:
            found = find_tenant(connection, tenant)
            action: Action = "rejects.reopen" if undo else "rejects.dismiss"
            record(connection, action, tenant=tenant, credential_id=found.credential_id, result="done",
                   details={"entity": entity, "records": changed})  # fmt: skip
    if as_json:
        print_json({"tenant": tenant, "entity": entity, "changed": changed})
    else:
        click.echo(f"{changed:,} {'reopened' if undo else 'dismissed'}")


def _choose(
    connection: "Connection",
    tenants: tuple[str, ...],
    companies: tuple[str, ...],
    entities: tuple[str, ...],
    *,
    keys: tuple[str, ...] = (),
    dismissed: bool | None = False,
) -> "RejectFilter":
    """The rejects that these names choose. Raises ConfigurationError: an unknown name."""
    from st_pipeline.operations.rejects import RejectFilter, names_of
    from st_pipeline.tenants.selection import Selection, check_names
    from st_pipeline.tenants.store import all_tenants

    known: list[Tenant] = all_tenants(connection)
    selection = Selection(tenants=tenants, companies=companies)
    check_names(known, selection)
    return RejectFilter(
        credential_ids=[t.credential_id for t in known if selection.covers(t)] if selection.names_somebody else (),
        names=[name for entity in entities for name in names_of(entity)],
        keys=keys,
        dismissed=dismissed,
    )
