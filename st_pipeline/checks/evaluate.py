"""Run checks, compare what they find with the stored verdicts, and save it.

Here: which checks run after what, and what happens when one cannot be evaluated. Not here: the rules (rules/), what is
news (postgres/check_verdicts.py), Dagster's asset checks (defs/).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, text

from st_pipeline.checks.registry import all_checks
from st_pipeline.checks.spec import AWAITS, Check, CheckedTenant, CheckInput, Finding, Rule, Status, Verdict
from st_pipeline.checks.thresholds import Thresholds
from st_pipeline.errors import ConfigurationError, DatabaseUnavailable, PipelineError
from st_pipeline.postgres import check_verdicts
from st_pipeline.postgres.database import transaction
from st_pipeline.settings import Settings

log = structlog.get_logger()

NOTHING_TO_CHECK = "Nothing to check yet."


def evaluate(
    engine: Engine,
    settings: Settings,
    tenants: Sequence[CheckedTenant],
    *,
    assets: Collection[str] | None = None,
    only: Collection[str] | None = None,
    now: datetime,
) -> list[Verdict]:
    """Evaluate the checks of these assets (None: of all) and names, save the verdicts and return all of them.

    A rule that fails is a verdict of its own. Raises DatabaseUnavailable.
    """
    wanted = [
        (check, frozenset(check.assets) if assets is None else frozenset(check.assets) & frozenset(assets))
        for check in all_checks(settings)
        if only is None or check.name in only
    ]
    return _evaluated(engine, settings, tenants, wanted, now, only_changes=False)


def after_sync(
    engine: Engine,
    settings: Settings,
    tenant: CheckedTenant,
    entities_changed: Collection[str],
    *,
    is_full: bool,
    now: datetime,
) -> list[Verdict]:
    """What a run calls when a tenant's sync has ended: all checks after a full sync, else those that are due.

    `entities_changed`: entities and streams that got or lost rows, or failed. Returns the verdicts that were evaluated.
    """
    changed = frozenset(entities_changed)
    if is_full:
        wanted = [(check, frozenset(check.assets)) for check in all_checks(settings)]
    else:
        wanted = list(_due(engine, settings, tenant, changed, now)) if changed else []
    return _evaluated(engine, settings, [tenant], wanted, now, only_changes=False)


def _due(
    engine: Engine, settings: Settings, tenant: CheckedTenant, changed: frozenset[str], now: datetime
) -> Iterator[tuple[Check, frozenset[str]]]:
    """The checks about what changed, and what failed or is to be confirmed.

    What reads whole tables rests meanwhile, and the next tick asks the rest.
    """
    with transaction(engine, f"read the verdicts on tenant {tenant.partition_key}") as connection:
        stored = {one.key: one for one in check_verdicts.load(connection, credential_ids=[tenant.credential_id])}
    since = now - timedelta(minutes=settings.checks_pause_minutes)
    for check in all_checks(settings):
        before = {
            asset: stored.get(check_verdicts.Key(tenant.credential_id, asset, check.name)) for asset in check.assets
        }
        known = {asset: one for asset, one in before.items() if one is not None}
        unsettled = {asset for asset, one in known.items() if one.status is Status.FAILED or AWAITS in one.figures}
        resting = {asset for asset, one in known.items() if check.reads_all_rows and one.checked_at > since}
        about = frozenset() if check.is_asked_with_every_tick else check.is_about(changed)
        yield check, (about - resting) | unsettled


def time_driven(engine: Engine, settings: Settings, now: datetime) -> list[Verdict]:
    """The checks that time alone can make fail, for all tenants, one query each; only changes are written.

    Called with every tick; also forgets what fails by a check that was removed. Returns all their verdicts.
    """
    checks = all_checks(settings)
    with transaction(engine, "list the tenants to check") as connection:
        check_verdicts.forget_unknown(connection, [(asset, check.name) for check in checks for asset in check.assets])
        tenants = every_tenant(connection)
    wanted = [(check, frozenset(check.assets)) for check in checks if check.is_time_driven]
    return _evaluated(engine, settings, tenants, wanted, now, only_changes=True)


def current(connection: Connection, tenant: CheckedTenant, assets: Collection[str]) -> list[Verdict]:
    """The stored verdicts of a tenant on these assets: what a materialization repeats."""
    return check_verdicts.load(connection, credential_ids=[tenant.credential_id], assets=assets)


def every_tenant(connection: Connection) -> list[CheckedTenant]:
    """All tenants, enabled or not, by partition key."""
    rows = connection.execute(text("SELECT credential_id, partition_key FROM tenants ORDER BY partition_key"))
    return [CheckedTenant(*row) for row in rows]


def _evaluated(
    engine: Engine,
    settings: Settings,
    tenants: Sequence[CheckedTenant],
    wanted: Sequence[tuple[Check, frozenset[str]]],
    now: datetime,
    *,
    only_changes: bool,
) -> list[Verdict]:
    wanted = [(check, assets) for check, assets in wanted if assets]
    if not tenants or not wanted:
        return []
    with transaction(engine, "read the thresholds of checks") as connection:
        try:
            thresholds = Thresholds.load(
                connection, settings, all_checks(settings), {one.credential_id for one in tenants}
            )
        except ConfigurationError as error:
            # No check passes by a threshold that nobody meant.
            wanted = [(replace(check, rule=_raising(error), at_tick=None), assets) for check, assets in wanted]
            thresholds = Thresholds({})
    found: list[Verdict] = []
    for check, assets in wanted:
        asked = CheckInput(engine, settings, tenants, assets, now, thresholds)
        if only_changes and check.at_tick is not None:
            worth_it = frozenset(check.at_tick(asked))
            asked = replace(asked, tenants=[tenant for tenant in tenants if tenant.credential_id in worth_it])
        found += _verdicts(check, asked)
    return check_verdicts.save(engine, found, only_changes=only_changes)


def _verdicts(check: Check, asked: CheckInput) -> Iterator[Verdict]:
    """What the check finds, not yet compared with what is stored."""
    name_of = {tenant.credential_id: tenant.partition_key for tenant in asked.tenants}
    for finding in findings(check, asked) if name_of else ():
        yield Verdict(
            credential_id=finding.credential_id,
            tenant=name_of[finding.credential_id],
            asset=finding.asset,
            check=check.name,
            status=finding.status,
            severity=finding.severity or check.severity,
            since=asked.now,
            checked_at=asked.now,
            message=finding.message,
            figures=finding.figures,
            causes=tuple(finding.causes),
        )


def _raising(error: ConfigurationError) -> Rule:
    def rule(_: CheckInput) -> Iterator[Finding]:
        raise error

    return rule


def findings(check: Check, asked: CheckInput) -> Iterator[Finding]:
    """One for each tenant and asset that was asked about, whatever the rule does. Raises DatabaseUnavailable."""
    try:
        found = {(one.credential_id, one.asset): one for one in check.rule(asked)}
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a rule raises must not fail a sync
        # Its text might quote a row; those of our own errors never do.
        why = str(error) if isinstance(error, PipelineError) else type(error).__name__
        log.error("a check could not be evaluated", check=check.name, error=why)  # noqa: TRY400 - no traceback: see above
        found, status, message = {}, Status.FAILED, f"It could not be evaluated: {why}"
    else:
        status, message = Status.NOT_CHECKABLE, NOTHING_TO_CHECK
    for tenant in asked.tenants:
        for asset in sorted(asked.assets):
            key = tenant.credential_id, asset
            yield found.get(key) or Finding(*key, status, message)
