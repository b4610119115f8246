"""A tenant in trouble: how much of a run it may take, and where its next turn goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.simulator.control import SimulatorControl
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.entity_order import failed_last
from st_pipeline.sync.tenant import TenantSync
from st_pipeline_tests.acme import ROWS_A_PAGE, SIZES, Acme, take_on
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied, settings_for

BUDGET = "a poll gives a tenant so long"
UNLOADED = "UPDATE sync_cursors SET last_full_at = NULL WHERE entity = :entity"


@contextmanager
def turn(acme: Acme, seconds: float = 600, deadline: Deadline = NO_DEADLINE, only: str = "") -> Iterator[TenantSync]:
    """A tenant's turn in a run of polls."""
    poll = SyncConfiguration(sync_type="scheduled", only=(only,) if only else ())
    ends = deadline.within(seconds, BUDGET)
    sync = TenantSync(acme.engine, acme.settings, "acme", poll, deadline=ends, first_loads=False)
    with sync:
        yield sync


def polled(acme: Acme, seconds: float = 600, only: str = "") -> TenantSync:
    """A whole turn."""
    with turn(acme, seconds, only=only) as sync:
        for _ in sync.entities():
            pass
    return sync


@pytest.fixture(scope="module")
def company(
    postgres_server: EmbeddedServer, servicetitan_simulator: SimulatorControl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Acme]:
    """A company read in full, for the whole module, of which a poll leaves nothing out."""
    source = servicetitan_simulator.create_tenant(**SIZES)
    with database_copied(postgres_server, TEMPLATE) as engine:
        settings = settings_for(engine, tmp_path_factory.mktemp("home"))
        acme = take_on(source, settings.model_copy(update={"reference_poll_minutes": 0, "max_attempts": 2}), engine)
        assert acme.sync().success
        yield acme
    source.remove()


@pytest.fixture
def loaded(company: Acme) -> Iterator[Acme]:
    """It, as it was; a test leaves no fault behind and all loaded."""
    settings = company.settings
    yield company
    company.settings = settings
    company.source.clear_faults()
    company.execute("UPDATE sync_cursors SET last_failed_at = NULL, last_full_at = coalesce(last_full_at, now())")


def test_two_entities_in_a_row_without_an_answer_end_the_tenant_s_sync(loaded: Acme):
    """Each costs minutes of retries: all of them held all tenants behind them for an hour."""
    loaded.source.fault("status", status=503)
    result = polled(loaded).result
    assert [(one.entity, type(one.error).__name__) for one in result.outcomes] == [
        (name, "ServiceUnavailable") for name in list(SYNCED)[:2]
    ]
    assert "2 entities in a row got no usable answer" in str(result.stopped)
    assert loaded.rows("SELECT count(*) FROM sync_cursors WHERE last_failed_at IS NOT NULL") == [(2,)]
    (message,) = loaded.rows("SELECT message FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1")[0]
    assert message.endswith("the rest waits for the next sync")


def test_what_failed_comes_last_the_next_time_so_that_it_keeps_nothing_from_being_read(loaded: Acme):
    for entity in list(SYNCED)[:2]:
        loaded.source.fault("status", status=503, entity=entity)
    polled(loaded)
    second = polled(loaded).result
    tried = [one.entity for one in second.outcomes]
    assert set(tried) == set(SYNCED)
    assert tried[-2:] == list(SYNCED)[:2]
    assert [one.entity for one in second.outcomes if one.error is not None] == tried[-2:]


def test_one_that_depends_on_what_failed_comes_after_it():
    assert failed_last(["customers", "locations", "jobs", "estimates"], {"customers"}) == [
        "locations", "customers", "jobs", "estimates",
    ]  # fmt: skip
    assert failed_last(["customers", "locations"], set()) == ["customers", "locations"]


def test_an_entity_that_is_refused_in_between_shows_that_servicetitan_answers(loaded: Acme):
    first, second, third = list(SYNCED)[:3]
    loaded.source.fault("status", status=503, entity=first)
    loaded.source.fault("status", status=404, entity=second)
    loaded.source.fault("status", status=503, entity=third)
    assert polled(loaded).result.stopped is None


@pytest.mark.parametrize("prefetch", [0, 1])
def test_a_tenant_whose_answers_hang_ends_with_its_budget_and_goes_on_from_there(loaded: Acme, prefetch: int):
    """What has come is written, though it is no whole chunk: the next turn would else read the same page again."""
    loaded.settings = loaded.settings.model_copy(update={"prefetch_pages": prefetch})
    invoices = loaded.source.ids("invoices")[:40]
    for invoice in invoices:
        loaded.source.patch("invoices", invoice, {"summary": f"changed {prefetch}"})
    changed = f"SELECT count(*) FROM st_invoices WHERE summary = 'changed {prefetch}'"  # noqa: S608
    loaded.source.fault("slow", seconds=30, entity="invoices", path="/export/", after_requests=1)
    started = time.monotonic()
    result = polled(loaded, seconds=2, only="invoices").result
    assert time.monotonic() - started < 8
    assert [type(one.error).__name__ for one in result.outcomes] == ["ServiceUnavailable"]
    assert 0 < loaded.value(changed) < len(invoices)
    loaded.source.clear_faults()
    again = polled(loaded, only="invoices").result.outcomes[0].result.counts
    assert (loaded.value(changed), again.updated) == (len(invoices), len(invoices) - ROWS_A_PAGE)


def test_after_the_deadline_nothing_is_begun_and_nothing_has_failed(loaded: Acme):
    passed = Deadline(0.0, "a run may take 900 s")
    loaded.source.requests(reset=True)
    with turn(loaded, deadline=passed) as sync:
        assert list(sync.entities()) == []
    assert sync.result.errors == [
        "out of time, as a run may take 900 s; what is committed stays, and the next sync continues from there"
    ]
    assert loaded.source.requests()["total"] == 0


@pytest.mark.parametrize(
    ("deadline", "said"),
    [
        (Deadline(0.0, "a run may take 900 s"), "ended at once, as a run may take 900 s"),
        (NO_DEADLINE, "ended at once, by a person or with its service"),
    ],
)
def test_the_log_says_who_interrupted_a_sync(loaded: Acme, deadline: Deadline, said: str):
    """Dagster's run monitoring interrupts a run that takes too long; that is no person."""
    with pytest.raises(KeyboardInterrupt), turn(loaded, deadline=deadline):
        raise KeyboardInterrupt
    assert loaded.rows("SELECT message FROM servicetitan_sync_logs ORDER BY id DESC LIMIT 1") == [(said,)]


def test_what_was_never_read_to_its_end_is_no_part_of_a_poll(loaded: Acme):
    loaded.execute(UNLOADED, entity="invoices")
    loaded.source.requests(reset=True)
    result = polled(loaded).result
    assert result.errors == []
    tried = {one.entity for one in result.outcomes}
    assert set(SYNCED) - tried == {"invoices", "invoices_stream"}
    assert not [name for name in loaded.source.requests()["by_operation"] if name.startswith("invoices.")]


def test_an_entity_that_is_off_is_no_part_of_scheduled_syncs_and_a_person_can_still_sync_it(loaded: Acme):
    loaded.execute("INSERT INTO tenant_schedules (credential_id, entities_off) SELECT id, '{invoices}' "
                   "FROM servicetitan_credentials")  # fmt: skip
    loaded.execute("INSERT INTO switches (scope, name) VALUES ('entity', 'estimates')")
    try:
        result = polled(loaded).result
        assert result.errors == []
        assert set(SYNCED) - {one.entity for one in result.outcomes} == {"invoices", "estimates"}
        assert [one.entity for one in loaded.sync(only=("invoices", "estimates")).outcomes] == ["estimates", "invoices"]
    finally:
        loaded.execute("DELETE FROM tenant_schedules")
        loaded.execute("DELETE FROM switches")


def test_of_several_lists_one_that_was_never_read_keeps_none_of_the_others_from_polls(loaded: Acme):
    loaded.execute(UNLOADED, entity="custom_fields")
    loaded.execute(UNLOADED, entity="custom_fields_jobs")
    assert "custom_fields" in {one.entity for one in polled(loaded).result.outcomes}
    loaded.execute("UPDATE sync_cursors SET last_full_at = NULL WHERE entity LIKE 'custom_fields%'")
    assert "custom_fields" not in {one.entity for one in polled(loaded).result.outcomes}


def test_a_person_s_sync_loads_what_was_never_loaded(loaded: Acme):
    loaded.execute(UNLOADED, entity="invoices")
    assert {one.entity: one.result.mode for one in loaded.sync().outcomes}["invoices"] == "full"
