"""Settings of what tells whether the data can be trusted.

Here: thresholds of checks, where alerts go, when tenants are reconciled. Not here: a tenant's own thresholds (checks/).
"""

from pydantic import BaseModel, Field


class Checks(BaseModel):
    """Checks."""

    checks_pause_minutes: float = Field(
        default=60,
        ge=0,
        description="A poll that found changes evaluates a check that reads whole tables (completeness, references, "
        "money, streams, volume) again when its last evaluation is this old; at once while it fails. 200,000 invoices "
        "take 3 CPU seconds.",
    )


class Alerts(BaseModel):
    """Alerts."""


class Reconciliation(BaseModel):
    """Reconciliation."""
