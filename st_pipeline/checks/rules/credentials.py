"""Credentials: ServiceTitan accepts each tenant's, lets it read everything, and their end is not near.

Here: what the stored state of a connection means. Not here: testing it (tenants/diagnosis.py), the setting of the days.
"""

from collections.abc import Iterator
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status

NAME = "credentials"

QUERY = """
    SELECT t.credential_id, t.enabled, t.connection_status, t.connection_message, c.refused_since, c.expires_on,
           c.expires_on - CAST(:now AS date) AS days,
           (SELECT array_agg(s.entity ORDER BY s.entity) FROM sync_cursors s
            WHERE s.credential_id = t.credential_id AND s.last_failed_at IS NOT NULL
                  AND t.connection_message IS NOT NULL) AS failing
    FROM tenants t JOIN servicetitan_credentials c ON c.id = t.credential_id WHERE t.credential_id = ANY(:ids)
"""


def credentials(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant: refused before not allowed to read something before an end that is near."""
    for row in asked.rows(QUERY):
        yield _finding(row, asked.settings.expiry_warning_days)


def _finding(row: Any, warning_days: int) -> Finding:
    ids = row.credential_id, TENANT
    if not row.enabled:
        return Finding(*ids, Status.NOT_CHECKABLE, "It is disabled.")
    problem = _refusal(row) or _limit(row) or _near_end(row, warning_days)
    if problem is not None:
        message, severity, figures = problem
        return Finding(*ids, Status.FAILED, message, figures, severity)
    if row.connection_status == "pending":
        return Finding(*ids, Status.NOT_CHECKABLE, "It is new: ServiceTitan was not asked yet.")
    return Finding(*ids, Status.PASSED, "ServiceTitan accepts them.")


Problem = tuple[str, Severity, dict[str, Any]]


def _refusal(row: Any) -> Problem | None:
    since = None if row.refused_since is None else row.refused_since.isoformat()
    if row.connection_status == "error":
        message = f"Its credentials do not work: {row.connection_message}"
        return message, Severity.ERROR, {"cause": "refused", "refused_since": since}
    if since is not None:
        message = "ServiceTitan refuses it together with other tenants, which looks like an outage."
        return message, Severity.WARN, {"cause": "outage", "refused_since": since}
    return None


def _limit(row: Any) -> Problem | None:
    if row.connection_message is None:
        return None
    figures = {"cause": "not allowed", "entities": {name: {} for name in row.failing or ()}}
    return f"ServiceTitan accepts its credentials, but: {row.connection_message}", Severity.WARN, figures


def _near_end(row: Any, warning_days: int) -> Problem | None:
    if row.days is None or row.days > warning_days:
        return None
    when = "ended" if row.days < 0 else "ends"
    left = f", in {row.days} day{'' if row.days == 1 else 's'}" if row.days > 0 else ""
    figures = {"cause": "end date", "expires_on": str(row.expires_on), "days": row.days}
    return f"Its client secret {when} on {row.expires_on}{left}.", Severity.WARN, figures


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.ERROR,
        description="ServiceTitan accepts the tenant's credentials, lets it read every entity, and the client secret "
        "does not end within ST_PIPELINE_EXPIRY_WARNING_DAYS.",
        advice="`st-pipeline credentials test TENANT` says what is wrong and whom to ask; after a new secret was made "
        "in ServiceTitan, `st-pipeline credentials rotate-secret TENANT`.",
        thresholds=(),
        rule=credentials,
        is_time_driven=True,
    ),
)
