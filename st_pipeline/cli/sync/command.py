"""`st-pipeline sync`: sync what is due, or what is named.

Here: the command, its summary, its exit code. Not here: which tenants are meant (tenants/), running the syncs (runs/),
the plan of a dry run (operations/).
"""

import contextlib
import time
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.cli.selection_options import entities as entity_names
from st_pipeline.cli.selection_options import selection_options
from st_pipeline.cli.selection_options import tenants as tenant_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from st_pipeline.cli.sync.request import SyncRequest
    from st_pipeline.operations.due_polls import DuePolls
    from st_pipeline.runs.follow import TenantRun
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.selection import Choice

MAX_TENANTS_IN_DETAIL = 10  # --dry-run shows the entities of up to this many tenants

ENDS = ("completed", "failed", "skipped", "unknown")


@click.command(
    epilog=examples(
        "st-pipeline sync                               what is due, as the schedules do",
        "st-pipeline sync --dry-run                     which tenants that would be, and why",
        "st-pipeline sync -c acme-plumbing              one company, what changed since its last sync",
        "st-pipeline sync -c acme-plumbing --mode full  everything, and mark deleted records",
        "st-pipeline sync -d invoices -e production     one kind of data of every tenant that is due",
        "st-pipeline sync acme-plumbing@integration --entity jobs --rewrite",
        "st-pipeline sync -c acme-plumbing --modified-from 2026-03-01 --modified-to 2026-04-01",
        "*/15 * * * * st-pipeline sync --json-lines >> sync.log    a line of a crontab",
    )
)
@click.argument("names", nargs=-1, metavar="[TENANT]...", shell_complete=tenant_keys)
@selection_options
@click.option(
    "--data-type", "-d", "--sync-type", "data_type", default="all", show_default=True,
    type=click.Choice(["customers", "invoices", "both", "all"]),
    help="customers: customers, locations, contacts, memberships. invoices: invoices, payments. Each with its stream.",
)  # fmt: skip
@click.option(
    "--entity", "entities", multiple=True, shell_complete=entity_names, metavar="NAME",
    help="Only this entity or stream of the data type; may be repeated.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(["incremental", "full", "window"]),
    help="incremental: what changed since the last sync (the default). full: everything, then mark deleted records. "
    "window: what was modified between two times.",
)  # fmt: skip
@click.option("--force-full-sync", is_flag=True, help="The same as --mode full.")
@click.option("--modified-from", default="", metavar="TIME", help="Start of the window, like 2026-01-31; inclusive.")
@click.option("--modified-to", default="", metavar="TIME", help="End of the window, exclusive; omit it for no end.")
@click.option("--rewrite", is_flag=True, help="Write all rows, also those that did not change.")
@click.option(
    "--allow-deletions", is_flag=True, help="Let a full sync mark more rows as deleted than the guard allows."
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="ROWS", help="Rows in a transaction, instead of the setting."
)
@click.option(
    "--max-concurrent", type=click.IntRange(min=1), default=3, show_default=True, help="Tenants to sync at a time."
)
@click.option(
    "--timeout", "-t", type=click.FloatRange(min=0, min_open=True), default=3600, show_default=True, metavar="SECONDS",
    help="Time limit of each tenant; a sync that exceeds it ends at its next chunk, the others continue.",
)  # fmt: skip
@click.option(
    "--dry-run", is_flag=True, help="Show which tenants would be synced, why, and from where. Sends no request."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the syncs, or only queue them.")
@json_option("--json-output")
def sync(
    *,
    names: tuple[str, ...],
    environment: str | None,
    companies: tuple[str, ...],
    intacct_ids: tuple[str, ...],
    tenants: tuple[str, ...],
    credential_ids: tuple[int, ...],
    max_concurrent: int,
    timeout: float,
    dry_run: bool,
    wait: bool,
    as_json: bool,
    **how: Any,
) -> int:
    """Sync what is due, or the tenants you name.

    Without names: every tenant that is enabled, not paused, not suspended, and due by its own schedule. A tenant that
    another sync works on is skipped, and a second command that would do the same ends at once. With names: those
    tenants, even if they are paused; a busy one is waited for.

    Each tenant is a Dagster run: queued in the running Dagster, or executed by this command when Dagster is not
    running. One tenant's failure does not stop the others. Ctrl-C ends the syncs at their next chunk, a second Ctrl-C
    at once; nothing is lost.

    Exit code 0: all well, nothing due, or another command does the same. 1: a tenant failed. 2: wrong use or set-up.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.sync.request import read_request
    from st_pipeline.postgres.database import transaction
    from st_pipeline.postgres.scheduled_work import only_one
    from st_pipeline.tenants.selection import Selection, choose

    selection = Selection((*names, *tenants), companies, intacct_ids, credential_ids, environment)
    request = read_request(selection, **how)
    with open_database() as (settings, engine), contextlib.ExitStack() as until_done:
        if request.is_due and not dry_run and not until_done.enter_context(only_one(engine, request.work)):
            return _report_the_other(as_json=as_json)
        with transaction(engine, "choose the tenants to sync") as connection:
            choices = choose(connection, selection, request.configuration.mode)
        if dry_run:
            return _show_plan(engine, settings, request, choices, as_json=as_json)
        runs, due = request.runs(choices), None
        if request.is_poll:
            due = _due_polls(engine, settings, request)
            until_done.callback(due.close)
            runs += due.claim(max_concurrent if wait else len(choices))
        if wait or not runs:
            return sync_tenants(
                engine, settings, runs, choices, due, max_concurrent=max_concurrent, timeout=timeout, as_json=as_json
            )
        return _submit(engine, settings, runs, due, as_json=as_json)


def _due_polls(engine: "Engine", settings: "Settings", request: "SyncRequest") -> "DuePolls":
    """The tenants that are due, to be claimed."""
    from uuid import UUID

    from st_pipeline.operations.due_polls import DuePolls

    environment, whole = request.selection.environment, request.is_of_everything
    return DuePolls(engine, settings, UUID(request.request_id), request.run_of, environment, whole)


def sync_tenants(
    engine: "Engine",
    settings: "Settings",
    runs: "list[TenantRun]",
    choices: "Sequence[Choice]" = (),
    due: "DuePolls | None" = None,
    *,
    max_concurrent: int,
    timeout: float,
    as_json: bool,
) -> int:
    """Run the syncs, show their progress and their results; returns the exit code."""
    from st_pipeline.cli.sync.progress import SyncProgress
    from st_pipeline.cli.sync.run_backend import choose_run_backend
    from st_pipeline.cli.terminal import terminal
    from st_pipeline.runs.follow import SyncRunner

    started = time.monotonic()
    if runs:
        with contextlib.closing(choose_run_backend(settings, engine)) as backend:
            runner = SyncRunner(engine, backend, runs, max_concurrent, timeout, due)
            if as_json:
                runner.run()
            else:
                with SyncProgress(terminal(), engine, runner) as progress:
                    runner.run(progress.refresh)
                    progress.refresh()
    skipped = [choice for choice in choices if not choice.taken]
    return _report(engine, runs, skipped, time.monotonic() - started, as_json=as_json)


def _report_the_other(*, as_json: bool) -> int:
    """Say that another command does the same; returns the exit code."""
    from st_pipeline.cli.output import print_json, print_text

    if as_json:
        print_json(_summary(None, 0.0, already_running=True))
    else:
        print_text("another `st-pipeline sync` is doing the same: nothing was started")
    return 0


def _summary(request_id: str | None, seconds: float, **found: Any) -> dict[str, Any]:
    """The command's JSON; `found` replaces the zeros. `not_selected` was called `left_alone`, which stays until 0.2."""
    figures = ("total_credentials", "successful_syncs", "failed_syncs", "skipped_syncs", "total_records_processed")
    nothing = {
        **dict.fromkeys(figures, 0),
        "execution_time_seconds": round(seconds, 1),
        "tenants": [],
        "not_selected": [],
        "left_alone": [],
    }
    return {"request_id": request_id, **nothing, "already_running": False, **found}


def _report(
    engine: "Engine", runs: "Sequence[TenantRun]", skipped: "Sequence[Choice]", seconds: float, *, as_json: bool
) -> int:
    from st_pipeline.cli.output import number_of, print_json, print_text
    from st_pipeline.operations.run_figures import results_of

    with engine.connect() as connection:
        results = results_of(connection, runs) if runs else []
    number = {status: sum(run.status == status for run in runs) for status in ENDS}
    records = sum(result["records_processed"] for result in results)
    if as_json:
        not_selected = [{"tenant": choice.tenant.partition_key, "reason": choice.reason} for choice in skipped]
        print_json(
            _summary(
                runs[0].request.request_id if runs else None,
                seconds,
                total_credentials=len(runs),
                successful_syncs=number["completed"],
                failed_syncs=number["failed"],
                skipped_syncs=number["skipped"],
                total_records_processed=records,
                tenants=results,
                not_selected=not_selected,
                left_alone=not_selected,
            )
        )
    else:
        for choice in skipped:
            print_text(f"{choice.tenant.partition_key}: skipped: {choice.reason}")
        if runs:
            done = f"{number['completed']} synced, {number['failed']} failed, {number['skipped']} skipped"
            done += f", {number['unknown']} still queued or running" if number["unknown"] else ""
            tenants = number_of(len(runs), "tenant")
            print_text(f"{tenants}: {done}; {number_of(records, 'record')} in {seconds:.1f} s")
        elif not skipped:
            print_text("no tenant to sync: add one with `st-pipeline credentials add`")
    return 1 if number["failed"] or number["unknown"] else 0


def _show_plan(
    engine: "Engine", settings: "Settings", request: "SyncRequest", choices: "Sequence[Choice]", *, as_json: bool
) -> int:
    from st_pipeline.cli.output import number_of, print_json, print_table, print_text
    from st_pipeline.operations.sync_plan import plan
    from st_pipeline.postgres.database import transaction

    with transaction(engine, "plan the sync") as connection:
        plans = plan(connection, settings, request.configuration, choices)
    if as_json:
        print_json({"tenants": [one.as_json() for one in plans]})
        return 0
    in_detail = sum(one.choice.taken for one in plans) <= MAX_TENANTS_IN_DETAIL
    for one in plans:
        requests = number_of(one.requests, "request")
        says = f"{one.choice.reason}, at least {requests}" if one.choice.taken else f"skipped: {one.choice.reason}"
        print_text(f"{one.choice.tenant.partition_key}: {says}")
        if one.choice.taken and in_detail:
            rows = [[f"  {e['entity']}", e["mode"], e["from"], e["requests"]] for e in one.entities]
            print_table(("  entity", "mode", "from", "requests"), rows)
    if not in_detail:
        print_text(f"--json shows each tenant's entities; so does naming up to {MAX_TENANTS_IN_DETAIL} tenants")
    print_text("no request was sent; omit --dry-run to sync")
    return 0


def _submit(
    engine: "Engine", settings: "Settings", runs: "list[TenantRun]", due: "DuePolls | None", *, as_json: bool
) -> int:
    """Queue the runs in the running Dagster. Their tenants are due again at their next time."""
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.cli.sync.run_backend import choose_run_backend
    from st_pipeline.errors import ConfigurationError
    from st_pipeline.runs.follow import SyncRunner
    from st_pipeline.runs.graphql import RunningDagster

    backend = choose_run_backend(settings, engine)
    if not isinstance(backend, RunningDagster):
        raise ConfigurationError(
            "--no-wait needs a running Dagster to queue the syncs in: start it with `st-pipeline up`, or omit --no-wait"
        )
    SyncRunner(engine, backend, runs, max_concurrent=len(runs), timeout_seconds=0).submit()
    if due is not None:
        due.ended(runs)
    queued = [
        {
            "tenant": run.tenant,
            "status": "queued" if run.status == "waiting" else run.status,
            "message": run.message,
            "dagster_run_id": run.run_id,
        }
        for run in runs
    ]
    if as_json:
        print_json({"request_id": runs[0].request.request_id, "total_credentials": len(runs), "tenants": queued})
    else:
        for one in queued:
            place = f"{backend.url}/runs/{one['dagster_run_id']}" if one["dagster_run_id"] else one["message"]
            print_text(f"{one['tenant']}: {one['status']}, {place}")
    return 1 if any(run.status == "failed" for run in runs) else 0
