"""Settings of what tells whether the data can be trusted.

Here: thresholds of checks, where alerts go, when tenants are reconciled. Not here: a tenant's own thresholds (checks/).
"""

from pydantic import BaseModel


class Checks(BaseModel):
    """Checks."""


class Alerts(BaseModel):
    """Alerts."""


class Reconciliation(BaseModel):
    """Reconciliation."""
