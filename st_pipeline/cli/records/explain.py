"""`st-pipeline explain`: what became of one record.

Here: the command, asking ServiceTitan, the output. Not here: the verdict (operations/). Nothing of the record itself is
shown: ids, states and times only.
"""

from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from st_pipeline.operations.record_facts import Sync
    from st_pipeline.operations.verdict import Asked, Explanation, Facts
    from st_pipeline.settings import Settings

LARGEST_ID = 2**63 - 1
FEED_TOKENS = ("continue_from", "full_continue_from")  # of a cursor; they mean nothing to a reader
SHOWN_APART = ("tenant", "name", "feeds", "source")


@click.command(short_help="Say why a record is present, rejected, deleted or absent.")
@click.argument("tenant")
@click.argument("entity")
@click.argument("id", metavar="ID")
@click.option("--ask", is_flag=True, help="Also ask ServiceTitan for the record, by its id, in any state.")
@json_option()
def explain(tenant: str, entity: str, id: str, ask: bool, as_json: bool) -> None:  # noqa: A002 - click's name for it
    """Say why a record is present, rejected, deleted or absent, and where it was last seen.

    ENTITY is an entity like customers, or a stream like members_stream. ID is ServiceTitan's id, for a stream its
    customer_id or invoice_number. Reads the database; asks ServiceTitan only with --ask.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.operations.explain import explain as explained
    from st_pipeline.operations.explain import spec_of
    from st_pipeline.postgres.database import transaction

    st_id = _read_id(id)
    spec_of(entity)
    doing = f"explain {entity} {st_id} of tenant {tenant}"
    with open_database() as (settings, engine):
        asked = _ask(settings, engine, tenant, entity, st_id) if ask else None
        # One snapshot: a running sync must not change the facts between two queries.
        with transaction(engine.execution_options(isolation_level="REPEATABLE READ"), doing) as connection:
            explanation = explained(connection, tenant, entity, st_id, asked)
    if as_json:
        print_json(_as_dict(explanation))
    else:
        _print(explanation)


def _read_id(text: str) -> int:
    """A positive int64. Raises ConfigurationError."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) <= LARGEST_ID:
        raise ConfigurationError(f"{text!r} is not a valid id: ServiceTitan's are whole numbers above 0, like 1001")
    return int(text)


def _ask(settings: "Settings", engine: "Engine", tenant: str, entity: str, st_id: int) -> "Asked":
    """Ask for the record by id, for its modification time. Raises ConfigurationError: it cannot be asked for by id."""
    from st_pipeline.entities import ENTITIES
    from st_pipeline.operations.verdict import Asked
    from st_pipeline.postgres.database import transaction
    from st_pipeline.servicetitan.client import ServiceTitanClient
    from st_pipeline.servicetitan.pages import fetch_by_ids
    from st_pipeline.streams import STREAMS
    from st_pipeline.tenants import store
    from st_pipeline.tenants.diagnosis import LONGEST_WAIT_SECONDS, MAX_ATTEMPTS
    from st_pipeline.validation.decode import read_head

    spec = ENTITIES[STREAMS[entity].anchor if entity in STREAMS else entity]
    if not spec.ids_param:
        raise ConfigurationError(f"ServiceTitan cannot be asked for {spec.name} by id: omit --ask")
    wait = min(settings.retry_max_seconds, LONGEST_WAIT_SECONDS)  # a person is waiting
    patient = settings.model_copy(update={"max_attempts": MAX_ATTEMPTS, "retry_max_seconds": wait})
    with transaction(engine, f"load the credentials of tenant {tenant}") as connection:
        tokens = store.PostgresTokenStore(engine, settings, store.find_tenant(connection, tenant))
        authentication = store.load_authentication(connection, settings, tenant)
    with ServiceTitanClient(authentication, patient, store=tokens) as client:
        records = fetch_by_ids(client, spec, [st_id])
    head = read_head(bytes(records[0])) if records else None
    return Asked(found=bool(records), modified_on=head.modified_on if head else None)


def _print(explanation: "Explanation") -> None:
    from rich.table import Table
    from rich.text import Text

    from st_pipeline.cli.terminal import terminal

    facts = explanation.facts
    title = f"{facts.name} {facts.st_id} of {facts.tenant.partition_key}: {explanation.verdict}"
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _lines(explanation):
        grid.add_row(Text(name), Text(value))
    console = terminal()
    console.print(Text(title, style="bold"))
    console.print(Text(f"{explanation.meaning[:1].upper()}{explanation.meaning[1:]}.\n"))
    console.print(grid)
    console.print(Text(f"\nNext: {explanation.next_step}."))


def _lines(explanation: "Explanation") -> list[tuple[str, str]]:
    facts, cursor = explanation.facts, explanation.facts.cursor
    lines = [*_record_lines(facts)]
    if facts.source is not None:
        source = facts.source
        lines.append((f"{source.facts.name} row", f"{source.verdict}: {source.meaning}"))
        lines += [(f"  {name}", value) for name, value in _record_lines(source.facts)]
    lines += [(feed.stream, _feed(feed)) for feed in facts.feeds]
    lines += [
        ("last poll", _moment(cursor.last_polled_at) or "never"),
        ("complete through", _moment(cursor.complete_through) or "unknown"),
        ("last full sync", _moment(cursor.last_full_at) or "none has ended"),
    ]
    if cursor.newest_modified_on is not None:
        lines.append(("newest record", f"modified {cursor.newest_modified_on}"))
    if cursor.full_started_at is not None:
        lines.append(("full sync not ended", f"begun {_moment(cursor.full_started_at)}"))
    if facts.failure is not None:
        lines.append(("last failure", f"{_moment(facts.failure.at)}, log {facts.failure.sync_log_id}"))
        lines.append(("", facts.failure.message or ""))
    return lines


def _record_lines(facts: "Facts") -> list[tuple[str, str]]:
    """Where the record was last seen."""
    lines: list[tuple[str, str]] = []
    if facts.row is not None:
        lines.append(("modified", _moment(facts.row.modified_on) or "not stated"))
        lines.append(("written", _moment(facts.row.local_synced_at)))
    if facts.record is not None:
        lines.append(("written", f"{_moment(facts.record.updated_at)}, version {facts.record.version}"))
        if facts.written_by is None:
            lines.append(("  import", facts.record.import_id))
    lines += _sync_lines(facts.written_by)
    if facts.row is not None and facts.row.deleted_at is not None:
        lines.append(("marked as deleted", _moment(facts.row.deleted_at)))
        lines += _sync_lines(facts.deleted_by if facts.deleted_by != facts.written_by else None)
    if facts.reject is not None:
        lines.append(("rejected", _moment(facts.reject.last_seen_at)))
        if facts.reject.dismissed_at is not None:
            lines.append(("  dismissed", _moment(facts.reject.dismissed_at)))
        if facts.reject.sync_log_id is not None:
            lines.append(("  sync log", str(facts.reject.sync_log_id)))
    if facts.asked is not None and facts.source is None:
        answer = f"has it, modified {_moment(facts.asked.modified_on) or 'not stated'}"
        lines.append(("ServiceTitan now", answer if facts.asked.found else "does not have it, in any state"))
    return lines


def _sync_lines(sync: "Sync | None") -> list[tuple[str, str]]:
    if sync is None:
        return []
    lines = [
        ("  sync log", f"{sync.sync_log_id}, {sync.sync_type} {sync.mode}, {sync.status}"),
        ("  sync id", sync.sync_id),
    ]
    return [*lines, ("  Dagster run", sync.dagster_run_id)] if sync.dagster_run_id else lines


def _feed(feed: Any) -> str:
    if feed.keys == 1:
        built = f"built {_moment(feed.updated_at)}" if feed.records else "not built"
        return f"{built}; waiting to be built again" if feed.waiting else built
    return f"{feed.records} of {feed.keys} records built, {feed.waiting} waiting"


def _moment(moment: Any) -> str:
    """A time to the second, to look it up in a log."""
    from datetime import UTC

    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _as_dict(explanation: "Explanation") -> dict[str, Any]:
    """For JSON: what is known, and null for what is not."""
    from dataclasses import asdict, fields, is_dataclass

    facts = explanation.facts
    known = {one.name: getattr(facts, one.name) for one in fields(facts) if one.name not in SHOWN_APART}
    plain = {name: asdict(value) if is_dataclass(value) else value for name, value in known.items()}  # type: ignore[arg-type]
    return {
        "tenant": facts.tenant.partition_key,
        "entity": facts.name,
        "verdict": explanation.verdict.value,
        "meaning": explanation.meaning,
        "next_step": explanation.next_step,
        **plain,
        "cursor": {name: value for name, value in plain["cursor"].items() if name not in FEED_TOKENS},
        "feeds": [asdict(feed) for feed in facts.feeds],
        "source": None if facts.source is None else _as_dict(facts.source),
    }
