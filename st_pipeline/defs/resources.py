"""The database and ServiceTitan's settings as Dagster resources.

Here: what a person may override in the launchpad. Not here: behaviour or state: a resource is frozen and each process
has its own copy. Nothing is contacted when definitions load.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.postgres import run_sessions
from st_pipeline.postgres.database import database_errors, main_engine, transaction
from st_pipeline.postgres.schema_version import check_current
from st_pipeline.settings import Settings, load_settings
from st_pipeline.tenants import keyring_holders


class Postgres(dg.ConfigurableResource[None]):
    """Our database: DATABASE_URL, or the embedded server."""

    @contextmanager
    def engine(self, run_id: str) -> Iterator[Engine]:
        """An engine for the run. Raises ConfigurationError when the database is not at this code's version."""
        settings = load_settings()
        with main_engine(settings, threads=settings.poll_threads) as engine:
            check_current(engine)
            with database_errors("begin the run"):
                run_sessions.hold_run_lock(engine, uuid.UUID(run_id))
            with transaction(engine, "note the keys of the run") as connection:
                keyring_holders.note(connection, settings, uuid.UUID(run_id))
            yield engine


class ServiceTitan(dg.ConfigurableResource[None]):
    """How ServiceTitan is asked. Empty values: as in the settings (docs/settings.md)."""

    rate_limit: str = ""
    request_timeout_seconds: float | None = None
    prefetch_pages: int | None = None

    def settings(self) -> Settings:
        """The settings with this resource's overrides. Raises ConfigurationError: a value is not valid."""
        overrides = {
            "rate_limit": self.rate_limit or None,
            "request_timeout_seconds": self.request_timeout_seconds,
            "prefetch_pages": self.prefetch_pages,
        }
        return load_settings(**{name: value for name, value in overrides.items() if value is not None})
