"""A receiver of alerts on loopback, and ticks that send to it.

Here: the HTTP server behind `json://`, what it was sent, a clock, and troubles of tenants to plant. Not here: tests.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.alerts.channels import Send
from st_pipeline.alerts.tick import Ticked, tick
from st_pipeline.postgres.dagster_database import STORAGE_VARIABLE
from st_pipeline.settings import Settings
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

LOADED = "UPDATE servicetitan_credentials SET last_sync_at = :now, connection_status = 'connected' WHERE id = :id"
POLLED_IN_A_YEAR = "INSERT INTO tenant_polls (credential_id, due_at) VALUES (:id, :now + interval '1 year')"
FAILED_CURSORS = """
    INSERT INTO sync_cursors (credential_id, entity, last_failed_at)
    SELECT CAST(:id AS bigint), unnest(CAST(:entities AS text[])), CAST(:now AS timestamptz)
    ON CONFLICT (credential_id, entity) DO UPDATE SET last_failed_at = :now
"""
FAILED_SYNC = """
    WITH l AS (
        INSERT INTO servicetitan_sync_logs
            (credential_id, sync_id, sync_type, mode, data_type, status, started_at, completed_at, message)
        VALUES (:id, gen_random_uuid(), 'scheduled', 'incremental', 'all', 'failed', :now, :now, :message)
        RETURNING id)
    INSERT INTO sync_log_entities (sync_log_id, entity, mode, status, error_kind, completed_at)
    SELECT id, unnest(CAST(:entities AS text[])), 'incremental', 'failed', CAST(:error AS text),
        CAST(:now AS timestamptz) FROM l
"""
VERDICT = """
    INSERT INTO check_verdicts
        (credential_id, asset, check_name, status, severity, since, checked_at, message, figures)
    VALUES (:id, 'tenant', :check, :status, :severity, :now, :now, :message, '{}')
    ON CONFLICT (credential_id, asset, check_name) DO UPDATE
        SET status = :status, since = :now, severity = :severity, message = :message
"""
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it arrived. `channel`: the last part of its address."""

    channel: str
    title: str
    body: str
    tone: str


@dataclass
class Receiver:
    """What was received, in order. `answers`: another status than 200, by channel; `slow`: seconds to wait first."""

    url: str
    log: list[Received] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    beats: int = 0

    def titles(self, channel: str = "ops") -> list[str]:
        """The titles that a channel got since the last call."""
        found = [one.title for one in self.log if one.channel == channel]
        self.log = [one for one in self.log if one.channel != channel]
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens for the block."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            channel = self.path.rpartition("/")[2]
            time.sleep(receiver.slow.get(channel, 0.0))
            status = receiver.answers.get(channel, 200)
            if status == 200:
                receiver.log.append(Received(channel, body["title"], body["message"], body["type"]))
            self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:
            receiver.beats += 1
            self.send_response(receiver.answers.get("heartbeat", 200))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Minutes:
    """Ticks, a minute apart, on a clock of their own, and what they are to find."""

    engine: Engine
    settings: Settings
    receiver: Receiver
    now: datetime = MORNING
    ids: dict[str, int] = field(default_factory=dict)
    send: Send | None = None

    def set(self, **changed: object) -> None:
        """Change settings. `channels`: as the variable's text, `{url}` filled in."""
        if "channels" in changed:
            words = str(changed.pop("channels")).replace("{url}", self.receiver.url)
            changed["alert_channels"] = SecretStr(words)
        self.settings = self.settings.model_copy(update=changed)

    def tick(self) -> Ticked:
        """One, now."""
        # A database without Dagster's tables, found at once.
        url = self.engine.url.render_as_string(hide_password=False)
        return tick(self.engine, self.settings, {STORAGE_VARIABLE: url}, now=self.now, send=self.send)

    def pass_(self, minutes: int, *, every: int = 1) -> None:
        """So many minutes, with a tick at the end of each, or of each so many."""
        for _ in range(minutes // every):
            self.now += timedelta(minutes=every)
            self.tick()

    def add(self, *tenants: str) -> None:
        """Tenants after their first load that are polled in time."""
        for tenant in tenants:
            company, _, environment = tenant.partition("@")
            new = new_credential(company, environment or "production", 1000 + len(self.ids))  # type: ignore[arg-type]
            found = put_tenant(self.engine, self.settings, new)
            self.ids[tenant] = found.credential_id
            self.change(LOADED, id=found.credential_id)
            self.change(POLLED_IN_A_YEAR, id=found.credential_id)

    def change(self, sql: str, **values: object) -> None:
        """Change the database; `:now` is given."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), {"now": self.now, **values})

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        """What the database says."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]

    def refuse(self, tenant: str, message: str = "the client secret is not valid any more") -> None:
        """ServiceTitan refuses the tenant."""
        self.change(
            "UPDATE servicetitan_credentials SET connection_status = 'error', connection_message = :message, "
            "refused_since = :now, refusals = 1, retry_at = :now + interval '15 minutes' WHERE id = :id",
            id=self.ids[tenant],
            message=message,
        )

    def accept(self, tenant: str) -> None:
        """It is accepted again."""
        self.change(
            "UPDATE servicetitan_credentials SET connection_status = 'connected', connection_message = NULL, "
            "refused_since = NULL, refusals = 0, retry_at = NULL WHERE id = :id",
            id=self.ids[tenant],
        )

    def fail(self, tenant: str, *entities: str, error: str = "ServiceUnavailable", message: str = "500") -> None:
        """The tenant's sync of these entities fails."""
        values = {"id": self.ids[tenant], "entities": list(entities), "error": error, "message": message}
        self.change(FAILED_CURSORS, **values)
        self.change(FAILED_SYNC, **values)

    def succeed(self, tenant: str) -> None:
        """Its next sync is fine."""
        self.change("UPDATE sync_cursors SET last_failed_at = NULL WHERE credential_id = :id", id=self.ids[tenant])

    def due(self, *tenants: str) -> None:
        """They are due for a poll now, and nobody polls them."""
        ids = [self.ids[tenant] for tenant in tenants]
        self.change("UPDATE tenant_polls SET due_at = :now WHERE credential_id = ANY(:ids)", ids=ids)

    def poll(self, *tenants: str) -> None:
        """They have been polled."""
        ids = [self.ids[tenant] for tenant in tenants]
        polled = "UPDATE tenant_polls SET due_at = :now + interval '1 year', polled_at = :now"
        self.change(f"{polled} WHERE credential_id = ANY(:ids)", ids=ids)

    def outage(self, environment: str = "production") -> None:
        """Polls of the environment are paused for ten minutes from now."""
        self.change(
            "INSERT INTO api_pauses VALUES (:environment, :now + interval '10 minutes', 1, '3 tenants in a row') "
            "ON CONFLICT (environment) DO UPDATE SET paused_until = excluded.paused_until",
            environment=environment,
        )

    def answers(self, environment: str = "production") -> None:
        """The API answers again."""
        self.change("DELETE FROM api_pauses WHERE environment = :environment", environment=environment)

    def verdict(self, tenant: str, check: str, status: str, message: str, severity: str = "error") -> None:
        """A check's verdict."""
        values = {"check": check, "status": status, "severity": severity, "message": message}
        self.change(VERDICT, id=self.ids[tenant], **values)
