"""Dagster's storage in Postgres, with connections that stay open.

Here: the class that dagster.yaml names. Not here: the tables (storage), which database it is (postgres/).

dagster-postgres opens a connection for every statement, in every process but the web server: a process of the server, a
handshake and a password check each time. The daemon asks several times a second, and a run writes an event for each
entity that changed. A connection is tested before each use, so that a restart of Postgres costs nobody anything.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Engine

# One stays open for each of the three storages of a process; more exist only while threads ask at the same time.
OPEN_CONNECTIONS = 1
MOST_MORE_CONNECTIONS = 20
LONGEST_LIFE_SECONDS = 3600


class _HasEngine(Protocol):
    _engine: Engine
    postgres_url: str


class PooledPostgresStorage(DagsterPostgresStorage):
    """As `DagsterPostgresStorage`, which it takes its settings from."""

    def __init__(self, postgres_url: str, token_provider: Any = None, **options: Any) -> None:
        super().__init__(postgres_url, token_provider=token_provider, **options)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            _keep_connections(storage, token_provider)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Called by Dagster with what dagster.yaml says."""
        return cls(
            pg_url_from_config(config_value),
            token_provider=get_token_provider_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


def _keep_connections(storage: _HasEngine, token_provider: Any) -> None:
    """Dagster does this for the web server alone (`optimize_for_webserver`), with a time limit for statements."""
    storage._engine = create_pg_engine(  # noqa: SLF001 - it has no public way
        storage.postgres_url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=OPEN_CONNECTIONS,
        max_overflow=MOST_MORE_CONNECTIONS,
        pool_recycle=LONGEST_LIFE_SECONDS,
        pool_pre_ping=True,
    )
