"""All checks, in the order in which people read them.

Here: the list. Not here: the rules (rules/), reading a company's own (own).
"""

from st_pipeline.checks.own import own_checks
from st_pipeline.checks.rules import (
    completeness,
    credentials,
    drift,
    freshness,
    money,
    overruns,
    reconciliation,
    references,
    rejected,
    service_quality,
    streams,
    volume,
)
from st_pipeline.checks.spec import ALL_TENANTS, Check
from st_pipeline.settings import Settings

CHECKS: tuple[Check, ...] = (
    *freshness.CHECKS,
    *overruns.CHECKS,
    *credentials.CHECKS,
    *service_quality.CHECKS,
    *completeness.CHECKS,
    *rejected.CHECKS,
    *references.CHECKS,
    *money.CHECKS,
    *streams.CHECKS,
    *volume.CHECKS,
    *drift.CHECKS,
    *reconciliation.CHECKS,
)
BY_NAME = {check.name: check for check in CHECKS}
PAIRS = tuple((asset, check) for check in CHECKS for asset in check.assets)


def all_checks(settings: Settings) -> tuple[Check, ...]:
    """The built-in ones, then a company's own."""
    return (*CHECKS, *own_checks(settings, frozenset({*BY_NAME, ALL_TENANTS})))
