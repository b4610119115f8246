"""`st-pipeline rejects`: looking, replaying after a fix without asking ServiceTitan, dismissing."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from sqlalchemy import Engine

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec, Rule, Severity
from st_pipeline.settings import Settings
from st_pipeline.simulator.control import SimulatedTenant
from st_pipeline_tests.cli.conftest import Command, Said, assert_refused
from st_pipeline_tests.cli.installation import SIZES, Installation, widest
from st_pipeline_tests.onboarding import SyncedCompany

ODD = {"balance": "Nobody's balance"}
OPEN = "SELECT entity, st_id FROM sync_rejects WHERE dismissed_at IS NULL ORDER BY id"


@pytest.fixture
def company(synced_company: Callable[..., SyncedCompany]) -> Iterator[tuple[SimulatedTenant, Settings, Engine]]:
    """A tenant after its first sync."""
    with synced_company(**SIZES | {"invoices": 2}).copied() as copy:
        yield copy


@pytest.fixture
def engine(company: tuple[SimulatedTenant, Settings, Engine]) -> Engine:
    """Commands work on its database."""
    return company[2]


@pytest.fixture
def settings(company: tuple[SimulatedTenant, Settings, Engine]) -> Settings:
    """And with its keys."""
    return company[1]


@pytest.fixture
def kept(company: tuple[SimulatedTenant, Settings, Engine], installation: Installation) -> Installation:
    """A tenant with two customers whose balance is not a number, one of which it holds an older version of."""
    installation.sources["acme"] = source = company[0]
    first, second = source.ids("customers")[:2]
    source.patch("customers", first, ODD)
    source.insert("customers", {**source.record("customers", second), "id": 10**15, **ODD})
    installation.synced("acme", only=("customers",))
    assert installation.rows(OPEN) == [("customers", first), ("customers", 10**15)]
    source.requests(reset=True)
    return installation


@contextmanager
def fixed(installation: Installation) -> Iterator[None]:
    """As after a fix of ours: what was refused in these bytes would pass now. The bytes are the fix's stand-in."""
    for st_id, record in installation.rows("SELECT st_id, record FROM sync_rejects"):
        body = msgspec.json.decode(bytes(record))
        fixed = msgspec.json.encode({**body, "balance": 12.5})
        installation.change("UPDATE sync_rejects SET record = :fixed WHERE st_id = :id", fixed=fixed, id=st_id)
    yield


def test_the_list_shows_what_was_kept_and_why_and_nothing_of_it(kept: Installation, command: Command):
    said = command("rejects", "list")
    assert said.code == 0
    assert widest(said.out) <= 80
    assert "1000000000000000" in said.out
    assert "does not decode" in said.words
    rows = command("rejects", "list", "--tenant", "acme", "--entity", "customers", "--json").json
    assert {row["st_id"] for row in rows} == {st_id for _, st_id in kept.rows(OPEN)}
    assert "1 of 2" in command("rejects", "list", "--limit", "1").words
    (counted,) = command("rejects", "list", "-c", "acme", "--summary", "--json").json
    assert (counted["records"], counted["entity"]) == (2, "customers")
    assert "2 records in all" in command("rejects", "list", "--summary").out
    assert command("rejects", "list", "--entity", "invoices").out == "no rejects\n"
    assert command("rejects", "list", "--dismissed").out == "no dismissed rejects\n"
    everything = said.all + command("rejects", "list", "--json").all
    assert ODD["balance"] not in everything


def test_a_record_is_shown_only_when_asked_for_and_only_on_standard_output(kept: Installation, command: Command):
    ((_, first), _) = kept.rows(OPEN)
    quiet = command("rejects", "show", "acme", "customers", str(first))
    assert (quiet.code, "does not decode" in quiet.words, ODD["balance"] in quiet.all) == (0, True, False)
    shown = command("rejects", "show", "acme", "customers", str(first), "--record")
    assert (ODD["balance"] in shown.out, shown.err) == (True, "")
    as_json = command("rejects", "show", "acme", "customers", str(first), "--json", "--record").json
    assert msgspec.json.decode(as_json["record"])["balance"] == ODD["balance"]
    assert "record" not in command("rejects", "show", "acme", "customers", str(first), "--json").json
    assert_refused(command("rejects", "show", "acme", "customers", "5"), "acme has no reject of customers with id 5")


def test_after_a_fix_they_pass_without_asking_servicetitan(kept: Installation, command: Command):
    """The older version is replaced, the new record is there, both streams renewed, and nobody was asked."""
    ((_, first), (_, new)) = kept.rows(OPEN)
    nothing = command("rejects", "replay", "acme")
    assert (nothing.code, _columns(nothing)) == (0, ["acme", "customers", "2", "0", "0", "2"])
    times = "SELECT DISTINCT times FROM sync_rejects"
    assert kept.rows(times) == [(1,)]  # a replay is no new sight of it
    cursors = kept.rows("SELECT * FROM sync_cursors WHERE entity = 'customers'")
    with fixed(kept):
        said = command("rejects", "replay", "acme", "customers", str(first), str(new))
    assert (said.code, _columns(said)) == (0, ["acme", "customers", "2", "2", "0", "0"])
    assert kept.rows(OPEN) == []
    query = "SELECT balance::float, deleted_at FROM st_customers WHERE st_id = ANY(:ids)"
    assert kept.rows(query, ids=[first, new]) == [(12.5, None), (12.5, None)]
    assert kept.value("SELECT count(*) FROM members_stream WHERE customer_id = :id", id=str(new)) == 1
    assert kept.value("SELECT count(*) FROM stream_pending") == 0
    assert kept.rows("SELECT * FROM sync_cursors WHERE entity = 'customers'") == cursors
    assert kept.sources["acme"].requests()["total"] == 0
    assert kept.value("SELECT count(*) FROM tenant_leases") == 0
    logged = (
        "SELECT data_type, status, records_processed, details ? 'asked' FROM servicetitan_sync_logs ORDER BY id DESC"
    )
    assert kept.rows(logged)[0] == ("rejects of customers", "completed", 2, False)
    again = command("rejects", "replay", "--all-tenants", "--json")
    assert (again.code, again.json) == (0, [{"tenant": "acme", "error": None, "results": []}])


def test_what_is_older_than_what_is_held_is_dropped_and_never_written(kept: Installation, command: Command):
    """A newer version came in by another way; and a row was marked as deleted since the reject was seen."""
    ((_, first), (_, new)) = kept.rows(OPEN)
    source = kept.sources["acme"]
    kept.change("UPDATE st_customers SET modified_on = now() + interval '1 hour', balance = 99 WHERE st_id = :id",
                id=first)  # fmt: skip
    other = source.ids("customers")[2]
    record = msgspec.json.encode(source.record("customers", other))
    kept.change("UPDATE sync_rejects SET st_id = :id, record_key = :key, record = :record WHERE st_id = :new",
                id=other, key=str(other), record=record, new=new)  # fmt: skip
    kept.change("UPDATE st_customers SET deleted_at = now() + interval '1 second' WHERE st_id = :id", id=other)
    with fixed(kept):
        (answer,) = command("rejects", "replay", "acme", "--json").json
    assert answer["results"] == [{"name": "customers", "tried": 2, "passed": 0, "older": 2, "still_failing": 0}]
    assert kept.value("SELECT balance::int FROM st_customers WHERE st_id = :id", id=first) == 99
    assert kept.value("SELECT deleted_at IS NOT NULL FROM st_customers WHERE st_id = :id", id=other)
    assert kept.rows(OPEN) == []


def test_records_without_a_readable_id_pass_once_it_can_be_read(kept: Installation, command: Command):
    """Kept under a hash of their bytes. Lists of their own are replayed with their entity."""
    source = kept.sources["acme"]
    body = {**source.record("customers", source.ids("customers")[3]), "id": 10**15 + 1}
    kept.change(
        "UPDATE sync_rejects SET st_id = NULL, record_key = '#abc', record = :record WHERE st_id = :id",
        record=msgspec.json.encode(body), id=10**15,
    )  # fmt: skip
    name = next(name for name in LISTS if name.startswith("custom_fields"))
    kept.change(
        "UPDATE sync_rejects SET entity = :name, st_id = 7, record_key = '7', record = :record "
        "WHERE record_key <> '#abc'", name=name, record=b'{"id": "x"}',
    )  # fmt: skip
    assert command("rejects", "show", "acme", "customers", "#abc").code == 0
    (answer,) = command("rejects", "replay", "acme", "--json").json
    results = {one["name"]: one for one in answer["results"]}
    assert (results["customers"]["passed"], results[name]["still_failing"]) == (1, 1)
    assert kept.value("SELECT count(*) FROM st_customers WHERE st_id = :id", id=10**15 + 1) == 1
    assert [entity for entity, _ in kept.rows(OPEN)] == [name]
    (only,) = command("rejects", "replay", "acme", "custom_fields", "--json").json
    assert [one["name"] for one in only["results"]] == [name]


def test_a_stream_s_reject_is_built_again_from_the_tables(kept: Installation, command: Command):
    customer = kept.value("SELECT max(st_id) FROM st_customers WHERE active")
    kept.change(
        "INSERT INTO sync_rejects (credential_id, entity, record_key, st_id, record, reasons) "
        "VALUES (:id, 'members_stream', CAST(:customer AS text), :customer, '{}', '{odd}')",
        id=kept.credential_id("acme"), customer=customer,
    )  # fmt: skip
    kept.change("DELETE FROM members_stream WHERE customer_id = :customer", customer=str(customer))
    (answer,) = command("rejects", "replay", "acme", "members_stream", "--json").json
    assert answer["results"] == [{"name": "members_stream", "tried": 1, "passed": 1, "older": 0, "still_failing": 0}]
    assert kept.value("SELECT count(*) FROM members_stream WHERE customer_id = :id", id=str(customer)) == 1


def test_our_own_new_rule_is_what_a_replay_checks_by(
    kept: Installation, command: Command, monkeypatch: pytest.MonkeyPatch
):
    """The reasons kept are today's: a fix that is none shows why."""
    customers = ENTITIES["customers"]
    stricter = _with_rule(customers, Rule("id is too high", "st_id", Severity.REJECT, maximum=1))
    with fixed(kept):
        monkeypatch.setattr("st_pipeline.operations.replay.LISTS", {**LISTS, "customers": stricter})
        said = command("rejects", "replay", "acme", "customers")
    assert _columns(said) == ["acme", "customers", "2", "0", "0", "2"]
    assert kept.rows("SELECT DISTINCT reasons FROM sync_rejects") == [(["id is too high"],)]


def test_a_busy_tenant_s_rejects_wait(kept: Installation, command: Command):
    with kept.held("acme"):
        said = command("rejects", "replay", "--all-tenants")
    assert (said.code, "acme: replay of rejects of tenant acme: the tenant is busy" in said.words) == (1, True)


def test_rejects_that_nobody_will_fix_are_dismissed(kept: Installation, command: Command):
    """Dismissed one by one or all of an entity, reopened, and the trail says who did it."""
    ((_, first), (_, new)) = kept.rows(OPEN)
    assert command("rejects", "dismiss", "acme", "customers", str(first)).out == "1 dismissed\n"
    assert command("rejects", "dismiss", "acme", "customers", str(first)).out == "0 dismissed\n"
    assert kept.rows(OPEN) == [("customers", new)]
    (row,) = command("rejects", "list", "--dismissed", "--json").json
    assert (row["st_id"], row["dismissed_at"] is not None) == (first, True)
    (answer,) = command("rejects", "replay", "acme", "--json").json
    assert answer["results"][0]["tried"] == 1  # the dismissed one rests
    (answer,) = command("rejects", "replay", "acme", "customers", str(first), "--json").json
    assert answer["results"][0]["tried"] == 1  # but not when it is named
    assert "dismissed at" in command("rejects", "show", "acme", "customers", str(first)).out
    said = command("rejects", "dismiss", "acme", "customers", "--all", "--yes", "--json")
    assert said.json == {"tenant": "acme", "entity": "customers", "changed": 1}
    assert command("rejects", "dismiss", "acme", "customers", "--all", "--undo").out == "2 reopened\n"
    assert len(kept.rows(OPEN)) == 2
    trail = kept.rows("SELECT action, details FROM audit_log WHERE action LIKE 'rejects.%' ORDER BY id")
    assert [action for action, _ in trail] == ["rejects.dismiss", "rejects.dismiss", "rejects.reopen"]
    assert trail[-1][1] == {"entity": "customers", "records": 2}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("list", "--tenant", "acm"), "unknown tenant 'acm'"),
        (("list", "--entity", "widgets"), "unknown entity 'widgets'"),
        (("replay",), "whose rejects?"),
        (("replay", "acme", "--all-tenants"), "whose rejects?"),
        (("replay", "acme", "widgets"), "unknown entity 'widgets'"),
        (("dismiss", "acme", "customers"), "which records?"),
        (("dismiss", "acme", "customers", "5", "--all"), "which records?"),
        (("dismiss", "acme", "customers", "--all"), "add --yes to do it"),
    ],
)
@pytest.mark.usefixtures("installation")
def test_wrong_use_is_one_line_and_exit_code_2(command: Command, arguments: tuple[str, ...], reason: str):
    assert_refused(command("rejects", *arguments), reason)


def _columns(said: Said) -> list[str]:
    """The last line of a table."""
    return said.out.splitlines()[-1].split()


def _with_rule(spec: EntitySpec, rule: Rule) -> EntitySpec:
    return dataclasses.replace(spec, rules=(*spec.rules, rule))
