"""All of a tenant's sync: what one entity's failure stops, what the sync log and the cursors keep, how it is left."""

import base64
import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.errors import ConfigurationError, InvalidCredentials, NotTried, TenantBusy
from st_pipeline.operations.failed_syncs import failed_since
from st_pipeline.protocol import Counts
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.vault.encryption import Vault
from st_pipeline_tests.acme import Acme, take_on
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied

FEW = ("tag_types", "business_units", "technicians")
# Jobs need customers and locations; technicians need nobody.
CHAIN = ("customers", "technicians", "locations", "jobs")
LOG = "SELECT status, message, mode, data_type, records_processed FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1"
LEASES = "SELECT count(*) FROM tenant_leases"


@pytest.fixture(scope="module")
def company(
    postgres_server: EmbeddedServer, servicetitan_simulator: SimulatorControl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Acme]:
    """A small company, for the whole module."""
    source = servicetitan_simulator.create_tenant(customers=6, invoices=6, settings={"rate_limit_per_second": None})
    with database_copied(postgres_server, TEMPLATE) as engine:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            encryption_keys=f"1:{base64.b64encode(os.urandom(32)).decode()}",
            max_attempts=1,
        )
        yield take_on(source, settings, engine)
    source.remove()


@pytest.fixture
def acme(company: Acme) -> Iterator[Acme]:
    """It, as if it had never been synced; no test leaves a fault behind."""
    settings = company.settings
    tables = ", ".join(f"st_{name}" for name in {*FEW, *CHAIN})
    company.execute(f"TRUNCATE sync_cursors, servicetitan_sync_logs, {tables} CASCADE")
    company.execute(
        "UPDATE servicetitan_credentials SET connection_status = 'pending', connection_message = NULL, "
        "refused_since = NULL, refusals = 0, retry_at = NULL, access_token = NULL"
    )
    yield company
    company.settings = settings
    company.source.clear_faults()


def sync(acme: Acme, only: tuple[str, ...] = FEW, poll: bool = False, **options: Any) -> TenantSync:
    """A sync of some entities, all of them taken."""
    configuration = SyncConfiguration(only=only, sync_type="scheduled" if poll else "manual", **options)
    with TenantSync(acme.engine, acme.settings, "acme", configuration) as made:
        for _ in made.entities():
            pass
    return made


def errors(made: TenantSync) -> dict[str, str]:
    """What kind of error each entity ended with, empty for none."""
    return {one.entity: "" if one.error is None else type(one.error).__name__ for one in made.result.outcomes}


def test_one_row_of_the_log_has_the_sync_and_one_each_of_its_entities(acme: Acme):
    made = sync(acme)
    counts = made.result.counts
    assert made.result.success
    assert counts.processed == counts.created == sum(len(acme.source.ids(name)) for name in FEW)
    assert acme.rows(LOG) == [("completed", None, "incremental", f"only {', '.join(FEW)}", counts.processed)]
    assert acme.value("SELECT id FROM servicetitan_sync_logs") == made.result.sync_log_id
    assert acme.rows("SELECT entity, status, mode FROM sync_log_entities ORDER BY started_at") == [
        (name, "completed", "full") for name in FEW
    ]
    assert acme.value("SELECT details->'asked'->'entities' FROM servicetitan_sync_logs") == list(FEW)
    assert acme.value(LEASES) == 0
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "connected"


def test_what_needs_a_failed_entity_is_not_tried_and_all_else_is_read(acme: Acme):
    acme.source.fault("status", status=404, entity="locations")
    made = sync(acme, CHAIN)
    assert errors(made) == {"customers": "", "technicians": "", "locations": "AddressUnknown", "jobs": "NotTried"}
    jobs = made.result.outcomes[-1]
    assert isinstance(jobs.error, NotTried)
    assert jobs.message == "jobs of tenant acme: not tried, as locations failed"
    assert made.result.errors == [f"{one.entity}: {one.message}" for one in made.result.outcomes[2:]]
    locations = made.result.outcomes[2]
    told = f"locations: {locations.message}; jobs: not tried, as what they need failed"
    assert acme.rows(LOG)[0][:2] == ("failed", told)
    stored = "SELECT entity, failure, failure_kind FROM sync_cursors WHERE failing_since IS NOT NULL ORDER BY entity"
    assert acme.rows(stored) == [
        ("jobs", jobs.message, "NotTried"), ("locations", locations.message, "AddressUnknown")
    ]  # fmt: skip
    kinds = "SELECT entity, error_kind FROM sync_log_entities WHERE status = 'failed' ORDER BY started_at"
    assert acme.rows(kinds) == [
        ("locations", "AddressUnknown"),
        ("jobs", "NotTried"),
    ]
    assert acme.rows("SELECT entity FROM sync_cursors WHERE last_failed_at IS NOT NULL ORDER BY 1") == [
        ("jobs",),
        ("locations",),
    ]
    acme.source.clear_faults()
    assert sync(acme, CHAIN).result.success
    assert acme.value("SELECT count(*) FROM sync_cursors WHERE last_failed_at IS NOT NULL") == 0


def test_an_error_that_is_not_ours_fails_its_entity_alone_and_is_not_quoted(acme: Acme):
    """What another library says may hold a record."""

    def break_at(entity: str, _counts: Counts) -> None:
        if entity == "business_units":
            raise ValueError("a customer's name")

    configuration = SyncConfiguration(only=FEW)
    with TenantSync(acme.engine, acme.settings, "acme", configuration, after_chunk=break_at) as made:
        messages = {one.entity: one.message for one in made.entities()}
    said = "unexpected ValueError; the log of the run has the place"
    assert messages == {"tag_types": None, "business_units": said, "technicians": None}
    assert acme.rows(LOG)[0][:2] == ("failed", f"business_units: {said}")


def test_wrong_keys_end_the_sync_of_every_entity_with_the_same_error(acme: Acme):
    wrong = Vault.from_settings(acme.settings).encrypt("acme", "client_secret", SecretStr("cs.wrong"))
    right = acme.value("SELECT client_secret FROM servicetitan_credentials")
    acme.execute("UPDATE servicetitan_credentials SET client_secret = :secret", secret=wrong)
    acme.source.requests(reset=True)
    made = sync(acme)
    acme.execute("UPDATE servicetitan_credentials SET client_secret = :secret", secret=right)
    assert errors(made) == dict.fromkeys(FEW, InvalidCredentials.__name__)
    assert acme.source.requests()["total"] == 1
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_what_is_done_already_is_skipped_and_only_what_is_read_is_counted_for_the_progress(acme: Acme):
    asked = SyncConfiguration(only=(*FEW, "invoices_stream"), incremental_only=False)
    with TenantSync(acme.engine, acme.settings, "acme", asked) as made:
        done = [one.entity for one in made.entities(skip=lambda name: name in ("tag_types", "business_units"))]
        expected = made.log.expected
    assert done == ["technicians", "invoices_stream"]
    assert expected == len(acme.source.ids("technicians"))
    assert acme.rows("SELECT entity FROM sync_cursors ORDER BY 1") == [("invoices_stream",), ("technicians",)]


def test_a_body_that_raises_closes_the_log_and_gives_the_tenant_back(acme: Acme):
    configuration = SyncConfiguration(only=FEW)
    made = TenantSync(acme.engine, acme.settings, "acme", configuration)

    def end_in_the_middle() -> None:
        with made:
            next(made.entities())
            with pytest.raises(TenantBusy):
                TenantSync(acme.engine, acme.settings, "acme", configuration).__enter__()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        end_in_the_middle()
    assert acme.rows(LOG)[0][:2] == ("failed", "stopped by RuntimeError")
    assert acme.value(LEASES) == 0
    assert made.connection.closed
    assert sync(acme).result.success


def test_an_unknown_tenant_takes_no_lease(acme: Acme):
    made = TenantSync(acme.engine, acme.settings, "nobody", SyncConfiguration())
    with pytest.raises(ConfigurationError, match="nobody"):
        made.__enter__()
    assert made.is_news
    assert made.connection.closed
    assert acme.value(LEASES) == 0
    assert acme.value("SELECT count(*) FROM servicetitan_sync_logs") == 0


def test_a_tenant_whose_secrets_do_not_open_has_a_failed_row_a_status_and_no_lease(acme: Acme):
    other_key = SecretStr(f"1:{base64.b64encode(os.urandom(32)).decode()}")
    acme.settings = acme.settings.model_copy(update={"encryption_keys": other_key})
    sync_id = uuid.uuid4()
    for is_news in (True, False):
        made = TenantSync(acme.engine, acme.settings, "acme", SyncConfiguration(only=FEW), sync_id=sync_id)
        with pytest.raises(ConfigurationError) as raised:
            made.__enter__()
        assert made.result.errors == [str(raised.value)]
        assert made.is_news is is_news
        assert made.connection.closed
        assert acme.rows(LOG)[0][:2] == ("failed", str(raised.value))
        assert made.result.sync_log_id is not None
    assert acme.value(LEASES) == 0
    assert acme.value("SELECT connection_status FROM servicetitan_credentials") == "error"


def test_a_poll_that_finds_nothing_leaves_no_row_and_one_that_finds_something_does(acme: Acme):
    sync(acme)
    quiet = sync(acme, poll=True)
    assert (quiet.result.success, quiet.result.sync_log_id) == (True, None)
    assert [one.report for one in quiet.result.outcomes] == [False] * len(FEW)
    acme.source.patch("technicians", acme.source.ids("technicians")[0], {"name": "Another"})
    found = sync(acme, poll=True)
    assert [one.entity for one in found.result.outcomes if one.report] == ["technicians"]
    assert acme.rows(LOG)[0][0] == "completed"
    assert acme.value("SELECT count(*) FROM servicetitan_sync_logs") == 2


def test_a_poll_s_log_has_rows_only_of_what_changed_failed_or_recovered(acme: Acme):
    """One changed tag type wrote a row of every entity that the poll read after it."""
    rows = (
        "SELECT entity, records_processed FROM sync_log_entities WHERE sync_log_id = "
        "(SELECT max(id) FROM servicetitan_sync_logs) ORDER BY entity"
    )
    sync(acme)
    tag_type = acme.source.ids("tag_types")[0]
    acme.source.patch("tag_types", tag_type, {"name": "Another"})
    found = sync(acme, poll=True)
    assert [entity for entity, _ in acme.rows(rows)] == ["tag_types"]
    assert acme.rows(LOG)[0][-1] == found.result.counts.processed  # what was read and is unchanged counts, too
    acme.source.fault("status", status=404, entity="business_units")
    sync(acme, poll=True)
    assert [entity for entity, _ in acme.rows(rows)] == ["business_units"]
    acme.source.clear_faults()
    sync(acme, poll=True)
    assert [entity for entity, _ in acme.rows(rows)] == ["business_units"]


def test_a_failed_poll_s_retry_leaves_out_what_it_read_without_a_change(acme: Acme):
    sync(acme)
    acme.source.fault("status", status=503, entity="technicians")
    sync(acme, poll=True)
    with acme.engine.connect() as connection:
        (retry,) = failed_since(connection, timedelta(hours=1))
    assert retry.entities == ("technicians",)


def test_a_poll_tells_a_failure_once_and_the_recovery(acme: Acme):
    before = acme.value("SELECT coalesce(max(id), 0) FROM audit_log")
    sync(acme)
    acme.source.fault("status", status=404, entity="technicians")
    told = []
    for round_ in range(3):
        if round_ == 2:
            acme.source.clear_faults()
        made = sync(acme, poll=True)
        told.append({one.entity: one.report for one in made.result.outcomes}["technicians"])
    assert told == [True, False, True]
    trail = "SELECT result FROM audit_log WHERE action = 'sync' AND id > :before ORDER BY id"
    assert acme.rows(trail, before=before) == [
        ("done",),
        ("failed",),
    ]  # by a person, then the failure when it was news


def test_a_person_s_sync_is_told_always(acme: Acme):
    sync(acme)
    again = sync(acme)
    assert all(one.report for one in again.result.outcomes)
    assert again.result.counts.changed == 0
    assert acme.value("SELECT count(*) FROM servicetitan_sync_logs") == 2


def test_the_rows_of_a_chunk_may_be_given(acme: Acme):
    chunks: list[tuple[str, int]] = []
    with TenantSync(
        acme.engine,
        acme.settings,
        "acme",
        SyncConfiguration(only=("technicians",), batch_size=2),
        after_chunk=lambda entity, counts: chunks.append((entity, counts.processed)),
    ) as made:
        list(made.entities())
    technicians = len(acme.source.ids("technicians"))
    assert chunks == [("technicians", min(rows, technicians)) for rows in range(2, technicians + 2, 2)]
