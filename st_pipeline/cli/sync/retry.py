"""`st-pipeline retry-failed`: sync again what failed.

Here: the command. Not here: choosing what to retry (operations/), running the syncs (runs/).
"""

from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option

if TYPE_CHECKING:
    from st_pipeline.operations.failed_syncs import Retry

TIMEOUT_SECONDS = 3600.0
MAX_CONCURRENT = 3


@click.command(
    "retry-failed",
    short_help="Sync again what failed.",
    epilog=examples(
        "st-pipeline retry-failed --dry-run",
        "st-pipeline retry-failed --max-age 2 --exclude-auth-errors",
        "0 * * * * st-pipeline retry-failed --exclude-auth-errors --json-lines >> retries.log",
    ),
)
@click.option("--max-age", "-m", type=click.FloatRange(min=0, min_open=True), default=24, show_default=True,
              metavar="HOURS", help="Only what failed within this many hours.")  # fmt: skip
@click.option("--max-retries", type=click.IntRange(min=1), default=10, show_default=True, metavar="SYNCS",
              help="Retry at most this many syncs, those that failed first before others.")  # fmt: skip
@click.option("--exclude-auth-errors", is_flag=True,
              help="Skip what ServiceTitan refuses; retry it once the credential is fixed.")  # fmt: skip
@click.option("--include-permanent", is_flag=True,
              help="Also retry errors that repeat until their cause is fixed: use it once it is.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be retried. Sends no request.")
@json_option(note="; the form of `st-pipeline sync --json`")
def retry_failed(
    *,
    max_age: float,
    max_retries: int,
    exclude_auth_errors: bool,
    include_permanent: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Sync again what failed: the same tenants and entities, in the same mode or window.

    Only what no sync has completed since. A sync that was stopped or killed counts as failed for what it had not done.
    Tenants that are disabled, paused or being synced are skipped; so are entities whose last error repeats until
    somebody fixes its cause, such as a refused deletion.

    Exit code 0: all well, or nothing to retry. 1: something failed again. 2: wrong use or set-up.
    """
    import uuid
    from datetime import timedelta

    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_text
    from st_pipeline.cli.sync.command import sync_tenants
    from st_pipeline.operations.failed_syncs import failed_since
    from st_pipeline.postgres.database import transaction
    from st_pipeline.runs.follow import TenantRun
    from st_pipeline.runs.run_request import RunRequest

    with open_database() as (settings, engine):
        with transaction(engine, "look for what failed") as connection:
            found = failed_since(
                connection,
                timedelta(hours=max_age),
                exclude_auth_errors=exclude_auth_errors,
                include_permanent=include_permanent,
            )
        chosen = [retry for retry in found if retry.why_not is None][:max_retries]
        if dry_run:
            _show(found, chosen, as_json=as_json)
            return 0
        if not as_json:
            for retry in found:
                if retry not in chosen:
                    print_text(f"{retry.tenant}: skipped: {_what_is_skipped(retry)}")
        request_id = str(uuid.uuid4())
        runs = [
            TenantRun(retry.credential_id, RunRequest(retry.tenant, request_id, retry.entities, retry.options))
            for retry in chosen
        ]
        if not runs and not as_json:
            print_text("nothing to retry")
            return 0
        return sync_tenants(
            engine, settings, runs, max_concurrent=MAX_CONCURRENT, timeout=TIMEOUT_SECONDS, as_json=as_json
        )


def _what_is_skipped(retry: "Retry") -> str:
    """The whole tenant, or the entities whose error would repeat."""
    return f"{', '.join(retry.entities)}: {retry.why_not}" if retry.is_permanent else _why_skipped(retry)


def _why_skipped(retry: "Retry") -> str:
    return retry.why_not or "more than --max-retries"


def _show(found: "list[Retry]", chosen: "list[Retry]", *, as_json: bool) -> None:
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.sync.closing import some_of

    if as_json:
        print_json(
            [
                {
                    "tenant": retry.tenant,
                    "would_retry": retry in chosen,
                    "reason": None if retry in chosen else _why_skipped(retry),
                    "mode": str(retry.mode),
                    "options": retry.options,
                    "entities": list(retry.entities),
                    "failed_syncs": retry.failed_syncs,
                }
                for retry in found
            ]
        )
        return
    for retry in found:
        ids = ", ".join(map(str, retry.failed_syncs))
        skipped = "" if retry in chosen else f", skipped: {_why_skipped(retry)}"
        print_text(f"{retry.tenant}: {retry.mode} sync of {some_of(retry.entities)} (failed: {ids}){skipped}")
        print_text(f"  {retry.messages[-1]}")
    print_text("no request was sent; omit --dry-run to retry" if found else "nothing to retry")
