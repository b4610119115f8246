"""Which tenants a sync takes: those a person named, or what is due.

Here: the choice and the reason for it, tenant by tenant; what a tenant's own schedule means; whose turn comes first.
Not here: when schedules tick (defs/schedules.py), what a poll leaves out of a tenant (polls.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import tenant_schedules
from st_pipeline.postgres.tenant_schedules import DEFAULT, TenantSchedule
from st_pipeline.protocol import Mode
from st_pipeline.tenants.companies import unknown
from st_pipeline.tenants.store import Tenant, all_tenants

# What every poll reads. Lists without a feed rest in between, and would make a tenant look neglected.
FEEDS = tuple(spec.name for spec in ENTITIES.values() if spec.feed_path is not None)

NEVER_YET = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person said: the union of tenants, companies (slugs), Intacct ids, credential ids, of one environment."""

    tenants: tuple[str, ...] = ()
    companies: tuple[str, ...] = ()
    intacct_ids: tuple[str, ...] = ()
    credential_ids: tuple[int, ...] = ()
    environment: str | None = None

    @property
    def names_somebody(self) -> bool:
        """Is it about certain tenants? Otherwise about all, of which those are taken that are due."""
        return bool(self.tenants or self.companies or self.intacct_ids or self.credential_ids)

    def covers(self, tenant: Tenant) -> bool:
        """Is the tenant meant?"""
        if self.environment is not None and tenant.environment != self.environment:
            return False
        return not self.names_somebody or (
            tenant.partition_key in self.tenants
            or tenant.company in self.companies
            or tenant.intacct_id in self.intacct_ids
            or tenant.credential_id in self.credential_ids
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A tenant, whether it is taken, and why or why not."""

    tenant: Tenant
    taken: bool
    reason: str


def choose(
    connection: Connection, selection: Selection, mode: Mode = Mode.INCREMENTAL, now: datetime | None = None
) -> list[Choice]:
    """The tenants a selection covers, by partition key.

    Raises ConfigurationError: a name that nobody has, or names and an environment that have no tenant in common.
    """
    tenants = all_tenants(connection)
    check_names(tenants, selection)
    covered = [tenant for tenant in tenants if selection.covers(tenant)]
    if selection.names_somebody:
        if not covered:
            raise ConfigurationError(f"none of the tenants named is in environment {selection.environment}")
        return [_named(tenant) for tenant in covered]
    schedules, polls = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    now = now or datetime.now(UTC)
    choices = []
    for tenant in covered:
        schedule = schedules.get(tenant.credential_id, DEFAULT)
        left = why_skipped(tenant, schedule, polls.get(tenant.credential_id), now, mode)
        choices.append(Choice(tenant, left is None, left or _due(tenant, schedule, mode)))
    return choices


def check_names(tenants: Sequence[Tenant], selection: Selection) -> None:
    """Raises ConfigurationError that names the first thing nobody has, and the nearest that somebody has."""
    wanted = {
        "tenant": (selection.tenants, {t.partition_key for t in tenants}, "credentials"),
        "company": (selection.companies, {t.company for t in tenants}, "credentials"),
        "Intacct id": (selection.intacct_ids, {t.intacct_id for t in tenants if t.intacct_id}, "companies"),
        "credential id": (
            tuple(map(str, selection.credential_ids)), {str(t.credential_id) for t in tenants}, "credentials"
        ),
    }  # fmt: skip
    for what, (names, known, listed_by) in wanted.items():
        for name in names:
            if name not in known:
                raise ConfigurationError(unknown(what, name, sorted(known), listed_by))


def _named(tenant: Tenant) -> Choice:
    if not tenant.enabled:
        return Choice(tenant, taken=False, reason="disabled")
    return Choice(tenant, taken=True, reason="named")


def _due(tenant: Tenant, schedule: TenantSchedule, mode: Mode) -> str:
    if tenant.last_sync_at is None:
        return "due: never synced"
    if mode is Mode.INCREMENTAL and schedule.poll_minutes is not None:
        return f"due: polled every {schedule.poll_minutes} minutes"
    return "due"


def why_skipped(
    tenant: Tenant, schedule: TenantSchedule, last_poll: datetime | None, now: datetime, mode: Mode
) -> str | None:
    """Why scheduled work leaves a tenant alone; None: it does not."""
    if not tenant.enabled:
        return "disabled"
    if tenant.is_suspended(now):
        until = "" if tenant.retry_at is None else f"; tried again from {tenant.retry_at:%Y-%m-%d %H:%M} UTC"
        return f"suspended: ServiceTitan refuses its credentials{until}"
    if schedule.paused_at is not None:
        return "paused" + (f": {schedule.paused_because}" if schedule.paused_because else "")
    if mode is Mode.FULL and schedule.nightly_full is False:
        return "its schedule has no full syncs"
    if mode is Mode.INCREMENTAL:
        due_from = next_poll(schedule.poll_minutes, last_poll)
        if due_from is not None and due_from > now:
            return f"not due before {due_from:%Y-%m-%d %H:%M} UTC"
    return None


def next_poll(poll_minutes: int | None, last_poll: datetime | None) -> datetime | None:
    """From when a tenant with an interval of its own is looked at again; None: with any tick.

    Once in every interval, counted from midnight UTC: then neither a run's length nor a late tick makes it drift.
    """
    if poll_minutes is None or last_poll is None:
        return None
    interval = timedelta(minutes=poll_minutes)
    last_poll = last_poll.astimezone(UTC)
    midnight = last_poll.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((last_poll - midnight) // interval + 1) * interval


def pollable(connection: Connection, now: datetime) -> list[Tenant]:
    """The tenants a tick polls: read in full once, and nothing speaks against it."""
    schedules, polls = tenant_schedules.load_all(connection), tenant_schedules.last_polls(connection, FEEDS)
    return [
        tenant
        for tenant in all_tenants(connection)
        if tenant.last_sync_at is not None
        and why_skipped(
            tenant,
            schedules.get(tenant.credential_id, DEFAULT),
            polls.get(tenant.credential_id),
            now,
            Mode.INCREMENTAL,
        )
        is None
    ]


def longest_waiting_first(connection: Connection, tenants: Sequence[str]) -> list[str]:
    """Partition keys in the order of their turns: a run may end before its last tenant, and the next begins with it."""
    turns = tenant_schedules.last_turns(connection, tenants)
    return sorted(tenants, key=lambda tenant: turns.get(tenant, NEVER_YET))


def skipped_by_nightly_full_sync(connection: Connection) -> set[str]:
    """Partition keys that the nightly schedule does not read in full."""
    schedules = tenant_schedules.load_all(connection)
    return {
        tenant.partition_key
        for tenant in all_tenants(connection)
        if not (tenant.enabled and schedules.get(tenant.credential_id, DEFAULT).is_read_nightly)
    }
