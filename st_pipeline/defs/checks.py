"""Asset checks: each tenant's verdicts as Dagster shows them, and for each asset how many tenants fail.

Here: the specs, and which evaluations a run yields. Not here: evaluating (checks/), Dagster's preview of checks with
partitions (partitioned_checks).

The verdicts are kept in our tables; Dagster is told of them. A newer materialization takes a partition's check statuses
away, so whatever materializes a partition repeats its verdicts. Column `shown` says what Dagster was told last: a
run that dies in between is made up for by the next tick.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
import structlog
from sqlalchemy import Engine

from st_pipeline.checks.evaluate import after_sync, evaluate
from st_pipeline.checks.registry import all_checks
from st_pipeline.checks.spec import ALL_TENANTS, TENANT, Check, CheckedTenant, Severity, Status, Verdict
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitioned_checks import Materializations, check_spec, evaluation
from st_pipeline.postgres import check_verdicts, shown_verdicts
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.shown_verdicts import AssetFigures
from st_pipeline.settings import Settings

log = structlog.get_logger()

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def known_pairs(settings: Settings) -> dict[tuple[str, str], Check]:
    """Every check by asset and name, also a company's own."""
    return {(asset, check.name): check for check in all_checks(settings) for asset in check.assets}


def check_specs(settings: Settings) -> list[dg.AssetCheckSpec]:
    """One for each asset and check, with a status for each tenant; one for each asset, over all tenants.

    The second kind is what the asset as a whole shows: of the first kind Dagster takes the last tenant's result for it.
    """
    known = known_pairs(settings)
    of_tenants = [
        check_spec(check.name, asset_key(asset), f"{check.description} When it fails: {check.advice}")
        for (asset, _), check in known.items()
    ]
    over_all = "How many tenants fail a check of this asset, and which are worst."
    return of_tenants + [
        dg.AssetCheckSpec(ALL_TENANTS, asset=asset_key(asset), description=over_all)
        for asset in sorted({asset for asset, _ in known})
    ]


@dataclass(slots=True)
class RunChecks:
    """What one run tells of checks. `planned`: those of which Dagster expects a result, as a person selected them."""

    instance: dg.DagsterInstance
    run_id: str
    engine: Engine
    settings: Settings
    planned: frozenset[tuple[str, str]] = frozenset()
    _known: dict[tuple[str, str], Check] = field(init=False)
    _materializations: Materializations = field(init=False)
    _changed_assets: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._known = known_pairs(self.settings)
        self._materializations = Materializations(self.instance, self.run_id)

    def after_sync(
        self,
        tenant: CheckedTenant,
        *,
        materialized: Collection[str],
        changed: Collection[str],
        is_full: bool,
        with_tenant: bool = False,
    ) -> Iterator[Event]:
        """What a tenant's sync leads to, when it has ended.

        `materialized`: the entities and streams that this run has materialized, whose verdicts are repeated. `changed`:
        those that got or lost rows, or failed. `with_tenant`: materialize asset `tenant`, too.
        """
        if changed or is_full or materialized or with_tenant or self.planned:
            found = self.found_after(tenant, changed, is_full=is_full)
            yield from self.show(tenant, materialized, found, with_tenant=with_tenant)

    def found_after(
        self, tenant: CheckedTenant, changed: Collection[str], *, is_full: bool = False
    ) -> list[Verdict]:  # fmt: skip
        """Evaluate what a sync has changed, or everything. Raises nothing; may be called by any thread."""
        if not (changed or is_full):
            return []
        ask = partial(after_sync, self.engine, self.settings, tenant, changed, is_full=is_full, now=datetime.now(UTC))
        return self._evaluated(ask)

    def evaluate(self, tenant: CheckedTenant, *, with_tenant: bool) -> Iterator[Event]:
        """A run of no entity: evaluate what a person selected; with asset `tenant`, all checks."""
        if with_tenant:
            found = self._evaluated(lambda: evaluate(self.engine, self.settings, [tenant], now=datetime.now(UTC)))
        else:
            found = self._evaluate_pairs(tenant, self.planned)
        yield from self.show(tenant, (), found, with_tenant=with_tenant)

    def catch_up(self, tenant: CheckedTenant) -> Iterator[Event]:
        """A tenant's verdicts that Dagster was not told of."""
        yield from self.show(tenant, (), ())

    def summaries(self) -> Iterator[dg.AssetCheckEvaluation]:
        """Once at the end of the run: how many tenants fail, of each asset that it changed."""
        assets = self._changed_assets | {asset for asset, name in self.planned if name == ALL_TENANTS}
        if not assets:
            return
        try:
            with transaction(self.engine, "count the tenants whose checks fail") as connection:
                figures = {one.asset: one for one in shown_verdicts.figures(connection, assets)}
        except Exception as error:  # noqa: BLE001 - as in _evaluated
            _warn(error)
            return
        for asset in sorted(assets):
            yield _summary(asset, figures.get(asset))

    def show(
        self,
        tenant: CheckedTenant,
        materialized: Collection[str],
        found: Collection[Verdict],
        *,
        with_tenant: bool = False,
    ) -> Iterator[Event]:
        """The verdicts on what this run has materialized, those that changed, and those that are planned."""
        assets = {*materialized, *([TENANT] if with_tenant else [])}
        news = {one.key for one in found if one.is_news}
        try:
            verdicts = self._chosen(tenant, assets, news)
        except Exception as error:  # noqa: BLE001 - as in _evaluated
            _warn(error)
            verdicts = []
        if with_tenant:
            yield _of_tenant(tenant, [one for one in verdicts if one.asset == TENANT])
        if not verdicts:
            return
        of_assets = [asset_key(asset) for asset in {one.asset for one in verdicts}]
        latest = self._materializations.latest(tenant.partition_key, of_assets)
        for one in verdicts:
            key = dg.AssetCheckKey(asset_key(one.asset), one.check)
            yield evaluation(
                key,
                one.tenant,
                latest.get(key.asset_key),
                passed=one.status is not Status.FAILED,
                is_error=one.severity is Severity.ERROR,
                description=_description(one),
                metadata=_metadata(one, self._known[one.asset, one.check]),
            )
        self._changed_assets |= {one.asset for one in verdicts}
        with transaction(self.engine, "note which verdicts Dagster was told of") as connection:
            shown_verdicts.mark_shown(connection, verdicts)

    def _chosen(
        self, tenant: CheckedTenant, assets: set[str], news: set[check_verdicts.Key]
    ) -> list[Verdict]:  # fmt: skip
        """The verdicts to show."""
        with transaction(self.engine, f"read the verdicts of tenant {tenant.partition_key}") as connection:
            stored = check_verdicts.load(connection, credential_ids=[tenant.credential_id])
            told = news | set(shown_verdicts.unshown(connection, tenant.credential_id))
        without = (self.planned & self._known.keys()) - {(one.asset, one.check) for one in stored}
        if without:
            stored += self._evaluate_pairs(tenant, without)
        return [
            one
            for one in stored
            if (one.asset, one.check) in self._known
            and (one.asset in assets or one.key in told or (one.asset, one.check) in self.planned)
        ]

    def _evaluate_pairs(self, tenant: CheckedTenant, pairs: Collection[tuple[str, str]]) -> list[Verdict]:
        names = {name for asset, name in pairs if (asset, name) in self._known}
        if not names:
            return []
        assets = {asset for asset, _ in pairs}
        return self._evaluated(
            lambda: evaluate(
                self.engine, self.settings, [tenant], assets=assets, only=names, now=datetime.now(UTC)
            )
        )  # fmt: skip

    @staticmethod
    def _evaluated(ask: Callable[[], list[Verdict]]) -> list[Verdict]:
        """Whatever goes wrong with checks: what was synced is there, and its run has not failed."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - see above
            _warn(error)
            return []


def planned_in(keys: Iterable[dg.AssetCheckKey]) -> frozenset[tuple[str, str]]:
    """Dagster's keys as pairs of asset and check."""
    return frozenset((key.asset_key.path[-1], key.name) for key in keys)


def _warn(error: Exception) -> None:
    # Its text might quote a row.
    log.warning("checks were not evaluated or not shown; the next tick does what is left", error=type(error).__name__)


def _description(verdict: Verdict) -> str:
    return f"Not checkable: {verdict.message}" if verdict.status is Status.NOT_CHECKABLE else verdict.message


def _metadata(verdict: Verdict, check: Check) -> dict[str, dg.MetadataValue]:
    """Its figures, of which Dagster plots the numbers; when it fails, since when and what to do."""
    shown = {name: _value(value) for name, value in verdict.figures.items()}
    if verdict.status is Status.FAILED:
        shown["since"] = dg.MetadataValue.timestamp(verdict.since)
        shown["advice"] = dg.MetadataValue.text(check.advice)
    if verdict.acknowledged:
        because = f": {verdict.acknowledged_because}" if verdict.acknowledged_because else ""
        shown["acknowledged"] = dg.MetadataValue.text(f"by {verdict.acknowledged_by}{because}")
    return shown


def _value(value: Any) -> dg.MetadataValue:
    match value:
        case bool():
            return dg.MetadataValue.bool(value)
        case int():
            return dg.MetadataValue.int(value)
        case float():
            return dg.MetadataValue.float(value)
        case str():
            return dg.MetadataValue.text(value)
        case _:
            return dg.MetadataValue.json(value)


def _of_tenant(tenant: CheckedTenant, verdicts: list[Verdict]) -> dg.AssetMaterialization:
    failed = {one.check: one.message for one in verdicts if one.status is Status.FAILED}
    return dg.AssetMaterialization(
        asset_key(TENANT),
        partition=tenant.partition_key,
        metadata={
            "checks": dg.MetadataValue.int(len(verdicts)),
            "failed": dg.MetadataValue.int(len(failed)),
            "failed_checks": dg.MetadataValue.json(failed),
        },
    )


def _summary(asset: str, figures: AssetFigures | None) -> dg.AssetCheckEvaluation:
    if figures is None:
        figures = AssetFigures(asset, 0, 0, Severity.WARN, (), {})
    says = f"{figures.failing:,} of {figures.tenants:,} tenants fail"
    return evaluation(
        dg.AssetCheckKey(asset_key(asset), ALL_TENANTS),
        None,
        None,
        passed=not figures.failing,
        is_error=figures.severity is Severity.ERROR,
        description=f"{says}: {', '.join(figures.worst)}." if figures.worst else f"{says}.",
        metadata={
            "tenants": dg.MetadataValue.int(figures.tenants),
            "failing": dg.MetadataValue.int(figures.failing),
            "worst": dg.MetadataValue.text(", ".join(figures.worst) or "none"),
            **{f"failing_{check}": dg.MetadataValue.int(failing) for check, failing in figures.by_check.items()},
        },
    )
