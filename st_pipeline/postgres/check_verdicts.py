"""What checks have found: the latest verdict of each check on each tenant, and every change of it.

Here: table check_verdicts, what counts as news, and writing check_history with it. Not here: reading the history
(check_history), the checks (checks/), tenants' own thresholds (check_thresholds).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, text

from st_pipeline.postgres.database import transaction

# Only who has something to write takes it; so two processes never both see the same change.
LOCK = 3_405_691_583
# A check that fails for long is written again so often, so that its figures are not those of the first hour.
FAILING_WRITTEN_EVERY = timedelta(hours=1)


class Severity(StrEnum):
    """How bad it is when a check fails."""

    WARN = "warn"
    ERROR = "error"


class Status(StrEnum):
    """What a check found."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKABLE = "not checkable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found for one tenant and asset. `message`: a sentence with figures, without customers' data.

    `severity`: where it differs from the check's. `causes`: what is wrong, item by item, where a person may accept
    each for itself; the check fails again only when a further one appears.
    """

    credential_id: int
    asset: str
    status: Status
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity | None = None
    causes: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding and what was known before. `tenant`: the partition key. `since`: when it took this status.

    `is_news`: this evaluation changed the status, raised the severity or found a further cause.
    """

    credential_id: int
    tenant: str
    asset: str
    check: str
    status: Status
    severity: Severity
    since: datetime
    checked_at: datetime
    message: str
    figures: Mapping[str, Any]
    causes: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_because: str | None = None
    acknowledged_until: datetime | None = None
    is_news: bool = False

    @property
    def key(self) -> "Key":
        """What tells it from others."""
        return Key(self.credential_id, self.asset, self.check)

    @property
    def acknowledged(self) -> bool:
        """Has a person acknowledged that it fails, and does that still hold?"""
        until = self.acknowledged_until
        return self.acknowledged_at is not None and (until is None or until > self.checked_at)


class Key(NamedTuple):
    """The primary key."""

    credential_id: int
    asset: str
    check: str


_COLUMNS = {
    "credential_id": "bigint",
    "asset": "text",
    "check_name": "text",
    "status": "text",
    "severity": "text",
    "since": "timestamptz",
    "checked_at": "timestamptz",
    "message": "text",
    "figures": "jsonb",
    "causes": "text[]",
    "accepted": "text[]",
    "acknowledged_at": "timestamptz",
    "acknowledged_by": "text",
    "acknowledged_because": "text",
    "acknowledged_until": "timestamptz",
}
_READ = f"""
    SELECT t.partition_key AS tenant, {", ".join(f"v.{name}" for name in _COLUMNS)}
    FROM check_verdicts v JOIN tenants t ON t.credential_id = v.credential_id
"""  # noqa: S608 - names of ours
_WRITE = text(f"""
    INSERT INTO check_verdicts ({", ".join(_COLUMNS)})
    SELECT {", ".join(f"r.{name}" for name in _COLUMNS)}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r ({", ".join(f"{n} {kind}" for n, kind in _COLUMNS.items())})
    JOIN servicetitan_credentials c ON c.id = r.credential_id
    ON CONFLICT (credential_id, asset, check_name) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in list(_COLUMNS)[3:])}
""")  # noqa: S608 - names of ours
_WRITE_HISTORY = text("""
    INSERT INTO check_history (credential_id, asset, check_name, status_before, status, severity, at, message, figures)
    SELECT r.credential_id, r.asset, r.check_name, r.status_before, r.status, r.severity, r.checked_at, r.message,
           r.figures
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (credential_id bigint, asset text, check_name text,
        status_before text, status text, severity text, checked_at timestamptz, message text, figures jsonb)
    JOIN servicetitan_credentials c ON c.id = r.credential_id
""")


def load(
    connection: Connection,
    *,
    credential_ids: Collection[int] | None = None,
    assets: Collection[str] | None = None,
    checks: Collection[str] | None = None,
    status: Status | None = None,
) -> list[Verdict]:
    """The stored verdicts of these tenants, assets and checks (None: of all), by tenant, asset and check."""
    given = {
        "v.credential_id = ANY(:credential_ids)": credential_ids,
        "v.asset = ANY(:assets)": assets,
        "v.check_name = ANY(:checks)": checks,
    }
    where = [condition for condition, values in given.items() if values is not None]
    bound: dict[str, Any] = {
        name: list(values)
        for name, values in (("credential_ids", credential_ids), ("assets", assets), ("checks", checks))
        if values is not None
    }
    if status is not None:
        where.append(f"v.status = '{status.value}'")
    query = f"{_READ} {'WHERE ' if where else ''}{' AND '.join(where)} ORDER BY t.partition_key, v.asset, v.check_name"
    return [_verdict(row) for row in connection.execute(text(query), bound)]


def save(engine: Engine, found: Sequence[Verdict], *, only_changes: bool) -> list[Verdict]:
    """Compare verdicts with the stored ones, and write them: all, or only what changed or has failed for an hour.

    `found`: with `since` and `checked_at` of this moment, and what is not known of the past left out. Returns them
    completed, in the same order. Nothing is locked while nothing is to be written.
    """
    ids, checks = {one.credential_id for one in found}, {one.check for one in found}
    doing = "compare verdicts of checks with the stored ones"
    with transaction(engine, doing) as connection:
        compared = _compared(found, load(connection, credential_ids=ids, checks=checks))
    if not any(is_due for _, _, is_due in compared) and only_changes:
        return [verdict for verdict, _, _ in compared]
    with transaction(engine, "save verdicts of checks") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        compared = _compared(found, load(connection, credential_ids=ids, checks=checks))
        rows = [_row(verdict) for verdict, _, is_due in compared if is_due or not only_changes]
        connection.execute(_WRITE, {"rows": json.dumps(rows)})
        changes = [
            {**_row(verdict), "status_before": None if before is None else before.status}
            for verdict, before, _ in compared
            if verdict.is_news and (before is not None or verdict.status is Status.FAILED)
        ]
        if changes:
            connection.execute(_WRITE_HISTORY, {"rows": json.dumps(changes)})
    return [verdict for verdict, _, _ in compared]


def forget_unknown(connection: Connection, known: Collection[tuple[str, str]]) -> int:
    """Delete what fails by a check that no longer exists; `known`: the pairs of asset and check that do."""
    statement = text("""
        DELETE FROM check_verdicts v WHERE status = 'failed' AND NOT EXISTS (
            SELECT FROM unnest(CAST(:assets AS text[]), CAST(:checks AS text[])) AS k (asset, check_name)
            WHERE k.asset = v.asset AND k.check_name = v.check_name)
    """)
    assets, checks = [asset for asset, _ in known], [check for _, check in known]
    return connection.execute(statement, {"assets": assets, "checks": checks}).rowcount


def _compared(found: Sequence[Verdict], stored: Sequence[Verdict]) -> list[tuple[Verdict, Verdict | None, bool]]:
    """Each verdict completed, the stored one, and whether it must be written."""
    before_of = {one.key: one for one in stored}
    compared = []
    for one in found:
        before = before_of.get(one.key)
        verdict = after(before, one)
        grows_old = (
            verdict.status is Status.FAILED
            and before is not None
            and verdict.checked_at - before.checked_at >= FAILING_WRITTEN_EVERY
        )
        compared.append((verdict, before, verdict.is_news or grows_old))
    return compared


def after(before: Verdict | None, found: Verdict) -> Verdict:
    """What was found, with what is known from before: since when, accepted causes, an acknowledgement that holds."""
    if before is None:
        return replace(found, is_news=True)
    accepted = before.accepted
    if found.status is Status.FAILED and found.causes and set(found.causes) <= set(accepted):
        message = f"{found.message.rstrip('.')}; all of it is acknowledged."
        found = replace(found, status=Status.PASSED, message=message)
    if found.status is not before.status:
        return replace(found, accepted=accepted, is_news=True)
    is_worse = found.status is Status.FAILED and (
        (found.severity is Severity.ERROR and before.severity is Severity.WARN)
        or not set(found.causes) <= {*before.causes, *accepted}
    )
    found = replace(found, since=before.since, accepted=accepted, is_news=is_worse)
    if is_worse or found.status is not Status.FAILED:
        return found
    return replace(
        found,
        acknowledged_at=before.acknowledged_at,
        acknowledged_by=before.acknowledged_by,
        acknowledged_because=before.acknowledged_because,
        acknowledged_until=before.acknowledged_until,
    )


def _verdict(row: Row[Any]) -> Verdict:
    values = {**row._mapping}  # noqa: SLF001 - SQLAlchemy's public name
    values["check"] = values.pop("check_name")
    values |= {"status": Status(row.status), "severity": Severity(row.severity)}
    values |= {"causes": tuple(row.causes), "accepted": tuple(row.accepted)}
    return Verdict(**values)


def _row(verdict: Verdict) -> dict[str, Any]:
    """As JSON, by column."""
    values = {name: getattr(verdict, "check" if name == "check_name" else name) for name in _COLUMNS}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def acknowledge(connection: Connection, key: Key, by: str, because: str, until: datetime | None) -> bool:
    """Note that a person knows that it fails, and accepts its causes. False: it does not fail, and nothing changed."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    statement = text("""
        UPDATE check_verdicts SET acknowledged_at = clock_timestamp(), acknowledged_by = :by,
            acknowledged_because = :because, acknowledged_until = :until,
            accepted = ARRAY(SELECT DISTINCT unnest(accepted || causes) ORDER BY 1)
        WHERE credential_id = :id AND asset = :asset AND check_name = :check AND status = 'failed'
    """)
    bound = {"id": key.credential_id, "asset": key.asset, "check": key.check}
    done = connection.execute(statement, {**bound, "by": by, "because": because, "until": until})
    return bool(done.rowcount)


def counts(connection: Connection) -> dict[tuple[str, Status], int]:
    """How many tenants and assets have each status, by check."""
    query = text("SELECT check_name, status, count(*) FROM check_verdicts GROUP BY check_name, status")
    return {(check, Status(status)): number for check, status, number in connection.execute(query)}
