"""One tick: look for problems, decide, put messages into the queue, send them, call the heartbeat's address.

Here: the order. Not here: each of the steps; who calls it once a minute (defs/, cli/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from st_pipeline.alerts import health, without_database
from st_pipeline.alerts.channels import Send, read_channels, sender
from st_pipeline.alerts.collect import collect
from st_pipeline.alerts.deliver import Sent, deliver
from st_pipeline.alerts.heartbeat import beat
from st_pipeline.alerts.judge import judge
from st_pipeline.alerts.queue import enqueue, enqueue_digest
from st_pipeline.errors import DatabaseUnavailable
from st_pipeline.postgres import alert_deliveries, alert_problems
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.postgres.schema_version import check_current
from st_pipeline.settings import Settings


@dataclass(slots=True)
class Ticked:
    """What a tick did. `is_other`: another process was at it. `opened`, `closed`: numbers of alerts.

    `database`: why ours does not work, if it does not.
    """

    is_other: bool = False
    opened: int = 0
    closed: int = 0
    open_alerts: int = 0
    sent: Sent = field(default_factory=lambda: Sent(0, {}))
    heartbeat: str = "not set"
    database: str | None = None

    def __str__(self) -> str:
        """For people, on a line."""
        if self.database is not None:
            return f"{self.database}; told: {self.sent.delivered} channels"
        if self.is_other:
            return "another process looks for problems now"
        alerts = f"alerts: {self.opened} new, {self.closed} over, {self.open_alerts} open"
        failed = "".join(f"; channel {name} takes none: {error}" for name, error in self.sent.failed.items())
        return f"{alerts}; messages sent: {self.sent.delivered}{failed}; heartbeat {self.heartbeat}"


def look_and_tell(
    settings: Settings, environment: Mapping[str, str], *, now: datetime | None = None, send: Send | None = None
) -> Ticked:
    """A tick with a connection of its own; where our database does not work, that is told.

    Raises ConfigurationError.
    """
    now, send = now or datetime.now(UTC), send or sender(settings)
    try:
        with main_engine(settings) as engine:
            check_current(engine)
            done = tick(engine, settings, environment, now=now, send=send)
    except DatabaseUnavailable as error:
        told = without_database.tell(settings, error, send, now)
        return Ticked(sent=Sent(len(told), {}), database=str(error))
    without_database.over(settings, send, now)
    return done


def tick(
    engine: Engine,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    now: datetime | None = None,
    send: Send | None = None,
) -> Ticked:
    """Do all of it, unless another process does. `environment`: where the address of Dagster's storage may stand.

    Raises ConfigurationError: the channels; and DatabaseUnavailable.
    """
    channels, now = read_channels(settings), now or datetime.now(UTC)
    result = Ticked()
    with alert_deliveries.only_one(engine) as is_ours:
        if not is_ours:
            result.is_other = True
            return result
        _decide(engine, settings, environment, now, result)
        result.sent = deliver(engine, settings, channels, send or sender(settings), now)
        if settings.heartbeat_url is not None:
            result.heartbeat = _beat_if_well(engine, settings, environment, now)
    return result


def _decide(engine: Engine, settings: Settings, environment: Mapping[str, str], now: datetime, result: Ticked) -> None:
    channels = read_channels(settings)
    with transaction(engine, "look for problems") as connection:
        known = alert_problems.load_open(connection)
        states = alert_deliveries.channels(connection)
        found = collect(connection, settings, environment, channels=channels, states=states, now=now)
        judgement = judge(
            known,
            found.seen,
            now,
            silences=alert_problems.silences(connection, now),
            times_before=alert_problems.times_before(connection, now) if found.seen else {},
            unknown=found.unknown,
            many=settings.alert_group_tenants,
        )
        alert_problems.save(connection, judgement.problems)
        enqueue(connection, settings, channels, judgement, now)
        enqueue_digest(connection, settings, channels, alert_deliveries.tick(connection), now)
    result.opened = sum(kind == "opened" for kind, _ in judgement.events)
    result.closed = sum(kind == "closed" for kind, _ in judgement.events)
    alerts = (one for one in judgement.problems if one.closed_at is None and one.part_of is None)
    result.open_alerts = sum(one.opened_at is not None for one in alerts)


def _beat_if_well(engine: Engine, settings: Settings, environment: Mapping[str, str], now: datetime) -> str:
    """Call the heartbeat's address unless something is wrong. Returns what became of it."""
    wrong = [one.question for one in health.examine(settings, environment, now, engine) if one.state == "wrong"]
    if wrong:
        return f"not called: {', '.join(wrong)}"
    error = beat(settings)
    with transaction(engine, "note the heartbeat") as connection:
        alert_deliveries.note_heartbeat(connection, now, error)
    return f"failed: {error}" if error else "called"
