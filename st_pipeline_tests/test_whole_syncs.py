"""Whole syncs against the simulator: whatever happens on the way, the tables end equal to the source."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.cli.proof import prove_tenant
from st_pipeline.credentials.companies import add_company
from st_pipeline.credentials.registration import NewCredential, add_credential
from st_pipeline.credentials.vault import Vault
from st_pipeline.data_types import SYNCED
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline.sync_configuration import SyncConfiguration, SyncResult
from st_pipeline.synchronize import get_last_sync_status, synchronize_data

SMALL_PAGES = {"export_page_size": 40, "rate_limit_per_second": None}
IN_A_PROCESS = """
import sys
from st_pipeline import SyncConfiguration, synchronize_data
result = synchronize_data("acme", SyncConfiguration(incremental_only=sys.argv[1] == "incremental", batch_size=25))
sys.exit(0 if result.success else 1)
"""


@dataclass
class Acme:
    """A simulated tenant, onboarded as `acme`."""

    source: SimulatedTenant
    settings: Settings
    engine: Engine

    def sync(self, **options: Any) -> SyncResult:
        """Sync it in chunks of 25 rows."""
        configuration = SyncConfiguration(**{"batch_size": 25, **options})
        return synchronize_data("acme", configuration, settings=self.settings, engine=self.engine)

    def differences(self) -> list[str]:
        """What differs between the tables and the source."""
        with self.engine.connect() as connection:
            return prove_tenant(connection, "acme", self.source.truth()).differences

    def start_process(self, mode: str) -> "subprocess.Popen[bytes]":
        """The same sync in a process of its own."""
        assert self.settings.database_url is not None
        assert self.settings.encryption_keys is not None
        variables = {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "ST_PIPELINE_ENCRYPTION_KEYS": self.settings.encryption_keys.get_secret_value(),
            "ST_PIPELINE_APP_KEY": self.source.app_key,
            "ST_PIPELINE_PRODUCTION_API_URL": self.source.url,
            "ST_PIPELINE_PRODUCTION_AUTH_URL": f"{self.source.url}/connect/token",
        }
        return subprocess.Popen(
            [sys.executable, "-c", IN_A_PROCESS, mode], env={**os.environ, **variables}, stderr=subprocess.DEVNULL
        )

    def written(self) -> int:
        """Rows that are committed in all tables so far."""
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT sum(records_processed) FROM sync_log_entities")).scalar() or 0)


@pytest.fixture
def acme(servicetitan_tenant: Callable[..., SimulatedTenant], settings: Settings, engine: Engine) -> Acme:
    """60 customers, 150 invoices, and what belongs to them: about 450 records in pages of 40."""
    source = servicetitan_tenant(customers=60, invoices=150, seed=7, settings=SMALL_PAGES)
    own = settings.model_copy(
        update={
            "production_api_url": source.url,
            "production_auth_url": f"{source.url}/connect/token",
            "app_key": SecretStr(source.app_key),
            "retry_max_seconds": 1.5,
        }
    )
    keys = SecretStr(source.client_id), SecretStr(source.client_secret)
    with engine.begin() as connection:
        add_company(connection, "acme", name="Acme")
        add_credential(
            connection, Vault.from_settings(own), NewCredential("acme", "production", source.tenant_id, *keys)
        )
    return Acme(source, own, engine)


FAULTS = {
    "15 % of answers are 500": ("status", {"status": 500, "probability": 0.15}),
    "15 % of answers are an HTML 502": ("status", {"status": 502, "body": "html", "probability": 0.15}),
    "15 % of bodies are cut": ("cut_body", {"probability": 0.15}),
    "15 % of answers are a page of HTML": ("html_200", {"probability": 0.15}),
    "15 % of connections break": ("drop_connection", {"probability": 0.15}),
    "every third request is refused with 429, the wait in its title": ("429", {"wait_seconds": 0, "every_nth": 3}),
    "every third request is refused with 429 and Retry-After": (
        "429",
        {"wait_seconds": 0, "header": True, "every_nth": 3},
    ),
    "tokens are revoked every fifth request": ("revoke_tokens", {"every_nth": 5}),
    "rows change between two pages": ("row_changes_between_pages", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sync_ends_right_without_help_when(acme: Acme, fault: str):
    kind, rule = FAULTS[fault]
    acme.source.fault(kind, **rule)
    assert acme.sync(incremental_only=False).success
    acme.source.advance(created=5, changed=20, deleted=3, merged=1)
    assert acme.sync().success
    acme.source.clear_faults()
    assert acme.sync().success
    assert acme.differences() == []


def test_an_incremental_sync_reads_only_what_changed_and_marks_what_is_gone(acme: Acme):
    first = acme.sync()
    assert first.counts.created == first.counts.processed
    assert acme.differences() == []
    acme.source.advance(created=3, deleted=2)
    second = acme.sync()
    assert 0 < second.counts.processed < 60
    assert second.counts.deleted == 2
    assert acme.differences() == []
    third = acme.sync()
    assert (third.counts.created, third.counts.updated, third.counts.deleted) == (0, 0, 0)


def test_a_full_pass_over_unchanged_data_writes_nothing(acme: Acme):
    acme.sync(incremental_only=False)
    counts = acme.sync(incremental_only=False).counts
    assert counts.unchanged == counts.processed > 400
    assert acme.sync(incremental_only=False, rewrite=True).counts.updated == counts.processed


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_killed_sync_is_continued_with_nothing_lost_or_doubled(acme: Acme, mode: str):
    """Killed with -9 after 40, 120, 200 … committed records, over and over, until one gets through."""
    if mode == "incremental":
        acme.sync()
        acme.source.advance(created=60, changed=100, deleted=10)
    kills = 0
    for limit in range(40, 2000, 80):
        process = acme.start_process(mode)
        before = acme.written()
        while process.poll() is None and acme.written() - before < limit:
            time.sleep(0.002)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        status = get_last_sync_status("acme", settings=acme.settings, engine=acme.engine)
        assert status is not None
        assert status["status"] == "running"
    assert process.returncode == 0
    assert kills >= 2
    assert acme.differences() == []
    with acme.engine.connect() as connection:
        rows = connection.execute(text("SELECT status, message FROM servicetitan_sync_logs ORDER BY id")).all()
    assert [row.status for row in rows].count("failed") == kills
    assert rows[-1].status == "completed"


def test_postgres_connections_that_are_cut_fail_the_sync_and_the_next_one_mends_it(acme: Acme):
    process = acme.start_process("full")
    while process.poll() is None and acme.written() < 60:
        time.sleep(0.002)
    with acme.engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(backend_pid) FROM tenant_leases"))
    assert process.wait(60) == 1
    assert acme.sync(incremental_only=False).success
    assert acme.differences() == []


def test_a_refusal_of_one_entity_does_not_set_the_tenant_aside(acme: Acme):
    """Some apps get a plain 403 for one entity with everything else in order."""
    acme.source.fault("status", status=403, entity="membership_types")
    result = acme.sync()
    assert [one.entity for one in result.outcomes if one.error] == ["membership_types", "members_stream"]
    assert _connection_status(acme) == "connected"


def test_a_refusal_of_every_entity_does(acme: Acme):
    acme.source.fault("status", status=403)
    assert len(acme.sync().errors) == len(SYNCED)
    assert _connection_status(acme) == "error"


def _connection_status(acme: Acme) -> str:
    with acme.engine.connect() as connection:
        return str(connection.execute(text("SELECT connection_status FROM servicetitan_credentials")).scalar_one())
