"""What is wrong now: everything that can be seen from the database and this machine, in a few queries for all tenants.

Here: rows made into problems. Not here: the queries (postgres/), which of them alert (judge.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Row

from st_pipeline.alerts.causes import CHECK_PREFIX
from st_pipeline.alerts.channels import Channel
from st_pipeline.alerts.disk import ERROR_SHARE, disks
from st_pipeline.alerts.judge import Seen
from st_pipeline.errors import DatabaseFull, DatabaseUnavailable
from st_pipeline.plain_text import plain
from st_pipeline.postgres import alert_sources, dagster_signs, poll_claims
from st_pipeline.postgres.alert_deliveries import ChannelState
from st_pipeline.postgres.check_verdicts import Severity
from st_pipeline.runs.tags import MESSAGE_TAG, RESULT_TAG
from st_pipeline.settings import Settings

LONGEST_MESSAGE = 300  # characters; the whole is in the log
DAEMON_SILENT = timedelta(minutes=5)  # a heartbeat comes every 30 s
RUNS_OF = timedelta(days=1)
OF_DAGSTER = frozenset({"run_failed", "daemon_dead"})


@dataclass(slots=True)
class Collected:
    """What is wrong. `unknown`: causes about which nothing could be found out."""

    seen: list[Seen] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()


def collect(
    connection: Connection,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    channels: dict[str, Channel],
    states: dict[str, ChannelState],
    now: datetime,
) -> Collected:
    """Collect everything. `environment`: where the address of Dagster's storage may stand.

    Raises DatabaseUnavailable: our own tables cannot be read.
    """
    found = Collected(
        [*_of_apis(connection, now), *_refused(connection), *_failing(connection), *_checks(connection, now)]
    )
    found.seen += [*_late(connection, settings, now), *of_disks(settings), *_of_channels(channels, states)]
    found.seen += of_dagster(connection.engine, settings, environment, now)
    if any(one.cause == "dagster_database" for one in found.seen):
        found.unknown = OF_DAGSTER
    return found


def _of_apis(connection: Connection, now: datetime) -> Iterator[Seen]:
    for row in alert_sources.api_pauses(connection, now):
        yield Seen(
            "api_paused",
            f"the API of the {row.environment} environment answers nobody; polls of its tenants are paused",
            subject=row.environment,
            figures={"tenants": row.tenants},
        )


def _refused(connection: Connection) -> Iterator[Seen]:
    for row in alert_sources.refused(connection):
        message = short(row.connection_message or "ServiceTitan refuses everything that is asked for")
        yield Seen(
            "credentials_refused",
            message,
            row.partition_key,
            figures={"times_refused": row.refusals} if row.refusals else {},
            since=row.refused_since,
            environment=row.environment,
        )


def _failing(connection: Connection) -> Iterator[Seen]:
    rows = alert_sources.failing(connection)
    for row in rows:
        figures: dict[str, Any] = {"entities": list(row.entities)}
        figures |= {name: value for name, value in (("error", row.error_kind), ("sync", row.sync)) if value is not None}
        message = short(row.message or f"{len(row.entities)} entities failed")
        yield Seen(
            "sync_failing", message, row.partition_key, figures=figures, since=row.since, environment=row.environment
        )
    if any(row.error_kind == DatabaseFull.__name__ for row in rows):
        yield Seen("disk_full", "Postgres says that its disk is full", subject="Postgres", severity=Severity.ERROR)


def _checks(connection: Connection, now: datetime) -> Iterator[Seen]:
    """A problem for each tenant and check, however many assets it fails for."""
    rows = alert_sources.failed_checks(connection, now)
    by_check = sorted(rows, key=lambda row: (row.partition_key, row.check_name))
    for (tenant, check), found in groupby(by_check, key=lambda row: (row.partition_key, row.check_name)):
        yield _failed_check(tenant, check, list(found))


def _failed_check(tenant: str, check: str, rows: Sequence[Row[Any]]) -> Seen:
    worst = min(rows, key=lambda row: (row.severity != Severity.ERROR, row.since))
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return Seen(
        f"{CHECK_PREFIX}{check}",
        f"{short(worst.message)}{more}",
        tenant,
        severity=Severity(worst.severity),
        figures={"assets": [row.asset for row in rows]},
        since=min(row.since for row in rows),
        environment=worst.environment,
    )


def _late(connection: Connection, settings: Settings, now: datetime) -> Iterator[Seen]:
    late_by = timedelta(minutes=settings.alert_late_poll_minutes)
    for row in poll_claims.late(connection, late_by, now=now):
        last = (
            "" if row.polled_at is None else f"; the last poll in which every feed answered began {_at(row.polled_at)}"
        )
        yield Seen(
            "poll_late",
            f"due for a poll since {_at(row.due_at)}{last}",
            row.partition_key,
            since=row.due_at,
            environment=row.environment,
        )


def of_disks(settings: Settings) -> Iterator[Seen]:
    """Disks with too little space."""
    least = settings.alert_least_free_bytes
    for disk in disks(settings):
        state = disk.state(least)
        if state != "ok":
            share = ERROR_SHARE if state == "wrong" else 1
            yield Seen(
                "disk_full",
                # Without the exact figure: it changes with every tick, and each change is written.
                f"less than {least * share / 1024**3:.2g} GB is free",
                subject=str(disk.folder),
                severity=Severity.ERROR if state == "wrong" else Severity.WARN,
                figures={"disk_gb": round(disk.total_bytes / 1024**3)},
            )


def _of_channels(channels: dict[str, Channel], states: dict[str, ChannelState]) -> Iterator[Seen]:
    for name in channels:
        state = states.get(name)
        if state is not None and state.failing_since is not None:
            yield Seen(
                "channel_failing",
                f"channel {name} takes no messages: {state.error}",
                subject=name,
                since=state.failing_since,
            )


def of_dagster(engine: Engine, settings: Settings, environment: Mapping[str, str], now: datetime) -> list[Seen]:
    """What Dagster's own tables show; nothing where there are none. `environment`: where their address may stand."""
    try:
        with dagster_signs.connected(settings, engine, environment) as connection:
            return [] if connection is None else [*_daemons(connection, now), *_runs(connection, now)]
    except DatabaseUnavailable:
        return [Seen("dagster_database", "the database of Dagster's own storage does not answer")]


def _daemons(connection: Connection, now: datetime) -> Iterator[Seen]:
    for daemon, at in dagster_signs.heartbeats(connection).items():
        if now - at > DAEMON_SILENT:
            message = f"the last sign of life of {daemon.lower().replace('_', ' ')} was at {_at(at)}"
            yield Seen("daemon_dead", message, subject=daemon, since=at)


def _runs(connection: Connection, now: datetime) -> Iterator[Seen]:
    rows = dagster_signs.failed_jobs(connection, now - RUNS_OF, result_tag=RESULT_TAG, message_tag=MESSAGE_TAG)
    for row in rows:
        why = short(row.message) if row.message else "it failed as a whole, or its process died or did not start"
        figures = {"runs": row.runs, "run": row.run_id}
        yield Seen("run_failed", f"run of {row.job}: {why}", subject=row.job, figures=figures, since=row.since)


def short(message: str) -> str:
    """A message on one line, cut to what fits."""
    line = " ".join(plain(message).split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
