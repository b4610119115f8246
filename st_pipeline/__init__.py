"""st-pipeline keeps the ServiceTitan data of many companies in Postgres: complete, correct, minutes old.

Here: the names a program imports to run a sync without Dagster, loaded on first use. Not here: any work at import.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st_pipeline.errors import (
        AccessRefused,
        AddressUnknown,
        AuthError,
        ConfigurationError,
        CursorRejected,
        DagsterSilent,
        DatabaseFull,
        DatabaseRefused,
        DatabaseUnavailable,
        DataMappingError,
        DeletionRefused,
        InvalidApiResponseFormat,
        InvalidCredentials,
        LeaseLost,
        NotTried,
        OAuthHandshakeFailed,
        OutOfTime,
        PermanentApiError,
        PipelineError,
        RateLimitExceeded,
        ScopeMissing,
        ServiceUnavailable,
        SyncStopped,
        TenantBusy,
        TokenRefreshFailed,
        TransientApiError,
        UnclearRefusal,
    )
    from st_pipeline.settings import Settings, load_settings
    from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult
    from st_pipeline.sync.functions import (
        get_last_sync_status,
        synchronize_customers,
        synchronize_data,
        synchronize_invoices,
    )
    from st_pipeline.tenants.diagnosis import test_credentials

__all__ = [
    "AccessRefused",
    "AddressUnknown",
    "AuthError",
    "ConfigurationError",
    "CursorRejected",
    "DagsterSilent",
    "DataMappingError",
    "DatabaseFull",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "DeletionRefused",
    "EntityOutcome",
    "InvalidApiResponseFormat",
    "InvalidCredentials",
    "LeaseLost",
    "NotTried",
    "OAuthHandshakeFailed",
    "OutOfTime",
    "PermanentApiError",
    "PipelineError",
    "RateLimitExceeded",
    "ScopeMissing",
    "ServiceUnavailable",
    "Settings",
    "SyncConfiguration",
    "SyncResult",
    "SyncStopped",
    "TenantBusy",
    "TokenRefreshFailed",
    "TransientApiError",
    "UnclearRefusal",
    "get_last_sync_status",
    "load_settings",
    "synchronize_customers",
    "synchronize_data",
    "synchronize_invoices",
    "test_credentials",
]
_HOME = {
    "EntityOutcome": "sync.configuration",
    "Settings": "settings",
    "SyncConfiguration": "sync.configuration",
    "SyncResult": "sync.configuration",
    "get_last_sync_status": "sync.functions",
    "load_settings": "settings",
    "synchronize_customers": "sync.functions",
    "synchronize_data": "sync.functions",
    "synchronize_invoices": "sync.functions",
    "test_credentials": "tenants.diagnosis",
}


def __getattr__(name: str) -> Any:
    """Import a name's module on first use: the engine (SQLAlchemy, pydantic, httpx) takes 0.8 CPU seconds.

    What has no other home is an error.
    """
    if name not in __all__:
        raise AttributeError(f"module 'st_pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(f"st_pipeline.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """The names, also those that are not loaded yet."""
    return sorted({*globals(), *__all__})
