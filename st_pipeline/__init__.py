"""st-pipeline keeps the ServiceTitan data of many companies in Postgres: complete, correct, minutes old.

Here: the names a program imports to run a sync without Dagster, loaded on first use. Not here: any work at import.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st_pipeline.sync.configuration import SyncConfiguration, SyncResult
    from st_pipeline.sync.functions import (
        get_last_sync_status,
        synchronize_customers,
        synchronize_data,
        synchronize_invoices,
    )
    from st_pipeline.tenants.diagnosis import test_credentials

_HOME = {
    "SyncConfiguration": "sync.configuration",
    "SyncResult": "sync.configuration",
    "get_last_sync_status": "sync.functions",
    "synchronize_customers": "sync.functions",
    "synchronize_data": "sync.functions",
    "synchronize_invoices": "sync.functions",
    "test_credentials": "tenants.diagnosis",
}
__all__ = [
    "SyncConfiguration",
    "SyncResult",
    "get_last_sync_status",
    "synchronize_customers",
    "synchronize_data",
    "synchronize_invoices",
    "test_credentials",
]


def __getattr__(name: str) -> Any:
    """Import the engine (SQLAlchemy, pydantic, httpx: 0.8 CPU seconds) on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'st_pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(f"st_pipeline.{_HOME[name]}"), name)
