"""Whole reads spread over several nights: whose night it is, and what a night between two whole reads finds."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.protocol import Mode
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.sync.whole_reads import is_due, is_turn
from st_pipeline.tenants.night_plan import night_of
from st_pipeline_tests.acme import Acme

INVOICES = ENTITIES["invoices"]
NIGHT = date(2026, 3, 14)
READ = "customers"


def read_on(night: date, **changes: object) -> Cursor:
    """Of an entity that was read whole in that night."""
    at = datetime(night.year, night.month, night.day, 3, tzinfo=UTC)
    return Cursor(**{"last_full_at": at, "full_spec_version": INVOICES.version} | changes)  # type: ignore[arg-type]


def test_a_night_lasts_from_noon_to_noon_in_its_time_zone():
    eastern = timezone(timedelta(hours=-5))
    assert night_of(datetime(2026, 3, 14, 2, tzinfo=eastern), eastern) == NIGHT
    assert night_of(datetime(2026, 3, 13, 23, tzinfo=eastern), eastern) == NIGHT
    assert night_of(datetime(2026, 3, 14, 16, tzinfo=UTC), eastern) == NIGHT
    assert night_of(datetime(2026, 3, 14, 17, tzinfo=UTC), eastern) == NIGHT + timedelta(days=1)


@pytest.mark.parametrize("nights", range(1, 8))
def test_each_tenant_and_entity_is_read_whole_once_in_so_many_nights(nights: int):
    tenants = [f"tenant-{number}" for number in range(50)]
    last = dict.fromkeys(tenants, NIGHT)
    turns: Counter[str] = Counter()
    for night in (NIGHT + timedelta(days=day) for day in range(1, 3 * nights + 1)):
        for tenant in tenants:
            if is_due(tenant, INVOICES, read_on(last[tenant]), night, nights):
                turns[tenant] += 1
                last[tenant] = night
    assert set(turns.values()) <= {3, 4}  # a first one comes before its turn, when the last was just before a turn


def test_turns_are_spread_over_tenants_and_entities():
    due = sum(is_due(f"tenant-{number}", INVOICES, read_on(NIGHT), NIGHT, 7) for number in range(700))
    assert 60 < due < 140


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(),
        read_on(NIGHT, full_started_at=datetime(2026, 3, 14, tzinfo=UTC)),
        read_on(NIGHT, full_spec_version=INVOICES.version - 1),
        read_on(NIGHT - timedelta(days=8)),
    ],
    ids=["never read", "left unfinished", "gained a column", "missed its night"],
)
def test_what_cannot_wait_for_its_night_is_read_whole_in_any(cursor: Cursor):
    nights = 7
    waits = next(name for name in map(str, range(50)) if not is_due(name, INVOICES, read_on(NIGHT), NIGHT, nights))
    assert is_due(waits, INVOICES, cursor, NIGHT, nights)


def test_a_list_that_alone_tells_what_changed_is_read_whole_every_night():
    for entity in ("campaigns", "tag_types"):
        assert all(is_due(str(number), ENTITIES[entity], read_on(NIGHT), NIGHT, 7) for number in range(20))


@pytest.fixture
def loaded(acme: Acme) -> Acme:
    """A company whose customers were read whole, and are again in three nights only."""
    acme.settings = acme.settings.model_copy(update={"whole_read_nights": 7})
    assert acme.sync(only=(READ,), incremental_only=False).success
    acme.source.requests(reset=True)
    return acme


def between(acme: Acme) -> tuple[Mode, list[str], dict[str, int]]:
    """A night between: the mode and notes of the entity, and what was asked."""
    (cursor,) = acme.rows("SELECT last_full_at, full_spec_version FROM sync_cursors WHERE entity = :e", e=READ)
    held = Cursor(last_full_at=cursor[0], full_spec_version=cursor[1])
    tonight = night_of(datetime.now(UTC))
    nights = (tonight + timedelta(days=day) for day in range(7))
    night = next(night for night in nights if not is_due("acme", ENTITIES[READ], held, night, 7))
    configuration = SyncConfiguration(only=(READ,), sync_type="scheduled", incremental_only=False, night=night)
    with TenantSync(acme.engine, acme.settings, "acme", configuration) as sync:
        (outcome,) = sync.entities()
    assert outcome.error is None
    asked = acme.source.requests()["by_operation"]
    acme.source.requests(reset=True)
    return outcome.result.mode, outcome.result.notes, {name: asked[name] for name in asked if name != "token"}


def held_rows_differ(acme: Acme) -> bool:
    """Do the customers we hold differ from the source's?"""
    return any(one.startswith(f"{READ}:") for one in acme.differences())


def test_a_night_between_reads_what_changed_and_asks_the_list_for_its_total(loaded: Acme):
    loaded.source.advance(changed={READ: 2}, created={READ: 1})
    mode, notes, asked = between(loaded)
    assert (mode, notes, asked) == (Mode.INCREMENTAL, [], {"customers.export": 1, "customers.list": 1})
    assert not held_rows_differ(loaded)


def test_a_total_that_differs_lets_everything_be_read_in_the_same_night(loaded: Acme):
    """The feed does not say that this one was deleted."""
    gone = next(one for one in loaded.source.ids(READ) if loaded.source.record(READ, one)["active"])
    loaded.source.delete(READ, gone, touch=False)
    mode, notes, _ = between(loaded)
    assert mode is Mode.FULL
    assert notes[0].endswith("are held: everything was read")
    assert not held_rows_differ(loaded)


def test_a_record_altered_without_a_new_date_is_found_by_the_next_whole_read(loaded: Acme):
    one = loaded.source.ids(READ)[0]
    loaded.source.patch(READ, one, {"name": "altered"}, touch=False)
    assert between(loaded)[0] is Mode.INCREMENTAL
    assert held_rows_differ(loaded)
    assert loaded.sync(only=(READ,), sync_type="scheduled", incremental_only=False).success
    assert not held_rows_differ(loaded)


@pytest.mark.parametrize("is_due", [True, False])
def test_streams_look_for_missing_records_in_their_night_alone(acme: Acme, is_due: bool):
    acme.settings = acme.settings.model_copy(update={"whole_read_nights": 7})
    assert acme.sync().success
    acme.execute("DELETE FROM members_stream WHERE customer_id = (SELECT min(customer_id) FROM members_stream)")
    tonight, loaded_at = night_of(datetime.now(UTC)), datetime.now(UTC)
    nights = (tonight + timedelta(days=day) for day in range(7))
    night = next(one for one in nights if is_turn("acme", "members_stream", loaded_at, one, 7) is is_due)
    configuration = SyncConfiguration(
        only=("members_stream",), sync_type="scheduled", incremental_only=False, night=night
    )
    with TenantSync(acme.engine, acme.settings, "acme", configuration) as sync:
        (outcome,) = sync.entities()
    assert (outcome.error, outcome.result.counts.created) == (None, int(is_due))
