"""The audit trail: who did what to a company or a credential, and how it ended.

Here: writing and reading rows of `audit_log`. Not here: deciding what gets a row. Rows hold no secret: `details` takes
plain values only, and a SecretStr fails to serialise instead of being written. Rows never change: a trigger refuses
that even to the table's owner.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import AuthError, ConfigurationError, DatabaseUnavailable, PipelineError
from st_pipeline.postgres.database import transaction
from st_pipeline.suggestions import unknown_name

Result = Literal["done", "refused", "failed"]
# What gets a row: the command that did it.
Action = Literal[
    "alerts.ack",
    "alerts.silence",
    "alerts.silence_end",
    "checks.ack",
    "checks.set",
    "companies.add",
    "companies.remove",
    "companies.update",
    "credentials.add",
    "credentials.disable",
    "credentials.enable",
    "credentials.purge",
    "credentials.remove",
    "credentials.rotate_secret",
    "credentials.test",
    "credentials.update",
    "keys.rotate",
    "onboard",
    "rejects.dismiss",
    "rejects.reopen",
    "switch.off",
    "switch.on",
    "sync",
    "tenants.pause",
    "tenants.resume",
    "tenants.schedule",
]
ACTIONS: tuple[str, ...] = get_args(Action)
Plain = str | int | float | bool | None

INSERT = text("""
    INSERT INTO audit_log (actor, origin, action, tenant, credential_id, result, details)
    VALUES (:actor, :origin, :action, :tenant, :credential_id, :result, CAST(:details AS jsonb))
""")


def record(
    connection: Connection,
    action: Action,
    *,
    tenant: str | None,
    credential_id: int | None,
    result: Result,
    details: Mapping[str, Plain] | None = None,
) -> None:
    """Write a row, in the caller's transaction. `action`: like `credentials.add`. Raises TypeError on a SecretStr."""
    connection.execute(
        INSERT,
        {
            "actor": actor(),
            "origin": socket.gethostname(),
            "action": action,
            "tenant": tenant,
            "credential_id": credential_id,
            "result": result,
            "details": json.dumps(dict(details or {}), allow_nan=False),
        },
    )


@dataclass(slots=True)
class Entry:
    """What the row of a change will say. `details` may be added to until it is written."""

    action: Action
    tenant: str | None
    credential_id: int | None = None
    details: dict[str, Plain] = field(default_factory=dict)

    def write(self, connection: Connection, result: Result, **more: Plain) -> None:
        """Write the row, in the caller's transaction."""
        details = {**self.details, **more}
        record(connection, self.action, tenant=self.tenant, credential_id=self.credential_id, result=result,
               details=details)  # fmt: skip


@contextmanager
def audited(engine: Engine, doing: str, entry: Entry) -> Iterator[Connection]:
    """A transaction that ends with its row in the trail; when it is refused or fails, a separate row says why.

    Raises what the body raises. When Postgres is not available, no row is written, and nothing was changed either.
    """
    with audit_failures(engine, doing, entry), transaction(engine, doing) as connection:
        yield connection
        entry.write(connection, "done")


@contextmanager
def audit_failures(engine: Engine, doing: str, entry: Entry) -> Iterator[None]:
    """An error in the block leaves a row in the trail. The messages of our errors hold no secret."""
    try:
        yield
    except DatabaseUnavailable:
        raise
    except PipelineError as error:
        with transaction(engine, doing) as connection:
            refused = isinstance(error, ConfigurationError | AuthError)
            entry.write(connection, "refused" if refused else "failed", reason=str(error))
        raise


@dataclass(frozen=True, slots=True)
class TrailRow:
    """A row of the trail. `at` is timezone-aware; `origin` is the machine's name."""

    id: int
    at: datetime
    actor: str
    origin: str
    action: str
    tenant: str | None
    credential_id: int | None
    result: Result
    details: dict[str, Any]


def trail(
    connection: Connection,
    *,
    tenant: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[TrailRow]:
    """The rows, newest first. `action`: such as `credentials.add`, or only the part before the dot.

    Raises ConfigurationError: an action that nothing has.
    """
    kinds = [*dict.fromkeys(name.partition(".")[0] for name in ACTIONS)]
    if action is not None and action not in (*ACTIONS, *kinds):
        raise ConfigurationError(unknown_name("action", action, (*ACTIONS, *kinds)))
    wanted = {
        "tenant = :tenant": tenant,
        "(action = :action OR action LIKE :action || '.%')": action,
        "at >= :since": since,
    }
    where = " AND ".join(clause for clause, value in wanted.items() if value is not None) or "true"
    sql = f"SELECT {', '.join(TrailRow.__slots__)} FROM audit_log WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    values = {"tenant": tenant, "action": action, "since": since, "limit": limit}
    return [TrailRow(*row) for row in connection.execute(text(sql), values)]


def actor() -> str:
    """The operating system's user of this process, and not the variable `USER`, which anybody can set."""
    with contextlib.suppress(ImportError, KeyError, AttributeError):  # no pwd on Windows, no name in some containers
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    try:
        return f"uid {os.geteuid()}"
    except AttributeError:
        return getpass.getuser()
