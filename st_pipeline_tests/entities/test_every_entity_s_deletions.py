"""Deletions in each shape of entity: what is gone is marked, nothing else ever is, and what is back is unmarked.

The other entities are tested by `make lab`. How many may go at once stands in test_deletions_guard.py.
"""

from collections.abc import Callable
from itertools import product

import httpx
import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import DeletionSign, EntitySpec
from st_pipeline.protocol import Mode
from st_pipeline_tests.entities.conftest import ROWS_A_PAGE, Marks, Tenant, worked_on
from st_pipeline_tests.entities.made_records import simulated_name
from st_pipeline_tests.entities.shapes import over_shapes, over_shapes_and_modes
from st_pipeline_tests.entities.test_every_entity_and_mode import asking_for, moment

ASKED_BY_ID = [name for name, spec in ENTITIES.items() if spec.feed_path is not None and spec.ids_param]
FULL = {"incremental_only": False}


def learns(spec: EntitySpec, mode: Mode) -> bool:
    """Does a sync in that mode learn of deletions?"""
    if spec.deletion_sign is DeletionSign.INACTIVE:
        return True
    return mode is Mode.FULL or (mode is Mode.INCREMENTAL and spec.feed_path is not None and spec.ids_param)


def marked_besides(before: Marks, *further: tuple[EntitySpec, int]) -> Marks:
    """Those marks, and these records'."""
    return {name: ids | {st_id for one, st_id in further if one.name == name} for name, ids in before.items()}


@pytest.mark.parametrize(("entity", "mode"), over_shapes_and_modes())
def test_a_deleted_record_is_marked_an_inactive_one_is_not_and_one_that_returns_is_unmarked(
    company: Tenant, entity: str, mode: Mode
):
    """Where a sync cannot learn of a deletion, the next full sync does; until then the row stands as it was."""
    spec, since, before = ENTITIES[entity], moment(company), company.marks()
    gone = [(one, company.ids(one)[3]) for one in worked_on(spec)]
    records = [company.source.record(simulated_name(one.name), st_id) for one, st_id in gone]
    for one, st_id in gone:
        company.source.delete(simulated_name(one.name), st_id)
    if spec.has("active") and spec.deletion_sign is DeletionSign.ABSENT:
        company.source.patch(simulated_name(spec.name), company.ids(spec)[4], {"active": False})
    result = company.sync(entity, **asking_for(mode, since))
    assert result.errors == []
    if learns(spec, mode):
        assert result.counts.deleted == len(gone)
    else:
        assert company.marks() == before
        assert company.sync(entity, **FULL).counts.deleted == len(gone)
    assert company.marks() == marked_besides(before, *gone)
    assert company.differences(entity) == []

    for (one, st_id), record in zip(gone, records, strict=True):
        company.source.insert(simulated_name(one.name), record)
        company.source.patch(simulated_name(one.name), st_id, {"active": True} if "active" in record else {})
    assert company.sync(entity, **asking_for(mode, since)).errors == []
    assert company.marks() == before
    assert company.differences(entity) == []


@pytest.mark.parametrize("mode", Mode)
def test_a_merged_customer_stays_with_the_one_it_went_into(company: Tenant, mode: Mode):
    since, before = moment(company), company.marks()
    survivor, merged = company.ids(ENTITIES["customers"])[:2]
    # ServiceTitan: it stays as an inactive row that names the other.
    company.source.patch("customers", merged, {"active": False, "mergedToId": survivor})
    assert company.sync("customers", **asking_for(mode, since)).errors == []
    (row,) = company.rows(
        "SELECT active, merged_to_id FROM st_customers JOIN tenants USING (credential_id) "
        "WHERE partition_key = 'acme' AND st_id = :id",
        id=merged,
    )
    assert (row, company.marks()) == ({"active": False, "merged_to_id": survivor}, before)
    assert company.differences("customers") == []


PLACES = ("the second page of the walk", "its last page", "asking again for what it missed")


@pytest.mark.parametrize("entity", over_shapes())
def test_a_full_sync_that_dies_before_its_end_marks_nothing_and_the_next_one_does(company: Tenant, entity: str):
    """A walk that saw half of a list would otherwise take the other half for deleted."""
    spec, before = ENTITIES[entity], company.marks()
    one = spec.read_as[-1]
    name, st_id = simulated_name(one.name), company.ids(one)[1]
    company.source.delete(name, st_id, touch=False)  # a contact that the feed shows as inactive is marked at once
    pages = -(-len(company.ids(one)) // ROWS_A_PAGE)
    counting = 1 if spec.is_read_from_list else 2  # the list's total: before it reads, and after a feed
    path = one.list_path.replace("{tenant}", str(company.source.tenant_id))
    for place, requests in zip(PLACES, (1, pages - 1, pages), strict=True):
        rule = {"after_requests": counting + requests, "times": company.settings.max_attempts}
        company.source.fault("status", status=502, entity=name, path=path, **rule)
        result = company.sync(entity, **FULL)
        (fault,) = company.source.faults()
        company.source.clear_faults()
        assert (len(result.errors), fault["struck"], result.counts.deleted) == (1, rule["times"], 0), place
        assert company.marks() == before, place
    result = company.sync(entity, **FULL)
    assert (result.errors, result.counts.deleted) == ([], 1)
    assert company.marks() == marked_besides(before, (one, st_id))
    assert company.differences(entity) == []


@pytest.mark.parametrize("entity", over_shapes(ASKED_BY_ID))
def test_a_deletion_that_a_feed_tells_of_waits_until_the_source_was_asked(company: Tenant, entity: str):
    """The chunk is not written without its marks, so the next sync reads the record again."""
    spec, before = ENTITIES[entity], company.marks()
    st_id = company.ids(spec)[1]
    company.source.delete(entity, st_id)
    path = spec.list_path.replace("{tenant}", str(company.source.tenant_id))
    company.source.fault("status", status=502, entity=entity, path=path)
    assert len(company.sync(entity).errors) == 1
    assert company.marks() == before
    company.source.clear_faults()
    assert company.sync(entity).counts.deleted == 1
    assert company.marks() == marked_besides(before, (spec, st_id))
    assert company.differences(entity) == []


class BetweenTwoPages(httpx.BaseTransport):
    """Passes requests on, and does something at the source before the second page of each walk of a list."""

    def __init__(self, path: str, happens: Callable[[], None]) -> None:
        self._real, self._path, self._happens = httpx.HTTPTransport(), path, happens
        self.happened = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the simulator."""
        if request.url.path == self._path and request.url.params.get("page") == "2":
            self._happens()
            self.happened += 1
        return self._real.handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        self._real.close()


@pytest.mark.parametrize("entity", over_shapes())
def test_rows_that_move_up_between_two_pages_are_not_taken_for_deleted(company: Tenant, entity: str):
    """A record of the first page is deleted, and the first one of the second page is never shown.

    Where there is a feed, the list is read because one is gone without a word of the feed.
    """
    spec, before = ENTITIES[entity], company.marks()
    one = spec.read_as[-1]
    ids = company.ids(one)
    if not one.is_read_from_list:
        company.source.delete(simulated_name(one.name), ids[6], touch=False)
        before = marked_besides(before, (one, ids[6]))
    gone = iter(ids[:2])
    path = one.list_path.replace("{tenant}", str(company.source.tenant_id))
    company.change(one, ids[5], "changed before")

    def deleted_or_changed() -> None:
        st_id = next(gone, None)
        if st_id is not None:
            company.source.delete(simulated_name(one.name), st_id)
        company.change(one, ids[4], "changed meanwhile")

    transport = BetweenTwoPages(path, deleted_or_changed)
    with company.syncing(transport, entity, **FULL) as sync:
        (outcome,) = sync.entities()
    assert outcome.error is None
    assert transport.happened >= 1
    marks = company.marks()
    assert marks[one.name] - before[one.name] <= set(ids[:2])
    assert marks[one.name] >= before[one.name]
    assert company.sync(entity).errors == []
    assert company.sync(entity, **FULL).errors == []
    assert company.marks() == marked_besides(before, *product([one], set(ids[:2]) - set(gone)))
    assert company.differences(entity) == []
