"""Twelve things that happen to every connector. Each is a whole sync against the simulator and a real Postgres.

What a peer loses, keeps, doubles or stops at stands in the docstring of its test.
"""

import json
import time
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import DeletionSign, EntitySpec
from st_pipeline.simulator.clock import TICKS_PER_SECOND, to_text, to_ticks
from st_pipeline_tests.acme import ROWS_A_PAGE, SIZES, Acme
from st_pipeline_tests.entities.shapes import examples

TICKS_IN_0_3_MS = 3_000
EXAMPLES = tuple(examples().values())
LIST_AND_FEED = ("membership_types", "invoices")
TICKS_IN_0_2_US = 2  # the seventh digit: less than a Python datetime can tell


def test_a_clean_load_equals_the_source(acme: Acme):
    result = acme.sync()
    assert result.success
    truth = acme.source.truth()
    sent = sum(truth[entity]["live"] + truth[entity]["deleted"] for entity in ENTITIES)
    assert result.counts.created == result.counts.processed == sent
    assert acme.differences() == []
    assert acme.doubled() == []
    assert acme.value("SELECT count(*) FROM sync_rejects") == 0
    assert acme.rows("SELECT status, message FROM servicetitan_sync_logs") == [("completed", None)]


@pytest.mark.parametrize("ticks", [TICKS_IN_0_3_MS, TICKS_IN_0_2_US], ids=["0.3 ms", "0.2 us"])
@pytest.mark.parametrize("token", [True, False], ids=["feeds go on from their token", "feeds go on from a date"])
def test_a_record_that_commits_a_moment_after_the_newest_one_seen_arrives_in_the_next_sync(
    acme: Acme, ticks: int, token: bool
):
    """A bookmark of "newest + 1 ms", or one that a clock of microseconds rounded up, passes it for good.

    Without look-back, which would hide a position that is wrong by less.
    """
    acme.settings = acme.settings.model_copy(update={"lookback_minutes": 0})
    newest = {entity: _newest_to_the_seventh_digit(acme, entity) for entity in LIST_AND_FEED}
    assert acme.sync(only=LIST_AND_FEED).success
    late = {entity: acme.add(entity, modifiedOn=to_text(moment + ticks)) for entity, moment in newest.items()}
    if not token:
        acme.execute("UPDATE sync_cursors SET continue_from = NULL")
    assert acme.sync(only=LIST_AND_FEED).success
    for entity, st_id in late.items():
        assert acme.value(f"SELECT count(*) FROM st_{entity} WHERE st_id = :id", id=st_id) == 1, entity  # noqa: S608
    assert acme.differences(*LIST_AND_FEED) == []


def _newest_to_the_seventh_digit(acme: Acme, entity: str) -> int:
    """Give the entity's newest record a time that microseconds round up. In ticks."""
    newest = to_ticks(acme.source.truth()[entity]["newest_modified_on"])
    moment = newest - newest % TICKS_PER_SECOND + TICKS_PER_SECOND + 8_446_007
    acme.source.patch(entity, max(acme.source.ids(entity)), {"modifiedOn": to_text(moment)})
    return moment


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_five_records_deleted_at_the_source_are_marked_deleted_and_no_other(synced_acme: Acme, mode: str):
    """Peers keep them for ever. What has no feed, or cannot be asked for by ids, is marked by full syncs only."""
    acme = synced_acme
    there, gone = {}, {}
    for spec in ENTITIES.values():
        if mode == "full" or spec.deletion_sign is DeletionSign.INACTIVE or (spec.feed_path and spec.ids_param):
            there[spec.name] = _live_ids(acme, spec)
            gone[spec.name] = sorted(there[spec.name])[:5]
            for st_id in gone[spec.name]:
                acme.source.delete(spec.name, st_id)
    assert acme.sync(incremental_only=mode == "incremental").success
    for entity, ids in gone.items():
        assert _live_ids(acme, ENTITIES[entity]) == there[entity] - set(ids), entity
        still_rows = acme.value(f"SELECT count(*) FROM st_{entity} WHERE st_id = ANY(:ids)", ids=ids)  # noqa: S608
        assert still_rows == min(5, len(there[entity])) > 0
    assert acme.differences() == []


def _live_ids(acme: Acme, spec: EntitySpec) -> set[int]:
    flag = " AND active" if spec.has("active") else ""
    query = f"SELECT st_id FROM {spec.table} WHERE deleted_at IS NULL{flag}"  # noqa: S608 - our own tables
    return {st_id for (st_id,) in acme.rows(query)}


def test_a_field_never_seen_before_neither_stops_nor_changes_the_load_and_can_be_read(synced_acme: Acme):
    """ServiceTitan adds fields without notice; peers drop them or change the table."""
    acme = synced_acme
    without = acme.typed_rows()
    acme.source.fault("extra_keys", rate=1.0)
    again = acme.sync(incremental_only=False)
    assert (again.success, again.counts.updated, again.counts.failed) == (True, again.counts.processed, 0)
    assert acme.typed_rows() == without
    for spec in ENTITIES.values():
        readable = f"SELECT count(*) FROM {spec.table} WHERE full_data -> 'aiSummary' -> 'labels' ->> 0 = 'new'"  # noqa: S608
        assert acme.value(readable) == len(without[spec.name]) > 0


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "15 percent of answers are 500": ("status", {"status": 500, "probability": 0.15}),
    "15 percent of bodies are cut half-way": ("cut_body", {"probability": 0.15}),
    "15 percent of bodies end with their connection": ("cut_body", {"probability": 0.15, "how": "close"}),
    "every fifth request finds all tokens revoked": ("revoke_tokens", {"every_nth": 5}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("entities", [EXAMPLES, pytest.param((), marks=pytest.mark.lab)], ids=["of each shape", "all"])
def test_a_load_and_its_increments_end_equal_to_the_source_though(acme: Acme, fault: str, entities: tuple[str, ...]):
    """Peers stop at a cut body and at a revoked token, and throw away what they had fetched."""
    kind, rule = FAULTS[fault]
    acme.source.fault(kind, **rule)
    assert acme.sync(only=entities, incremental_only=False).success
    acme.source.advance(created=5, changed=20, deleted=3, merged=1)
    assert acme.sync(only=entities).success
    (counted,) = acme.source.faults()
    assert counted["struck"] >= 3
    acme.source.clear_faults()
    assert acme.sync(only=entities).success
    assert acme.differences(*entities) == []
    assert acme.doubled() == []


@pytest.mark.parametrize("in_a_header", [False, True], ids=["in its title", "in Retry-After"])
def test_a_429_is_obeyed_with_the_wait_that_stands(acme: Acme, in_a_header: bool):
    """A peer reads its body as a page and fails on the missing `hasMore`."""
    acme.source.fault("429", wait_seconds=1, header=in_a_header, times=1, after_requests=3)
    acme.source.fault("429", wait_seconds=0, header=in_a_header, every_nth=3)
    began = time.monotonic()
    assert acme.sync(only=EXAMPLES).success
    assert time.monotonic() - began >= 1  # back-offs alone would be milliseconds
    assert acme.source.requests()["too_many_requests"] > 5
    assert acme.differences(*EXAMPLES) == []


def test_a_token_that_lives_three_seconds_is_renewed_before_it_ends(acme: Acme):
    """Renewed by time and not by refusal; and not asked for with every page, as the token address is throttled."""
    acme.source.settings(token_lifetime_seconds=3)
    feed_pages = SIZES["invoices"] // ROWS_A_PAGE  # one after the other: 3.5 s, whatever else the sync asks for
    acme.source.fault("slow", seconds=3.5 / feed_pages, path="/export/invoices")
    began = time.monotonic()
    assert acme.sync(only=("invoices",)).success
    seconds = time.monotonic() - began
    assert seconds > 3
    asked = acme.source.requests()
    assert "401" not in asked["by_status"]
    assert 2 <= asked["token_requests"] <= 1 + seconds / 1.5  # each is used for half of its time
    assert acme.differences("invoices") == []


HOSTILE = {
    "a NUL": ("a\x00b", "a\ufffdb"),
    "an escaped backslash before u0000": ("a\\u0000b", None),
    "1 MB": ("x" * 1_000_000, None),
    "a line separator": ("a\u2028b\u2029c", None),
    "quotes and backslashes": ("\"a\" 'b' \\ \\\\ \\\" `c` ''", None),
    "the end of a COPY": ("a\n\\.\nb\t\\N", None),
    "lines, tabs, commas": ('a\r\nb\tc,"d",;|\v\f\x1f\x7f', None),
    "emoji and marks": ("👩\u200d🔧 A\u030a \u202e\ufeff", None),
    "half a surrogate pair": ("a\ud83db", "a\ufffdb"),
    "the other half": ("\udc00", "\ufffd"),
    "a statement": ("'); DROP TABLE companies; --", None),
    "format marks": ("%s %(id)s {0} :name $1", None),
    "nothing": ("", None),
}


def test_hostile_text_arrives_as_it_is_and_stops_nothing(acme: Acme):
    """Peers stop at a NUL, some with half a table written. Postgres holds neither a NUL nor half a surrogate pair."""
    last = max(acme.source.ids("customers"))
    record, expected = acme.source.record("customers", last), {}
    for new_id, (value, arrives) in enumerate(HOSTILE.values(), last + 1):
        named = [{"typeId": 1, "name": value, "value": value}]
        hostile = {**record, "id": new_id, "name": value, "customFields": named}
        acme.source.insert("customers", json.dumps(hostile).encode())  # as ASCII: only so can it hold half a pair
        expected[new_id] = value if arrives is None else arrives
    assert acme.sync(only=("customers", "members_stream")).success
    for column in ("name", "full_data ->> 'name'", "custom_fields -> 0 ->> 'value'", "custom_fields -> 0 ->> 'name'"):
        query = f"SELECT st_id, {column} FROM st_customers WHERE st_id > :last"  # noqa: S608 - our own columns
        assert dict(acme.rows(query, last=last)) == expected
    assert acme.value("SELECT count(*) FROM sync_rejects") == 0
    assert acme.value("SELECT count(*) FROM members_stream WHERE customer_id::bigint > :last", last=last) == len(
        HOSTILE
    )
    again = acme.sync(only=("customers",), incremental_only=False).counts
    assert (again.unchanged, again.deleted) == (again.processed, 0)


def test_a_load_killed_half_way_goes_on_where_it_was_and_fetches_little_again(acme: Acme):
    """Peers begin again: every page is fetched twice, and a large tenant that is killed daily never gets through."""
    pages = -(-len(acme.source.ids("invoices")) // ROWS_A_PAGE)
    committed_so_far = "SELECT records_processed FROM sync_log_entities WHERE entity = 'invoices'"
    acme.source.fault("slow", seconds=0.5, entity="invoices")  # or all would be there before we see that half of it is
    process = acme.start_process("incremental")
    acme.wait_until(process, committed_so_far, 50)
    process.kill()
    process.wait()
    acme.source.clear_faults()
    committed = acme.value(committed_so_far)
    assert 50 <= committed < 100, "killed half-way"
    acme.source.requests(reset=True)
    result = acme.sync()
    assert result.success
    assert acme.differences() == []
    assert acme.doubled() == []
    asked = acme.source.requests()["by_operation"]
    assert asked["invoices.export"] <= pages - committed // ROWS_A_PAGE
    for entity in ("customers", "customer_contacts", "locations", "memberships"):
        assert asked[f"{entity}.export"] == 1  # complete before the kill: asked for news only
    assert acme.rows("SELECT status FROM servicetitan_sync_logs ORDER BY id") == [("failed",), ("completed",)]


def test_the_log_of_a_failing_sync_holds_no_secret(acme: Acme):
    """A peer logs bearer token and app key with the failing address. Every other place: test_secrets_stay_secret.py."""
    acme.source.fault("status", status=500, entity="tag_types")
    acme.source.fault("status", status=401, entity="locations")
    process = acme.start_process("incremental", log_level="DEBUG")
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error=ServiceUnavailable" in log
    assert "status=401" in log
    for secret in (acme.source.client_id, acme.source.client_secret, acme.source.app_key, "eyJ", "Bearer"):
        assert secret not in log
