"""`st-pipeline alerts list` and `show`: the alerts, and all about one.

Here: printing. Not here: what alerts (alerts/).
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.postgres.alert_problems import Problem


@click.command("list", epilog=examples("st-pipeline alerts list", "st-pipeline alerts list --closed 7 --json"))
@click.option("--closed", "closed_days", type=click.IntRange(min=1), metavar="DAYS", help="Those too that were over.")
@click.option("--held-back", is_flag=True, help="Also problems that have not alerted: too new, silenced or explained.")
@json_option()
def list_(*, closed_days: int | None, held_back: bool, as_json: bool) -> None:
    """Show the open alerts, the newest first, and what is silenced."""
    from dataclasses import asdict

    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.postgres import alert_problems
    from st_pipeline.postgres.database import transaction

    now = datetime.now(UTC)
    with open_database() as (_, engine), transaction(engine, "read the alerts") as connection:
        found = alert_problems.alerted(connection, closed_since=now - timedelta(days=closed_days or 0))
        if held_back:
            found += [one for one in alert_problems.load_open(connection) if one.opened_at is None]
        silences = alert_problems.silences(connection, now)
    if as_json:
        print_json({"alerts": [as_values(one) for one in found], "silences": [asdict(one) for one in silences]})
        return
    for one in found:
        print_text(_line(one))
        print_text(f"    {one.message}")
    if not found:
        print_text("nothing is wrong" if closed_days is None else "no alerts")
    for silence in silences:
        who = " of ".join(word for word in (silence.cause or "all alerts", silence.tenant) if word)
        until = f"until {silence.ends_at:%Y-%m-%d %H:%M} UTC, by {silence.created_by}"
        print_text(f"silence {silence.id}: {who} {until}" + (f": {silence.because}" if silence.because else ""))


@click.command(epilog=examples("st-pipeline alerts show 17"))
@click.argument("alert", type=int)
@json_option()
def show(*, alert: int, as_json: bool) -> None:
    """Show all about ALERT: since when, how bad, what to do, what it explains, and who was told when."""
    from st_pipeline.alerts.causes import cause_of
    from st_pipeline.alerts.message import advice, link
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_table, print_text
    from st_pipeline.postgres import alert_deliveries, alert_problems
    from st_pipeline.postgres.database import transaction

    with open_database() as (settings, engine), transaction(engine, f"read alert {alert}") as connection:
        found = alert_problems.load(connection, [alert]).get(alert)
        parts = alert_problems.parts_of(connection, alert)
        told = alert_deliveries.of_problem(connection, alert)
    if found is None:
        raise ConfigurationError(f"no alert has the number {alert}: `st-pipeline alerts list` shows them")
    cause = cause_of(found.cause)
    if as_json:
        more = {"meaning": cause.meaning, "advice": advice(found), "link": link(settings, found)}
        print_json({**as_values(found), **more, "parts": [as_values(one) for one in parts], "messages": told})
        return
    print_text(_line(found))
    for text in (found.message, cause.meaning, f"What to do: {advice(found)}", f"Look at: {link(settings, found)}"):
        print_text(f"    {text}")
    if found.acknowledged_by:
        print_text(f"    acknowledged by {found.acknowledged_by}: {found.because or 'without a reason'}")
    if parts:
        print_table(("tenant", "since", "cause", "message"), [(p.tenant, p.since, p.cause, p.message) for p in parts])
    if told:
        rows = [(one["channel"], one["kind"], _became(one)) for one in told]
        print_table(("channel", "message", "what became of it"), rows)


def as_values(problem: "Problem") -> dict[str, Any]:
    """For machines."""
    names = (
        "id", "cause", "tenant", "subject", "severity", "message", "figures", "since", "opened_at", "closed_at",
        "acknowledged_by", "acknowledged_at", "because",
    )  # fmt: skip
    return {**{name: getattr(problem, name) for name in names}, "state": state(problem)}


def state(problem: "Problem") -> str:
    """In a word or two."""
    if problem.closed_at is not None:
        return "over"
    if problem.opened_at is None:
        return "held back"
    return "acknowledged" if problem.acknowledged_by else "open"


def _line(problem: "Problem") -> str:
    who = problem.tenant or problem.subject
    when = f"since {problem.since:%Y-%m-%d %H:%M} UTC"
    if problem.closed_at is not None:
        when += f", over {problem.closed_at:%Y-%m-%d %H:%M} UTC"
    return f"{problem.id}  {problem.severity}  {who}: {problem.cause}, {when}, {state(problem)}"


def _became(told: dict[str, Any]) -> str:
    if told["delivered_at"] is not None:
        return f"taken at {told['delivered_at']:%Y-%m-%d %H:%M} UTC"
    if told["withdrawn_at"] is not None:
        return "not sent: over before"
    if told["tries"]:
        return f"waits after {told['tries']} tries: {told['error']}"
    return f"waits until {told['not_before']:%Y-%m-%d %H:%M} UTC"
