"""How each tenant is doing, the worst first: what is wrong, since when, and what to do.

Here: putting the facts of all tenants together, in a few queries whatever their number. Not here: single syncs
(history.py), deciding whether a check fails (checks/), showing it (cli/).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.operations.failed_syncs import AUTH_ERRORS
from st_pipeline.postgres import check_verdicts, poll_claims, switches, tenant_schedules
from st_pipeline.postgres.check_verdicts import Severity, Status, Verdict
from st_pipeline.postgres.poll_claims import Poll
from st_pipeline.protocol import Mode
from st_pipeline.sync.closing import some_of
from st_pipeline.tenants.selection import why_skipped
from st_pipeline.tenants.store import Tenant

# A poll begins within a minute or two of its time; what waits longer waits for something.
LATE_AFTER = timedelta(minutes=10)
FAILING = """
    SELECT credential_id, array_agg(entity ORDER BY failing_since, entity) AS entities,
           min(failing_since) AS since, failure, failure_kind
    FROM sync_cursors WHERE failure_kind IS NOT NULL AND failure_kind <> 'NotTried'
    GROUP BY credential_id, failure_kind, failure ORDER BY credential_id, min(failing_since)
"""
REJECTS = "SELECT credential_id, count(*) FROM sync_rejects WHERE dismissed_at IS NULL GROUP BY credential_id"
# What the check of completeness has counted last: counting all tables would take seconds.
ROWS = """
    SELECT credential_id, sum((figures ->> 'live')::bigint)::bigint FROM check_verdicts
    WHERE check_name = 'completeness' AND figures ? 'live' GROUP BY credential_id
"""


class State(IntEnum):
    """How a tenant is, the worst first."""

    REFUSED = 0
    FAILING = 1
    LATE = 2
    CHECK_FAILS = 3
    NEVER_SYNCED = 4
    NOT_SYNCED = 5  # because a person said so
    WELL = 6

    @property
    def word(self) -> str:
        """For people and JSON."""
        return {State.CHECK_FAILS: "check fails", State.NOT_SYNCED: "not synced"}.get(
            self, self.name.lower().replace("_", " ")
        )


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong. `affects`: the entities, for people. `to_do`: a command, where one helps."""

    what: str
    since: datetime | None = None
    affects: str = ""
    to_do: str = ""


@dataclass(slots=True)
class TenantStatus:
    """A tenant's line. `late_seconds`: how long its poll has been due. `rows`: None until they were counted."""

    tenant: str
    state: State = State.WELL
    since: datetime | None = None
    polled_at: datetime | None = None
    late_seconds: float = 0.0
    rows: int | None = None
    rejects: int = 0
    causes: list[Cause] = field(default_factory=list)

    def add(self, state: State, cause: Cause) -> None:
        """Something is wrong; the worst decides the state, and since when."""
        self.causes.append(cause)
        if state < self.state:
            self.state, self.since = state, cause.since

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        causes = [{name: getattr(cause, name) for name in Cause.__slots__} for cause in self.causes]
        told = {name: getattr(self, name) for name in ("tenant", "since", "polled_at", "rows", "rejects")}
        return {**told, "state": self.state.word, "late_seconds": round(self.late_seconds), "causes": causes}


def read_tenants(connection: Connection, tenants: Sequence[Tenant], now: datetime) -> list[TenantStatus]:
    """A line for each tenant, the worst first; of the same state the one that has been in it longest."""
    schedules, polls = tenant_schedules.load_all(connection), poll_claims.load_all(connection)
    off = switches.load(connection)
    rejects = _numbers(connection, REJECTS)
    rows = _numbers(connection, ROWS)
    failing: dict[int, list[Any]] = {}
    for row in connection.execute(text(FAILING)):
        failing.setdefault(row.credential_id, []).append(row)
    verdicts: dict[int, list[Verdict]] = {}
    for verdict in check_verdicts.load(connection, status=Status.FAILED):
        verdicts.setdefault(verdict.credential_id, []).append(verdict)
    found = []
    for tenant in tenants:
        key, schedule = tenant.credential_id, schedules.get(tenant.credential_id, tenant_schedules.DEFAULT)
        poll = polls.get(key)
        line = TenantStatus(tenant.partition_key, rows=rows.get(key), rejects=rejects.get(key, 0))
        line.polled_at = tenant.last_sync_at if poll is None or poll.polled_at is None else poll.polled_at
        skipped = why_skipped(tenant, schedule, off, None, now, Mode.INCREMENTAL)
        _judge(line, tenant, skipped, poll, now)
        if not is_off(tenant, skipped):
            for row in failing.get(key, ()) if line.state is not State.REFUSED else ():
                to_do = _after_failure(tenant, row.failure_kind)
                line.add(State.FAILING, Cause(row.failure, row.since, some_of(row.entities), to_do))
            for cause in _failing_checks(verdicts.get(key, ()), line):
                line.add(State.CHECK_FAILS, cause)
        found.append(line)
    return sorted(found, key=lambda line: (line.state, line.since or now, line.tenant))


def _numbers(connection: Connection, query: str) -> dict[int, int]:
    return {credential_id: number for credential_id, number in connection.execute(text(query))}  # noqa: C416 - rows


def is_off(tenant: Tenant, skipped: str | None) -> bool:
    """Is it skipped because a person said so?"""
    return skipped is not None and tenant.connection_status != "error"


def _judge(line: TenantStatus, tenant: Tenant, skipped: str | None, poll: Poll | None, now: datetime) -> None:
    """The tenant as a whole: refused, off, never synced, late."""
    if is_off(tenant, skipped):
        line.add(State.NOT_SYNCED, Cause(str(skipped), to_do=_back(line.tenant, str(skipped))))
    elif tenant.connection_status == "error" or tenant.refused_since is not None:
        message = tenant.connection_message or "ServiceTitan refuses its credentials"
        line.add(State.REFUSED, Cause(message, tenant.refused_since or tenant.last_tested_at, "everything",
                                      f"st-pipeline credentials test {line.tenant}"))  # fmt: skip
    elif tenant.last_sync_at is None:
        line.add(State.NEVER_SYNCED, Cause("waits for its first sync", to_do=f"st-pipeline sync {line.tenant}"))
    elif poll is not None and now - poll.due_at > LATE_AFTER and not poll.is_claimed(now):
        line.late_seconds = (now - poll.due_at).total_seconds()
        line.add(State.LATE, Cause("its poll is due and nobody takes it", poll.due_at, "everything",
                                   "st-pipeline doctor"))  # fmt: skip


def _after_failure(tenant: Tenant, kind: str) -> str:
    """The command that tells more of a failure."""
    if kind in AUTH_ERRORS:
        return f"st-pipeline credentials test {tenant.partition_key}"
    return f"st-pipeline sync-status -c {tenant.company} --failed-only"


def _back(tenant: str, skipped: str) -> str:
    """The command that undoes what a person did."""
    word = skipped.partition(":")[0]
    return {
        "paused": f"st-pipeline tenants resume {tenant}",
        "disabled": f"st-pipeline credentials enable {tenant}",
    }.get(word, "st-pipeline switch list")


def _failing_checks(verdicts: Sequence[Verdict], line: TenantStatus) -> Iterator[Cause]:
    """The failing checks that nobody has acknowledged, errors first; none that says again what the line says."""
    said: Mapping[str, bool] = {
        "credentials": line.state in (State.REFUSED, State.FAILING),
        "freshness": line.state in (State.REFUSED, State.FAILING, State.LATE),
    }
    open_ones = [one for one in verdicts if not one.acknowledged and not said.get(one.check, False)]
    for one in sorted(open_ones, key=lambda one: (one.severity is not Severity.ERROR, one.since)):
        affects = "" if one.asset == "tenant" else one.asset
        yield Cause(f"{one.check}: {one.message}", one.since, affects, f"st-pipeline checks show {line.tenant}")
