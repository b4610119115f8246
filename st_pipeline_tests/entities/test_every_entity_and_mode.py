"""Each shape of entity in each mode: the table equals the source after a load, a change, a failure, a lost token.

The other entities are tested by `make lab`. One company for all of it, so each test works on records of its own
entity and leaves them equal to the source.
Deletions stand in test_every_entity_s_deletions.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.protocol import Mode
from st_pipeline.simulator.clock import to_text, to_ticks
from st_pipeline_tests.entities.conftest import ROWS_A_CHUNK, Tenant, worked_on
from st_pipeline_tests.entities.made_records import simulated_name
from st_pipeline_tests.entities.shapes import over_shapes, over_shapes_and_modes, tells_time

FED = [name for name, spec in ENTITIES.items() if spec.feed_path is not None]
TICKS_IN_0_3_MS = 3_000
FAILURES: Mapping[Mode, tuple[str, dict[str, Any]]] = {
    Mode.INCREMENTAL: ("status", {"status": 500}),
    Mode.FULL: ("cut_body", {}),
    Mode.WINDOW: ("html_200", {}),
}


def moment(company: Tenant) -> datetime:
    """Now, by the source's clock."""
    return datetime.fromisoformat(company.source.control.health()["now"])


def asking_for(mode: Mode, since: datetime) -> dict[str, Any]:
    """What a sync in that mode is asked for so that it reads what has changed since."""
    return {
        Mode.INCREMENTAL: {},
        Mode.FULL: {"incremental_only": False},
        Mode.WINDOW: {"modified_from": since},
    }[mode]


def is_read_by_feed(spec: EntitySpec, mode: Mode) -> bool:
    """A window reads the list, unless only the feed shows everything."""
    if mode is Mode.FULL:
        return not spec.is_read_from_list
    return spec.feed_path is not None and (mode is not Mode.WINDOW or any(c.feed_only for c in spec.columns))


def third_page(spec: EntitySpec, mode: Mode) -> dict[str, Any]:
    """The rule of a fault that applies from the third page on. A full sync asks for the list's total first."""
    if is_read_by_feed(spec, mode):
        return {"path": "/export/", "after_requests": 2}
    return {"after_requests": 2 + (mode is Mode.FULL)}


def test_the_first_sync_loads_everything_of_every_entity_in_several_pages(loaded: tuple[Tenant, Tenant]):
    """One twin by an incremental sync, which then is a full one, the other by a window without an end."""
    company, twin = loaded
    assert company.differences() == []
    assert twin.differences() == []
    modes = "SELECT entity, mode, pages FROM sync_log_entities WHERE sync_log_id = (SELECT min(l.id) FROM "
    modes += "servicetitan_sync_logs l JOIN tenants USING (credential_id) WHERE partition_key = :name)"
    for tenant, mode in ((company, "full"), (twin, "window")):
        read = {row["entity"]: row for row in tenant.rows(modes, name=tenant.name) if row["entity"] in ENTITIES}
        assert {row["mode"] for row in read.values()} == {mode}
        assert min(row["pages"] for row in read.values()) >= 4
    assert company.sync().counts.changed == 0


@pytest.mark.parametrize("entity", over_shapes())
def test_an_entity_s_first_incremental_sync_is_a_full_load_whatever_the_others_have(company: Tenant, entity: str):
    """An entity that came to the project today; or one whose cursor was lost."""
    spec, other = ENTITIES[entity], "campaigns" if entity != "campaigns" else "tag_types"
    own = "credential_id = (SELECT credential_id FROM tenants WHERE partition_key = 'acme')"
    gone = sum(len(company.marks()[one.name]) for one in spec.read_as)
    held = company.execute(f"DELETE FROM {spec.table} WHERE {own}")  # noqa: S608
    shown = held - gone if spec.is_read_from_list else held  # a feed shows deleted records, too
    names = [spec.name, *(one.name for one in spec.read_as)]
    company.execute(f"DELETE FROM sync_cursors WHERE entity = ANY(:names) AND {own}", names=names)  # noqa: S608
    result = company.sync(entity, other)
    assert result.errors == []
    found = {outcome.entity: outcome.result for outcome in result.outcomes}
    assert (found[entity].mode, found[entity].counts.created) == (Mode.FULL, shown)
    assert (found[other].mode, found[other].counts.changed) == (Mode.INCREMENTAL, 0)
    assert company.sync(entity).outcomes[0].result.mode is Mode.INCREMENTAL
    assert company.differences(entity) == []


@pytest.mark.parametrize("entity", over_shapes())
def test_a_window_reads_the_rows_of_its_range_and_no_others(company: Tenant, entity: str):
    """A feed has no upper bound: what is newer is read, too."""
    spec = ENTITIES[entity]
    before, inside, after = ({one.name: company.ids(one)[place] for one in worked_on(spec)} for place in (0, 4, -1))
    bounds = []
    for changed, word in ((before, "before"), (inside, "inside"), (after, "after")):
        bounds.append(moment(company))
        for one in worked_on(spec):
            company.change(one, changed[one.name], word)
    positions = "SELECT credential_id, entity, continue_from, newest_modified_on, full_started_at, last_full_at, "
    positions += "last_polled_at, complete_through FROM sync_cursors ORDER BY 1, 2"
    stood = company.rows(positions)
    result = company.sync(entity, modified_from=bounds[1], modified_to=bounds[2])
    assert result.errors == []
    read_from_feed = is_read_by_feed(spec, Mode.WINDOW)
    expected = 0
    for one in worked_on(spec):
        everything = not tells_time(one)
        expected += len(company.ids(one)) if everything else 2 if read_from_feed else 1
        assert company.word(one, inside[one.name]) == "inside"
        assert (company.word(one, before[one.name]) == "before") is everything
        assert (company.word(one, after[one.name]) == "after") is (everything or read_from_feed)
    assert result.counts.processed == expected
    assert company.rows(positions) == stood
    assert company.sync(entity).errors == []
    assert company.differences(entity) == []


@pytest.mark.parametrize(("entity", "mode"), over_shapes_and_modes())
def test_after_a_failure_in_the_middle_the_next_sync_reads_the_rest(company: Tenant, entity: str, mode: Mode):
    """Eight changes are three pages, and the third one fails; by then a chunk is committed that ends in the second."""
    spec, since, word = ENTITIES[entity], moment(company), f"changed before {mode} failed"
    first = spec.read_as[0]
    ids = company.ids(first)
    for st_id in ids[-8:]:
        company.change(first, st_id, word)
    kind, rule = FAILURES[mode]
    place = third_page(first, mode)
    company.source.fault(kind, entity=simulated_name(first.name), **place, **rule)
    failed = company.sync(entity, **asking_for(mode, since))
    assert len(failed.errors) == 1
    assert failed.counts.processed >= ROWS_A_CHUNK
    assert failed.counts.deleted == 0
    left = sum(company.word(first, st_id) != word for st_id in ids[-8:])
    assert left > 0

    company.source.clear_faults()
    again = company.sync(entity, **asking_for(mode, since))
    assert (again.errors, again.counts.updated) == ([], left)
    if spec.feed_path is not None and mode is Mode.INCREMENTAL:
        assert again.counts.processed == left, "what arrived before the failure is not read again"
    if not spec.is_read_from_list and mode is Mode.FULL:
        assert again.outcomes[0].result.notes == ["continued a full sync that had not finished"]
    assert company.differences(entity) == []


@pytest.mark.parametrize(("entity", "mode"), over_shapes_and_modes())
def test_what_changed_and_what_is_new_arrives_and_what_is_broken_does_when_it_is_fixed(
    company: Tenant, entity: str, mode: Mode
):
    """Nothing else is written, and the broken record costs no other of its chunk."""
    spec, since = ENTITIES[entity], moment(company)
    one = spec.read_as[-1]
    name, ids = simulated_name(one.name), company.ids(one)
    good = company.source.record(name, ids[4])
    company.source.patch(name, ids[4], {"createdOn": "the day before"})
    for st_id in (ids[0], ids[-1]):
        company.change(one, st_id, f"changed for {mode}")
    company.add(one)
    counts = company.sync(entity, **asking_for(mode, since)).counts
    assert (counts.created, counts.updated, counts.failed, counts.deleted) == (1, 2, 1, 0)
    kept = "SELECT entity, st_id FROM sync_rejects"
    assert company.rows(kept) == [{"entity": one.name, "st_id": ids[4]}]

    company.source.insert(name, good)
    company.source.patch(name, ids[4], {})
    fixed = company.sync(entity, **asking_for(mode, since))
    # Without a time it is, byte for byte, what the table holds.
    assert (fixed.errors, fixed.counts.failed, fixed.counts.updated) == ([], 0, 1 if tells_time(one) else 0)
    assert company.rows(kept) == []
    assert company.differences(entity) == []


@pytest.mark.parametrize("entity", over_shapes())
def test_a_record_that_commits_0_3_ms_after_the_newest_one_seen_arrives_in_the_next_sync(company: Tenant, entity: str):
    """From the list's cursor, and from a feed's when its token was lost; without look-back, which would hide it."""
    company = replace(company, settings=company.settings.model_copy(update={"lookback_minutes": 0}))
    seen, late = {}, {}
    for one in worked_on(ENTITIES[entity]):
        seen[one.name] = company.source.patch(simulated_name(one.name), company.ids(one)[-1], {})
    assert company.sync(entity).errors == []
    for one in worked_on(ENTITIES[entity]):
        record = dict(seen[one.name])
        if "modifiedOn" in record:
            record["modifiedOn"] = to_text(to_ticks(record["modifiedOn"]) + TICKS_IN_0_3_MS)
        late[one.name] = company.source.insert(simulated_name(one.name), {**record, "id": record["id"] + 1})
    company.execute("UPDATE sync_cursors SET continue_from = NULL WHERE entity = :entity", entity=entity)
    assert company.sync(entity).counts.created == len(late)
    assert company.differences(entity) == []


@pytest.mark.parametrize("entity", over_shapes(FED))
def test_a_feed_token_that_is_refused_costs_no_record(company: Tenant, entity: str):
    """One stored by a sync that ended well, and one of a full sync that was cut off."""
    spec = ENTITIES[entity]
    name, ids = simulated_name(spec.name), company.ids(spec)
    company.change(spec, ids[2], "changed before the token was refused")
    company.source.fault("reject_export_token", entity=name, times=1)
    result = company.sync(entity)
    assert (result.errors, result.counts.updated) == ([], 1)
    assert result.outcomes[0].result.notes[0].startswith("the stored feed token was refused; read again from 2")

    if spec.is_read_from_list:  # its full syncs have no token
        return
    for st_id in ids[2:5]:
        company.change(spec, st_id, "changed before the pass was cut off")
    company.source.fault("status", status=400, entity=name, path="/export/", after_requests=2, times=1)
    assert len(company.sync(entity, incremental_only=False).errors) == 1
    company.source.fault("reject_export_token", entity=name, times=1)
    whole = company.sync(entity, incremental_only=False)
    assert (whole.errors, whole.counts.updated) == ([], 3)
    assert "the stored feed token was refused; read again from the beginning" in whole.outcomes[0].result.notes
    assert company.differences(entity) == []


@pytest.mark.parametrize("entity", over_shapes(sorted(ENTITIES.keys() - set(FED))))
def test_a_lost_list_cursor_costs_no_record(company: Tenant, entity: str):
    spec = ENTITIES[entity]
    for one in worked_on(spec):
        company.change(one, company.ids(one)[2], "changed before the position was lost")
    company.execute("UPDATE sync_cursors SET newest_modified_on = NULL")
    result = company.sync(entity)
    assert (result.errors, result.counts.updated) == ([], len(worked_on(spec)))
    assert result.counts.processed == sum(len(company.ids(one)) for one in spec.read_as)
    assert company.differences(entity) == []
