"""All checks, in the order in which people read them.

Here: the list. Not here: the rules (rules/).
"""

from st_pipeline.checks.rules import (
    completeness,
    credentials,
    drift,
    freshness,
    overruns,
    references,
    rejected,
    service_quality,
)
from st_pipeline.checks.spec import Check

CHECKS: tuple[Check, ...] = (
    *freshness.CHECKS,
    *overruns.CHECKS,
    *credentials.CHECKS,
    *service_quality.CHECKS,
    *completeness.CHECKS,
    *rejected.CHECKS,
    *references.CHECKS,
    *drift.CHECKS,
)
BY_NAME = {check.name: check for check in CHECKS}
PAIRS = tuple((asset, check) for check in CHECKS for asset in check.assets)
