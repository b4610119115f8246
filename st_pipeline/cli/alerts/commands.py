"""`st-pipeline alerts`: acknowledge and silence alerts, test channels, look for problems now.

Here: what changes or sends something. Not here: showing alerts (listing.py), what alerts (alerts/).
"""

import os
from datetime import UTC, datetime, timedelta

import click

from st_pipeline.cli.alerts.listing import list_, show
from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

LONGEST_SILENCE_HOURS = 24 * 90


@click.group(cls=InOrder, short_help="What is wrong and who is told: list, acknowledge, silence, test channels.")
def alerts() -> None:
    """What is wrong, and who is told.

    The sensor `alerts` looks for problems once a minute. It sends one message for each new one, and one when it is
    over, through the channels of ST_PIPELINE_ALERT_CHANNELS. docs/trust.md says what each alert means.
    """


alerts.add_command(list_)
alerts.add_command(show)


@alerts.command(epilog=examples('st-pipeline alerts ack 17 --because "new secret is on its way"'))
@click.argument("alert", type=int)
@click.option("--because", metavar="TEXT", help="What is being done; shown beside the alert.")
def ack(*, alert: int, because: str | None) -> None:
    """Note that somebody works on ALERT: it sends no further message until it is over."""
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.terminal import say
    from st_pipeline.postgres import alert_problems
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants import audit

    _check_text("--because", because)
    with open_database() as (_, engine), transaction(engine, f"acknowledge alert {alert}") as connection:
        found = alert_problems.acknowledge(connection, alert, audit.actor(), because, datetime.now(UTC))
        if found is None:
            raise ConfigurationError(f"no open alert has the number {alert}: `st-pipeline alerts list` shows them")
        details: dict[str, audit.Plain] = {"alert": alert, "cause": found.cause, "because": because}
        audit.record(connection, "alerts.ack", tenant=found.tenant, credential_id=None, result="done", details=details)
    say(f"alert {alert} ({found.cause}): acknowledged")


@alerts.command(
    epilog=examples(
        'st-pipeline alerts silence --tenant acme --hours 48 --because "they change systems"',
        "st-pipeline alerts silence --cause check_volume --hours 72      holidays",
        "st-pipeline alerts silence --end 3",
    )
)
@click.option("--tenant", metavar="TENANT", help="Problems of this tenant.")
@click.option("--cause", metavar="CAUSE", help="Problems of this cause, as `alerts list` shows it.")
@click.option("--hours", type=click.FloatRange(0, LONGEST_SILENCE_HOURS, min_open=True), help="For so long from now.")
@click.option("--because", metavar="TEXT", help="Why; shown beside the silence.")
@click.option("--end", type=int, metavar="NUMBER", help="End this silence instead of beginning one.")
def silence(
    *, tenant: str | None, cause: str | None, hours: float | None, because: str | None, end: int | None
) -> None:
    """Tell nobody of new problems of a tenant or a cause for some hours. What is still wrong then alerts.

    Alerts that were told before stay open, and their end is told.
    """
    _check_text("--because", because)
    if end is not None:
        if (tenant, cause, hours, because) != (None, None, None, None):
            raise ConfigurationError("--end takes the number of a silence and no other option")
        _end_silence(end)
    elif hours is None or (tenant is None and cause is None):
        raise ConfigurationError("what is to be silenced for how long? Write --tenant or --cause or both, and --hours")
    else:
        _begin_silence(tenant, cause, hours, because)


def _begin_silence(tenant: str | None, cause: str | None, hours: float, because: str | None) -> None:
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.terminal import say
    from st_pipeline.postgres import alert_problems
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants import audit
    from st_pipeline.tenants.store import find_tenant

    now = datetime.now(UTC)
    ends_at = now + timedelta(hours=hours)
    with open_database() as (_, engine), transaction(engine, "silence alerts") as connection:
        if tenant is not None:
            find_tenant(connection, tenant)
        if cause is not None:
            _check_cause(cause)
        number = alert_problems.silence(
            connection, cause=cause, tenant=tenant, by=audit.actor(), because=because, ends_at=ends_at, now=now
        )
        details = {"silence": number, "cause": cause, "hours": hours, "because": because}
        audit.record(connection, "alerts.silence", tenant=tenant, credential_id=None, result="done", details=details)
    what = " of ".join(word for word in (cause or "all alerts", tenant) if word)
    say(f"silence {number}: {what}, until {ends_at:%Y-%m-%d %H:%M} UTC")


def _end_silence(number: int) -> None:
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.terminal import say
    from st_pipeline.postgres import alert_problems
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants import audit

    with open_database() as (_, engine), transaction(engine, f"end silence {number}") as connection:
        if not alert_problems.end_silence(connection, number, datetime.now(UTC)):
            raise ConfigurationError(
                f"no silence has the number {number}, or it has ended: see `st-pipeline alerts list`"
            )
        audit.record(
            connection,
            "alerts.silence_end",
            tenant=None,
            credential_id=None,
            result="done",
            details={"silence": number},
        )
    say(f"silence {number}: ended")


@alerts.command(epilog=examples("st-pipeline alerts test", "st-pipeline alerts test pager --json"))
@click.argument("channel", required=False)
@json_option()
def test(*, channel: str | None, as_json: bool) -> int:
    """Send a test message through CHANNEL, or each one, and say what happened. Exit code 1 if one did not take it."""
    from st_pipeline.alerts.channels import Text, check_channels, sender
    from st_pipeline.alerts.message import ui
    from st_pipeline.cli.output import print_json
    from st_pipeline.cli.terminal import say
    from st_pipeline.settings import load_settings
    from st_pipeline.suggestions import unknown_name

    settings = load_settings()
    channels = check_channels(settings)
    if not channels:
        raise ConfigurationError("there is no channel to test: set ST_PIPELINE_ALERT_CHANNELS (docs/trust.md#alerts)")
    if channel is not None and channel not in channels:
        raise ConfigurationError(unknown_name("channel", channel, channels))
    body = f"A test of st-pipeline's alerts. Nothing is wrong.\nLook at: {ui(settings)}"
    send, results = sender(settings), []
    for one in [channels[channel]] if channel is not None else channels.values():
        error = send(one, Text("TEST: st-pipeline", body))
        results.append({"channel": one.name, "delivered": error is None, "error": error})
        if not as_json:
            say(f"{one.name}: " + ("took the message" if error is None else f"did not take it: {error}"))
    if as_json:
        print_json(results)
    return 0 if all(one["delivered"] for one in results) else 1


@alerts.command(epilog=examples("st-pipeline alerts deliver", "st-pipeline alerts deliver --json"))
@json_option()
def deliver(*, as_json: bool) -> int:
    """Look for problems and send what is to be told, as the sensor does: for cron, where Dagster does not run.

    Both may run: one of them at a time does it. Exit code 1 if a channel did not take a message, or the database does
    not work, which is told, too.
    """
    from dataclasses import asdict

    from st_pipeline.alerts.tick import look_and_tell
    from st_pipeline.cli.output import print_json
    from st_pipeline.cli.terminal import say
    from st_pipeline.settings import load_settings

    done = look_and_tell(load_settings(), os.environ)
    if as_json:
        print_json(asdict(done))
    else:
        say(str(done))
    return 1 if done.sent.failed or done.database is not None else 0


def _check_text(option: str, value: str | None) -> None:
    if value is not None and (not value.strip() or not value.isprintable()):
        raise ConfigurationError(f"{option} is empty or has characters that cannot be printed: write it as plain text")


def _check_cause(cause: str) -> None:
    from st_pipeline.alerts.causes import CAUSES, CHECK_PREFIX
    from st_pipeline.checks.registry import CHECKS
    from st_pipeline.suggestions import unknown_name

    known = [*CAUSES, *(f"{CHECK_PREFIX}{check.name}" for check in CHECKS)]
    if cause not in known and not cause.startswith(CHECK_PREFIX):  # a company's own checks have names of their own
        raise ConfigurationError(unknown_name("cause", cause, known))
