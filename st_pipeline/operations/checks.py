"""Checks as people ask about them: which fail, what they are, acknowledging, a tenant's own thresholds.

Here: the questions and changes. Not here: the rules (checks/), printing (cli/).
"""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from st_pipeline.checks.evaluate import evaluate
from st_pipeline.checks.registry import all_checks
from st_pipeline.checks.spec import Check, CheckedTenant, Severity, Status, Verdict
from st_pipeline.checks.thresholds import Thresholds, allowed, named
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import check_history, check_thresholds, check_verdicts
from st_pipeline.postgres.check_thresholds import OwnThreshold
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings
from st_pipeline.tenants.audit import Entry, actor, audited
from st_pipeline.tenants.selection import Selection, check_names
from st_pipeline.tenants.store import all_tenants, find_tenant

TENANTS_AT_ONCE = 20  # one query for all would hold a snapshot for as long as their tables take to read
HISTORY_SHOWN = 20


def chosen_tenants(connection: Connection, selection: Selection) -> list[CheckedTenant]:
    """Those that a selection covers, disabled ones by name. Raises ConfigurationError: a name that no tenant has."""
    tenants = all_tenants(connection)
    check_names(tenants, selection)
    covered = [one for one in tenants if selection.covers(one) and (one.enabled or selection.names_somebody)]
    return [CheckedTenant(one.credential_id, one.partition_key) for one in covered]


def known_check(settings: Settings, name: str) -> Check:
    """The check of a name. Raises ConfigurationError with similar names."""
    checks = {check.name: check for check in all_checks(settings)}
    if name not in checks:
        similar = difflib.get_close_matches(name, checks, 3)
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"take one of {', '.join(checks)}"
        raise ConfigurationError(f"unknown check {name}: {hint}")
    return checks[name]


def listed(
    connection: Connection,
    settings: Settings,
    selection: Selection,
    checks: Collection[str],
    *,
    status: Status | None,
) -> list[Verdict]:
    """The stored verdicts. Raises ConfigurationError: a name that no tenant or check has."""
    names = [known_check(settings, name).name for name in checks]
    ids = [one.credential_id for one in chosen_tenants(connection, selection)]
    return check_verdicts.load(connection, credential_ids=ids, checks=names or None, status=status)


def evaluated(
    engine: Engine, settings: Settings, selection: Selection, checks: Collection[str], now: datetime
) -> Iterator[list[Verdict]]:
    """Evaluate checks now, some tenants at a time. Raises ConfigurationError as `listed` does."""
    names = [known_check(settings, name).name for name in checks] or None
    with transaction(engine, "choose the tenants to check") as connection:
        tenants = chosen_tenants(connection, selection)
        Thresholds.load(connection, settings, all_checks(settings), [])  # a wrong setting is said once, here
    for first in range(0, len(tenants), TENANTS_AT_ONCE):
        yield evaluate(engine, settings, tenants[first : first + TENANTS_AT_ONCE], only=names, now=now)


def needs_somebody(verdict: Verdict) -> bool:
    """Does it fail as an error, and has nobody acknowledged that? What exit codes tell."""
    return verdict.status is Status.FAILED and verdict.severity is Severity.ERROR and not verdict.acknowledged


def acknowledge(
    engine: Engine,
    settings: Settings,
    tenant: str,
    check: str,
    *,
    asset: str | None,
    because: str,
    until: datetime | None,
) -> list[Verdict]:
    """Acknowledge what fails of a tenant's check, on one asset or on all. Returns it as it stands afterwards.

    Causes that are accepted let the check pass at once. Raises ConfigurationError: nothing of it fails.
    """
    name = known_check(settings, check).name
    with transaction(engine, f"acknowledge a check of tenant {tenant}") as connection:
        found = find_tenant(connection, tenant)
    details = {"check": name, "because": because, "until": None if until is None else until.isoformat()}
    entry = Entry("checks.ack", found.partition_key, found.credential_id, {**details})
    with audited(engine, f"acknowledge {name} of tenant {tenant}", entry) as connection:
        stored = check_verdicts.load(connection, credential_ids=[found.credential_id], checks=[name])
        failing = [one for one in stored if one.status is Status.FAILED and asset in (None, one.asset)]
        if not failing:
            on = "" if asset is None else f" on {asset}"
            raise ConfigurationError(
                f"{name} of tenant {found.partition_key}{on} does not fail, so there is nothing to acknowledge: "
                f"`st-pipeline checks list {found.partition_key}` shows what does"
            )
        for one in failing:
            check_verdicts.acknowledge(connection, one.key, actor(), because, until)
        entry.details["assets"] = ", ".join(one.asset for one in failing)
    assets = [one.asset for one in failing]
    if any(one.causes for one in failing):
        tenants = [CheckedTenant(found.credential_id, found.partition_key)]
        evaluate(engine, settings, tenants, assets=assets, only=[name], now=datetime.now(UTC))
    with transaction(engine, f"read the checks of tenant {tenant}") as connection:
        ids = [found.credential_id]
        return check_verdicts.load(connection, credential_ids=ids, checks=[name], assets=assets)


def set_threshold(engine: Engine, settings: Settings, tenant: str, written: str, value: float | None) -> float:
    """Set a tenant's own threshold, or drop it (None). Returns the value that holds from the next evaluation on.

    Raises ConfigurationError: no such threshold or tenant, or a number that it cannot have.
    """
    key = named(written, all_checks(settings))
    if value is not None:
        allowed(key, value)
    with transaction(engine, f"set a threshold of tenant {tenant}") as connection:
        found = find_tenant(connection, tenant)
    details = {"threshold": str(key), "value": value}
    entry = Entry("checks.set", found.partition_key, found.credential_id, {**details})
    with audited(engine, f"set a threshold of tenant {tenant}", entry) as connection:
        if value is None:
            check_thresholds.delete(connection, found.credential_id, *key)
        else:
            check_thresholds.save(connection, OwnThreshold(found.credential_id, *key, value))
        known = Thresholds.load(connection, settings, all_checks(settings), [found.credential_id])
    return known.value(found.credential_id, *key)


def described(connection: Connection, settings: Settings) -> list[dict[str, Any]]:
    """Every check with its thresholds, and how many tenants and assets fail it."""
    number = check_verdicts.counts(connection)
    known = Thresholds.load(connection, settings, all_checks(settings), [])
    return [
        {
            "check": check.name,
            "severity": check.severity.value,
            "assets": list(check.assets),
            "description": check.description,
            "advice": check.advice,
            "every_tick": check.is_time_driven,
            "thresholds": _thresholds(check, known, 0),
            **{status.name.lower(): number.get((check.name, status), 0) for status in Status},
        }
        for check in all_checks(settings)
    ]


def shown(connection: Connection, settings: Settings, name: str, tenant: str | None) -> dict[str, Any]:
    """A check with everything that is known of it, and of a tenant's verdicts on it with their history."""
    check = known_check(settings, name)
    (about,) = [one for one in described(connection, settings) if one["check"] == check.name]
    if tenant is None:
        failing = check_verdicts.load(connection, checks=[check.name], status=Status.FAILED)
        return {**about, "verdicts": [as_json(one) for one in failing]}
    found = find_tenant(connection, tenant)
    known = Thresholds.load(connection, settings, all_checks(settings), [found.credential_id])
    verdicts = check_verdicts.load(connection, credential_ids=[found.credential_id], checks=[check.name])
    changes = check_history.history(connection, found.credential_id, check.name, HISTORY_SHOWN)
    return {
        **about,
        "tenant": found.partition_key,
        "thresholds": _thresholds(check, known, found.credential_id),
        "verdicts": [as_json(one) for one in verdicts],
        "history": [asdict(one) for one in changes],
    }


def _thresholds(check: Check, known: Thresholds, credential_id: int) -> list[dict[str, Any]]:
    """Those of a check: the value for all entities, and what differs by entity."""
    rows = []
    for one in check.thresholds:
        for entity in known.entities_of(credential_id, check.name, one.name):
            value = known.value(credential_id, entity, check.name, one.name)
            name = f"{entity}.{check.name}.{one.name}" if entity else f"{check.name}.{one.name}"
            rows.append({"name": name, "value": value, "default": one.default, "description": one.description})
    return rows


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict for machines."""
    hidden = ("is_news", "accepted")
    values = {name: value for name, value in asdict(verdict).items() if name not in hidden}
    return {**values, "acknowledged": verdict.acknowledged}


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many passed, failed and were not checkable."""
    number = {status: sum(one.status is status for one in verdicts) for status in Status}
    known = sum(one.acknowledged for one in verdicts)
    acknowledged = f" ({known:,} acknowledged)" if known else ""
    return (
        f"{number[Status.FAILED]:,} failed{acknowledged}, {number[Status.PASSED]:,} passed, "
        f"{number[Status.NOT_CHECKABLE]:,} not checkable"
    )
