"""Sending what waits in the queue.

Here: the loop over waiting messages. Not here: what is put into the queue (queue.py), the texts (message.py), apprise
(channels.py).

No transaction is open while something is sent. Each try is counted before it begins, and its end is noted after it, so
a process that dies sends a message again only if it died between the channel's answer and that note.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from st_pipeline.alerts.channels import Channel, Send, Text
from st_pipeline.alerts.message import Writer
from st_pipeline.alerts.queue import DIGEST_COVERS
from st_pipeline.postgres import alert_deliveries, alert_problems
from st_pipeline.postgres.alert_deliveries import Delivery
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings

# A sensor's tick may take a minute, and the last message 20 s; what is left waits for the next tick.
BUDGET_SECONDS = 25.0


@dataclass(slots=True)
class Sent:
    """What became of the queue: messages taken, and channels that took none, with the kind of error."""

    delivered: int
    failed: dict[str, str]


def deliver(
    engine: Engine,
    settings: Settings,
    channels: Mapping[str, Channel],
    send: Send,
    now: datetime,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Sent:
    """Send what may be sent now, channel by channel in turn; one that fails pauses, and the others go on."""
    if not channels:
        return Sent(0, {})
    with transaction(engine, "read the messages to send") as connection:
        alert_deliveries.withdraw_of_others(connection, [*channels], now)
        waiting = alert_deliveries.waiting(connection, now)
        if not waiting:
            return Sent(0, {})
        write = _writer(connection, settings, waiting, now)
    sent, begun = Sent(0, {}), clock()
    for delivery in waiting:
        if delivery.channel in sent.failed:
            continue
        if clock() - begun > BUDGET_SECONDS:
            break
        doing = f"note a message to channel {delivery.channel}"
        with transaction(engine, doing) as connection:
            alert_deliveries.begin_try(connection, delivery.id)
        error = send(channels[delivery.channel], write(delivery))
        with transaction(engine, doing) as connection:
            if error is None:
                alert_deliveries.delivered(connection, delivery, now)
                sent.delivered += 1
            else:
                alert_deliveries.failed(connection, delivery, error, now)
                sent.failed[delivery.channel] = error
    return sent


def _writer(
    connection: Connection, settings: Settings, waiting: list[Delivery], now: datetime
) -> Callable[[Delivery], Text]:
    """What writes the text of a message."""
    ids = [one.problem_id for one in waiting if one.problem_id is not None]
    problems = alert_problems.load(connection, ids)
    names = connection.execute(text("SELECT partition_key, company_name FROM tenants"))
    companies = {row.partition_key: row.company_name for row in names}
    writer = Writer(settings, companies, now)
    has_digest = any(one.kind == "digest" for one in waiting)
    alerts = alert_problems.alerted(connection, closed_since=now - DIGEST_COVERS) if has_digest else []

    def write(delivery: Delivery) -> Text:
        if delivery.problem_id is None:
            return writer.digest(alerts, len(companies))
        return writer.about(delivery.kind, problems[delivery.problem_id])

    return write
