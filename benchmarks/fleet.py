"""Many small tenants that are loaded already: the source, a Postgres of its own, and a database to poll into.

Here: making them. One tenant is onboarded and loaded by the pipeline; the others are copies of its rows, made in SQL,
as loading ten thousand would take hours. Not here: what is measured.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from job import FOLDER, postgres_seconds
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, make_url, text

from st_pipeline.embedded_postgres import embedded
from st_pipeline.entities import LISTS
from st_pipeline.postgres.database import DRIVER, open_engine, transaction
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault

FIRST_NUMBER = 100_000_000  # of the tenants, as ServiceTitan numbers them
SERVER_OPTIONS = {"synchronous_commit": "on"}


@dataclass
class Fleet:
    """The tenants, their source and their database. `folder`: for files of the benchmark, gone at its end."""

    folder: Path
    server: embedded.EmbeddedServer
    engine: Engine
    settings: Settings
    stub_url: str
    tenants: int
    engines: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engines.append(self.engine)

    def ask_source(self, command: str = "figures", **parameters: int) -> dict[str, Any]:
        """The source's figures, after a command: `advance`."""
        verify = str(self.folder / "certificate.pem") if self.stub_url.startswith("https") else False
        return dict(httpx.get(f"{self.stub_url}/control/{command}", params=parameters, verify=verify).json())

    def postgres_seconds(self) -> float:
        """CPU of Postgres so far."""
        return postgres_seconds(self.server.pid)

    def let_time_pass(self, seconds: float) -> None:
        """Move every moment that decides about polls into the past: as good as a clock that is moved forward.

        Then everybody is due. In a session of its own, whose end reports the rows it wrote: the next round is not
        charged with them.
        """
        with psycopg.connect(self.server.url(str(self.engine.url.database)), autocommit=True) as connection:
            columns = connection.execute(OPERATIVE_MOMENTS, (list(OPERATIVE_TABLES),)).fetchall()
            for table in OPERATIVE_TABLES:
                moved = [sql.Identifier(name) for of, name in columns if of == table]
                changes = [sql.SQL("{0} = {0} - make_interval(secs => {1})").format(one, seconds) for one in moved]
                update = sql.SQL("UPDATE {} SET {}").format(sql.Identifier(table), sql.SQL(", ").join(changes))
                connection.execute(update)
                if table == "tenant_polls":
                    connection.execute("UPDATE tenant_polls SET due_at = now()")
                connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))  # not in the next round


# What the claims, the polls and the tokens compare with the clock.
OPERATIVE_TABLES = ("tenant_polls", "sync_cursors", "servicetitan_credentials")
OPERATIVE_MOMENTS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_name = ANY(%s) AND table_schema = 'public' AND data_type = 'timestamp with time zone'
"""


@contextmanager
def made_fleet(
    tenants: int, records: int, *, latency_ms: float = 0, changing_tenths: int = 0, tls: bool = False, **options: Any
) -> Iterator[Fleet]:
    """Start source and Postgres, onboard the tenants with some `records` each; all of it is gone in the end.

    `changing_tenths`: how many tenths of the tenants have changes after `ask_source("advance")`. `options`: settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="st-pipeline-bench-"))
    folder.chmod(0o755)  # the server's account must get in
    harvest(folder / "records.json", records)
    arguments = ["--latency-ms", str(latency_ms), "--changing-tenths", str(changing_tenths)]
    if tls:
        _write_certificate(folder / "certificate.pem")
        arguments += ["--certificate", str(folder / "certificate.pem")]
        os.environ["SSL_CERT_FILE"] = str(folder / "certificate.pem")
    command = [sys.executable, str(FOLDER / "api_stub.py"), str(folder / "records.json"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stub:
        try:
            assert stub.stdout is not None
            url = f"{'https' if tls else 'http'}://127.0.0.1:{int(stub.stdout.readline())}"
            server = embedded.start(folder / "postgres", options=SERVER_OPTIONS)
            embedded.ensure_database(server, "fleet")
            engine = open_engine(make_url(server.url("fleet")).set(drivername=DRIVER))
            migrate(engine)
            settings = Settings(
                encryption_keys=f"1:{b64encode(os.urandom(32)).decode()}",
                app_key="ak1.bench",
                production_api_url=url,
                production_auth_url=f"{url}/connect/token",
                database_url=server.url("fleet"),
                log_level="ERROR",
                incremental_cron=f"0 {(datetime.now(UTC).hour + 12) % 24} * * *",  # nobody is due twice in a round
                time_zone="UTC",
                **options,
            )
            fleet = Fleet(folder, server, engine, settings, url, tenants)
            onboard(fleet)
            yield fleet
            for one in fleet.engines:
                one.dispose()
        finally:
            stub.terminate()
            embedded.remove(folder / "postgres")
            shutil.rmtree(folder)


def onboard(fleet: Fleet) -> None:
    """Store every tenant, load the first one, and copy its rows to the others."""
    started = time.monotonic()
    vault = Vault.from_settings(fleet.settings)
    names = [f"bench-{number:05}" for number in range(fleet.tenants)]
    with transaction(fleet.engine, "onboard the benchmark's tenants") as connection:
        for number, name in enumerate(names):
            add_company(connection, name, name=name.title(), intacct_id=f"INT-{name}")
            keys = SecretStr(f"cid.{name}"), SecretStr(f"cs.{name}")
            add_credential(connection, vault, NewCredential(name, "production", FIRST_NUMBER + number, *keys))
    result = synchronize_data(
        names[0], SyncConfiguration(incremental_only=False), settings=fleet.settings, engine=fleet.engine
    )
    assert result.success, result.errors
    with transaction(fleet.engine, "copy the first tenant") as connection:
        copy_rows(connection, names[0])
    with psycopg.connect(fleet.server.url("fleet"), autocommit=True) as connection_:
        connection_.execute("VACUUM ANALYZE")
    print(f"{fleet.tenants} tenants are there, after {time.monotonic() - started:.0f} s", flush=True)


# Not copied: what is about one sync, and what exists for every tenant already.
NOT_COPIED = ("servicetitan_credentials", "tenant_leases", "servicetitan_sync_logs", "audit_log")


def copy_rows(connection: Connection, first: str) -> None:
    """The rows of the first tenant in every table that has a tenant's rows, for every other tenant."""
    tables = connection.execute(
        text("""
            SELECT c.table_name, array_agg(c.column_name::text ORDER BY c.ordinal_position) AS columns
            FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
            JOIN pg_class k ON k.oid = format('%I', table_name)::regclass
            WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE' AND NOT k.relispartition
                  AND c.is_generated = 'NEVER' AND c.is_identity = 'NO'
            GROUP BY c.table_name HAVING bool_or(c.column_name = 'credential_id')
        """)
    ).all()
    values = {"credential_id": "n.credential_id", "tenant": "n.intacct_id"}
    for table, columns in tables:
        if table in NOT_COPIED:
            continue
        names = ", ".join(f'"{name}"' for name in columns)
        taken = ", ".join(values.get(name, f'r."{name}"') for name in columns)
        connection.execute(
            text(
                f"INSERT INTO {table} ({names}) SELECT {taken} FROM {table} r JOIN tenants f "  # noqa: S608 - names of ours
                "ON f.credential_id = r.credential_id AND f.partition_key = :first "
                "CROSS JOIN tenants n WHERE n.partition_key <> :first ON CONFLICT DO NOTHING"
            ),
            {"first": first},
        )
    connection.execute(
        text("""
            UPDATE servicetitan_credentials c SET connection_status = f.connection_status,
                last_tested_at = f.last_tested_at, last_sync_at = f.last_sync_at
            FROM servicetitan_credentials f JOIN tenants t ON t.credential_id = f.id WHERE t.partition_key = :first
        """),
        {"first": first},
    )


def harvest(file: Path, records: int) -> None:
    """Write a simulated company's records as the stub serves them, by path. `records`: about so many in all."""
    with subprocess.Popen([sys.executable, FOLDER / "source.py"], stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            urls = dict(part.split("=", 1) for part in simulator.stdout.readline().split()[1:])
            with SimulatorControl(urls["production"], urls["integration"]) as control:
                invoices = max(records // 8, 1)
                tenant = control.create_tenant(customers=max(invoices // 2, 1), invoices=invoices, seed=1)
                found = _records(tenant) if records else {}
        finally:
            simulator.terminate()
    file.write_text(json.dumps(found))


def _records(tenant: SimulatedTenant) -> dict[str, list[Any]]:
    """Every record of every list, also under the path of its feed, with `{tenant}` for the tenant's number."""
    form = {"grant_type": "client_credentials", "client_id": tenant.client_id, "client_secret": tenant.client_secret}
    found: dict[str, list[Any]] = {}
    with httpx.Client(base_url=tenant.url) as http:
        token = http.post("/connect/token", data=form).json()["access_token"]
        headers = {"authorization": f"Bearer {token}", "st-app-key": tenant.app_key}
        for spec in LISTS.values():
            path = spec.feed_path or spec.list_path
            parameters = {} if spec.feed_path else {**spec.list_params, "page": "1", "pageSize": "5000"}
            has_more = True
            while has_more:
                response = http.get(path.replace("{tenant}", str(tenant.tenant_id)), params=parameters, headers=headers)
                page = response.raise_for_status().json()
                found.setdefault(spec.list_path, []).extend(page["data"])
                has_more = page["hasMore"]
                following = {"from": page["continueFrom"]} if spec.feed_path else {"page": str(page["page"] + 1)}
                parameters = {**parameters, **following}
            if spec.feed_path:
                found[spec.feed_path] = found[spec.list_path]
    return found


def _write_certificate(file: Path) -> None:
    """A certificate for this machine with its key, for a day."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    key = file.with_suffix(".key")
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
