"""Where the benchmark runs: a simulator, a Postgres of its own, and a database with the tenant onboarded.

Here: making and removing it, a fresh database for each load. Not here: what is measured.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from job import ENTITIES, FOLDER, Job
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import make_url

from st_pipeline.embedded_postgres import embedded
from st_pipeline.entities import ENTITIES as SPECS
from st_pipeline.postgres.database import DRIVER, open_engine, transaction
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault

ONBOARDED = "onboarded"


@dataclass
class Place:
    """A server with an onboarded tenant's database to copy, and the tenant at its source."""

    server: embedded.EmbeddedServer
    tenant: SimulatedTenant
    encryption_keys: str

    def job(self, name: str, *, full_data: bool) -> Job:
        """A load into a new copy of the database, of that name."""
        database = sql.Identifier(name)
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(database, sql.Identifier(ONBOARDED)))
            connection.execute("CHECKPOINT")  # not in the middle of what is measured
        return Job(
            api_url=self.tenant.url,
            tenant_id=self.tenant.tenant_id,
            client_id=self.tenant.client_id,
            client_secret=self.tenant.client_secret,
            app_key=self.tenant.app_key,
            encryption_keys=self.encryption_keys,
            database_url=self.server.url(name),
            postmaster=self.server.pid,
            full_data=full_data,
        )

    def fingerprint(self, name: str) -> list[tuple[Any, ...] | None]:
        """Of each compared table in that database: rows, and the sum of a hash of their columns and records."""
        found = []
        with psycopg.connect(self.server.url(name)) as connection:
            for spec in (SPECS[entity] for entity in ENTITIES):
                columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in spec.columns)
                query = sql.SQL("SELECT count(*), sum(hashtextextended(ROW({}, full_data)::text, 0)) FROM {}")
                found.append(connection.execute(query.format(columns, sql.Identifier(spec.table))).fetchone())
        return found


@contextmanager
def made_place(invoices: int) -> Iterator[Place]:
    """Start simulator and Postgres and onboard the tenant; all of it is gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="st-pipeline-bench-"))
    folder.chmod(0o755)  # the server's account must get in
    with subprocess.Popen([sys.executable, FOLDER / "source.py"], stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            urls = dict(part.split("=", 1) for part in simulator.stdout.readline().split()[1:])
            # It would vacuum in the middle of one load or the other.
            server = embedded.start(folder / "postgres", options={"autovacuum": "off"})
            with SimulatorControl(urls["production"], urls["integration"], timeout_seconds=900) as control:
                tenant = control.create_tenant(customers=invoices // 2, invoices=invoices, seed=1)
                yield _onboarded(server, tenant)
        finally:
            simulator.terminate()
            embedded.remove(folder / "postgres")
            shutil.rmtree(folder)


def _onboarded(server: embedded.EmbeddedServer, tenant: SimulatedTenant) -> Place:
    keys = f"1:{b64encode(os.urandom(32)).decode()}"
    embedded.ensure_database(server, ONBOARDED)
    engine = open_engine(make_url(server.url(ONBOARDED)).set(drivername=DRIVER))
    migrate(engine)
    secrets = SecretStr(tenant.client_id), SecretStr(tenant.client_secret)
    with transaction(engine, "onboard the benchmark's tenant") as connection:
        add_company(connection, "bench", name="Bench", intacct_id="INT-bench")
        vault = Vault.from_settings(Settings(encryption_keys=keys))
        add_credential(connection, vault, NewCredential("bench", "production", tenant.tenant_id, *secrets))
    engine.dispose()
    return Place(server, tenant, keys)
