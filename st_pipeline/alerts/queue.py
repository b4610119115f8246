"""Who is to be told what, and from when on: messages put into the queue with the problems they are about.

Here: from decisions to rows. Not here: the decisions (judge.py), sending (deliver.py).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from st_pipeline.alerts.channels import Channel
from st_pipeline.alerts.judge import Judgement
from st_pipeline.alerts.times import day_of_digest, end_of_quiet_hours
from st_pipeline.postgres import alert_deliveries
from st_pipeline.postgres.alert_deliveries import Kind, Message, Tick
from st_pipeline.postgres.alert_problems import Problem
from st_pipeline.postgres.check_verdicts import Severity
from st_pipeline.settings import Settings

DIGEST_COVERS = timedelta(days=1)


def enqueue(
    connection: Connection, settings: Settings, channels: Mapping[str, Channel], result: Judgement, now: datetime
) -> None:
    """Put the messages into the queue, in the transaction that saves the problems.

    Of what is over, exactly those hear who may have heard that it began; what nobody has heard of is withdrawn.
    """
    messages: list[Message] = []
    for kind, problem in result.events:
        if kind != "closed":
            messages += [
                _message(settings, channel, kind, problem, now)
                for channel in channels.values()
                if channel.takes(problem.severity) and not _is_about(problem, channel)
            ]
    closed = {problem.id: problem for kind, problem in result.events if kind == "closed"}
    if closed:
        told = alert_deliveries.told(connection, [*closed])
        alert_deliveries.withdraw_untold(connection, [*closed], now)
        messages += [
            _message(settings, channels[name], "closed", closed[id_], now) for id_, name in told if name in channels
        ]
    alert_deliveries.enqueue(connection, messages, now)


def _is_about(problem: Problem, channel: Channel) -> bool:
    """A channel is not told that it does not get messages."""
    return problem.cause == "channel_failing" and problem.subject == channel.name


def _message(settings: Settings, channel: Channel, kind: Kind, problem: Problem, now: datetime) -> Message:
    quiet_until = end_of_quiet_hours(settings, now)
    passes = problem.severity is Severity.ERROR and settings.alert_quiet_errors_pass
    not_before = now if quiet_until is None or passes else quiet_until
    time = f" {problem.figures.get('told', '')}" if kind == "worsened" else ""
    return Message(channel.name, f"problem {problem.id} {kind}{time}", kind, problem.id, not_before)


def enqueue_digest(
    connection: Connection, settings: Settings, channels: Mapping[str, Channel], tick: Tick, now: datetime
) -> None:
    """The day's digest, once its time has come, to the channels that have one. Notes the tick."""
    day = day_of_digest(settings, now)
    is_due = day is not None and (tick.digest_on is None or tick.digest_on < day)
    if is_due:
        occasion = f"digest {day:%Y-%m-%d}"
        messages = [Message(one.name, occasion, "digest", None, now) for one in channels.values() if one.has_digest]
        alert_deliveries.withdraw_digests(connection, now)
        alert_deliveries.enqueue(connection, messages, now)
    alert_deliveries.note_tick(connection, now, day if is_due else None)
