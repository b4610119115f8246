"""Which tenants a sync takes: those that a person named, or those that are due.

Here: the choice and its reason for each tenant. Not here: when a tenant is due (schedule.py), claiming it (postgres/),
which of its entities a poll skips (sync/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import poll_claims, switches, tenant_schedules
from st_pipeline.postgres.poll_claims import Poll
from st_pipeline.postgres.switches import Switches
from st_pipeline.postgres.tenant_schedules import DEFAULT, TenantSchedule
from st_pipeline.protocol import Mode
from st_pipeline.tenants.companies import unknown
from st_pipeline.tenants.store import Tenant, all_tenants

# What every poll reads. Polls skip lists without a feed most of the time, so their last poll would say little.
FEEDS = tuple(spec.name for spec in ENTITIES.values() if spec.feed_path is not None)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person named: the union of tenants, companies (slugs), Intacct ids, credential ids; of one environment."""

    tenants: tuple[str, ...] = ()
    companies: tuple[str, ...] = ()
    intacct_ids: tuple[str, ...] = ()
    credential_ids: tuple[int, ...] = ()
    environment: str | None = None

    @property
    def names_somebody(self) -> bool:
        """Does it name tenants? Otherwise it is about all, of which those that are due are taken."""
        return bool(self.tenants or self.companies or self.intacct_ids or self.credential_ids)

    def covers(self, tenant: Tenant) -> bool:
        """Is the tenant part of the selection?"""
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
    """A tenant, whether the sync takes it, and why or why not."""

    tenant: Tenant
    taken: bool
    reason: str


def choose(
    connection: Connection, selection: Selection, mode: Mode = Mode.INCREMENTAL, now: datetime | None = None
) -> list[Choice]:
    """The tenants that a selection covers, by partition key.

    Raises ConfigurationError: a name that no tenant has, or names none of which is in the environment.
    """
    tenants = all_tenants(connection)
    check_names(tenants, selection)
    covered = [tenant for tenant in tenants if selection.covers(tenant)]
    if selection.names_somebody:
        if not covered:
            raise ConfigurationError(
                f"none of the named tenants is in environment {selection.environment}: `st-pipeline credentials list` "
                "shows each tenant's"
            )
        return [_named(tenant) for tenant in covered]
    schedules, polls = tenant_schedules.load_all(connection), poll_claims.load_all(connection)
    off = switches.load(connection)
    now = now or datetime.now(UTC)
    choices = []
    for tenant in covered:
        schedule = schedules.get(tenant.credential_id, DEFAULT)
        skipped = why_skipped(tenant, schedule, off, polls.get(tenant.credential_id), now, mode)
        choices.append(Choice(tenant, skipped is None, skipped or _due(tenant, schedule, mode)))
    return choices


def check_names(tenants: Sequence[Tenant], selection: Selection) -> None:
    """Raise ConfigurationError for the first name that no tenant has, with similar names."""
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
        return f"due: polled every {schedule.poll_minutes} minute{'s' if schedule.poll_minutes > 1 else ''}"
    return "due"


def why_skipped(
    tenant: Tenant, schedule: TenantSchedule, off: Switches, poll: Poll | None, now: datetime, mode: Mode
) -> str | None:
    """Why schedules skip a tenant; None when they do not."""
    switched_off = off.why_off(tenant.company, tenant.environment)
    if not tenant.enabled or switched_off:
        return switched_off or "disabled"
    if tenant.is_suspended(now):
        until = "" if tenant.retry_at is None else f"; tried again from {tenant.retry_at:%Y-%m-%d %H:%M} UTC"
        return f"suspended: ServiceTitan refuses its credentials{until}"
    if schedule.paused_at is not None:
        return "paused" + (f": {schedule.paused_because}" if schedule.paused_because else "")
    if mode is Mode.FULL and schedule.nightly_full is False:
        return "its schedule has no nightly full sync"
    return _why_not_due(poll, now) if mode is Mode.INCREMENTAL and poll is not None else None


def _why_not_due(poll: Poll, now: datetime) -> str | None:
    if poll.due_at > now:
        return f"not due before {poll.due_at:%Y-%m-%d %H:%M} UTC"
    return "being polled" if poll.is_claimed(now) else None
