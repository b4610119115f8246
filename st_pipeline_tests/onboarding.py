"""How every test takes a simulated company on, and companies whose first sync is done already.

Here: `onboard`, and templates to copy. Not here: what a test asks of a company (acme.py, explained.py and others).
"""

import base64
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine, make_url

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault


def onboard(
    source: SimulatedTenant,
    settings: Settings,
    engine: Engine,
    company: str = "acme",
    *,
    secret: str | None = None,
    own_app_key: bool = True,
    **details: Any,
) -> Settings:
    """Store a company and its credential as an operator does; settings that reach its simulator.

    `secret`: another client secret than the right one. `own_app_key`: does the credential have it, too, or the settings
    alone? `details`: of the company. A credential that is there is replaced.
    """
    keys = SecretStr(source.client_id), SecretStr(secret or source.client_secret)
    app_key = SecretStr(source.app_key)
    new = NewCredential(
        company,
        source.environment,
        source.tenant_id,
        *keys,
        app_key if own_app_key else None,  # type: ignore[arg-type]
    )
    with engine.begin() as connection:
        add_company(connection, company, **{"name": company.title(), "intacct_id": f"INT-{company}", **details})
        add_credential(connection, Vault.from_settings(settings), new, replace=True)
    addresses = {
        f"{source.environment}_api_url": source.url,
        f"{source.environment}_auth_url": f"{source.url}/connect/token",
        "app_key": app_key,
    }
    return settings.model_copy(update=addresses)


def settings_for(engine: Engine, home: Path) -> Settings:
    """Settings for a database, with a key of their own and retries that do not wait."""
    return Settings(
        home=home,
        database_url=engine.url.render_as_string(hide_password=False),
        encryption_keys=f"1:{base64.b64encode(os.urandom(32)).decode()}",
        app_key="ak1.test-app-key",
        retry_initial_seconds=0.001,
        retry_max_seconds=0.05,
        lease_wait_seconds=0,
    )


@dataclass(frozen=True)
class SyncedCompanies:
    """Companies of one database after their first syncs: a database to copy, and simulated tenants that remember."""

    server: EmbeddedServer
    database: str
    sources: Mapping[str, SimulatedTenant]
    settings: Settings

    @contextmanager
    def copied(self) -> Iterator[tuple[Settings, Engine]]:
        """A copy for one test, as it was right after those syncs, on both sides."""
        for source in self.sources.values():
            source.restore()
        with database_copied(self.server, self.database) as engine:
            url = SecretStr(engine.url.render_as_string(hide_password=False))
            yield self.settings.model_copy(update={"database_url": url}), engine


@dataclass(frozen=True)
class SyncedCompany:
    """`acme` alone."""

    companies: SyncedCompanies

    @contextmanager
    def copied(self) -> Iterator[tuple[SimulatedTenant, Settings, Engine]]:
        """A copy for one test, and the tenant at the simulator."""
        with self.companies.copied() as (settings, engine):
            yield self.companies.sources["acme"], settings, engine


def sync_once(
    server: EmbeddedServer, database: str, sources: Mapping[str, SimulatedTenant], home: Path, **details: Any
) -> SyncedCompanies:
    """Take companies on in an empty migrated database, and sync them."""
    engine = open_engine(make_url(server.url(database)).set(drivername=DRIVER))
    settings = settings_for(engine, home)
    for company, source in sources.items():
        settings = onboard(source, settings, engine, company, **details)
        result = synchronize_data(company, SyncConfiguration(), settings=settings, engine=engine)
        assert result.success, result.errors
    engine.dispose()  # nobody may be connected to a database that is copied
    for source in sources.values():
        source.remember()
    return SyncedCompanies(server, database, sources, settings)


def copy_database(server: EmbeddedServer, template: str, name: str) -> None:
    """A new database that begins as a copy of another, to which nobody is connected.

    By its files: by default Postgres copies page by page and logs each page.
    """
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, (name, template))))


@contextmanager
def database_copied(server: EmbeddedServer, template: str) -> Iterator[Engine]:
    """Such a database, gone afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    copy_database(server, template, name)
    engine = open_engine(make_url(server.url(name)).set(drivername=DRIVER))
    yield engine
    engine.dispose()
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
