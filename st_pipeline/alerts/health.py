"""Is the platform itself well? For a watcher from outside, and for the heartbeat.

Here: the questions and their answers. Not here: single tenants' problems, which alerts tell of; printing (cli/).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, Engine

from st_pipeline.alerts.channels import check_channels
from st_pipeline.alerts.collect import of_dagster
from st_pipeline.alerts.disk import disks
from st_pipeline.errors import PipelineError
from st_pipeline.postgres import alert_deliveries, night_plan, poll_claims
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.postgres.schema_version import check_current
from st_pipeline.settings import Settings

State = Literal["ok", "warning", "wrong"]
TICKS_STOPPED = timedelta(minutes=10)
NIGHT_MISSING = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question found."""

    question: str
    state: State
    finding: str


def examine(
    settings: Settings, environment: Mapping[str, str], now: datetime, given: Engine | None = None
) -> list[Answer]:
    """All answers. Without our database there are only those about this machine."""
    answers = [*_disks(settings)]
    try:
        with main_engine(settings, given) as engine:
            check_current(engine)
            answers.insert(0, Answer("database", "ok", "it answers, at the version that this code needs"))
            answers += _dagster(engine, settings, environment, now)
            with transaction(engine, "ask how polls, nights and alerts do") as connection:
                answers += [*_polls(connection, settings, now), *_night(connection, now)]
                answers += _alerts(connection, settings, now)
    except PipelineError as error:
        answers.insert(0, Answer("database", "wrong", str(error)))
    return answers


def _disks(settings: Settings) -> Iterator[Answer]:
    for disk in disks(settings):
        yield Answer("disk", disk.state(settings.alert_least_free_bytes), str(disk))


def _dagster(engine: Engine, settings: Settings, environment: Mapping[str, str], now: datetime) -> Iterator[Answer]:
    found = [
        one
        for one in of_dagster(engine, settings, environment, now)
        if one.cause in ("daemon_dead", "dagster_database")
    ]
    for one in found:
        yield Answer("Dagster's daemon", "wrong", one.message)
    if not found:
        yield Answer("Dagster's daemon", "ok", "no part of it is silent")


def _polls(connection: Connection, settings: Settings, now: datetime) -> Iterator[Answer]:
    """A few late tenants are alerts of their own; many, or all, mean that nobody polls."""
    late_by = timedelta(minutes=settings.alert_late_poll_minutes)
    late, tenants = len(poll_claims.late(connection, late_by, now=now)), len(poll_claims.load_all(connection))
    is_wrong = late >= settings.alert_group_tenants or late * 2 > tenants
    finding = f"{late} of {tenants} tenants are due for longer than {settings.alert_late_poll_minutes:g} minutes"
    yield Answer("polls", "wrong" if is_wrong else "warning" if late else "ok", finding)


def _night(connection: Connection, now: datetime) -> Iterator[Answer]:
    planned = night_plan.load(connection)
    if not planned:
        yield Answer("nightly full sync", "ok", "none was planned yet")
        return
    left = sum(one.ended_at is None for one in planned)
    failed = sum(bool(one.failed) for one in planned)
    night = max(one.night for one in planned)
    state: State = "wrong" if now.date() - night > NIGHT_MISSING else "warning" if failed else "ok"
    finding = f"the last is that of {night}: {len(planned)} tenants, {failed} failed, {left} not done"
    yield Answer("nightly full sync", state, finding)


def _alerts(connection: Connection, settings: Settings, now: datetime) -> Iterator[Answer]:
    try:
        channels = check_channels(settings)
    except PipelineError as error:
        yield Answer("alerts", "wrong", str(error))
        return
    ticked_at = alert_deliveries.tick(connection).ticked_at
    states = alert_deliveries.channels(connection)
    failing = [name for name in channels if name in states and states[name].failing_since is not None]
    if ticked_at is None or now - ticked_at > TICKS_STOPPED:
        last = "never" if ticked_at is None else f"last at {ticked_at:%Y-%m-%d %H:%M} UTC"
        yield Answer("alerts", "wrong", f"nobody looks for problems ({last}): is the sensor `alerts` on, or cron?")
    elif failing:
        state: State = "wrong" if len(failing) == len(channels) else "warning"
        yield Answer("alerts", state, f"channels that take no messages: {', '.join(failing)}")
    elif not channels:
        yield Answer("alerts", "warning", "ST_PIPELINE_ALERT_CHANNELS is not set: nobody is told of problems")
    else:
        yield Answer("alerts", "ok", f"channels: {', '.join(channels)}")
