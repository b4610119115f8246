"""`st-pipeline explain`: one answer for people, one for machines, and never a value of the record."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from st_pipeline.settings import Settings
from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.explained import UNREADABLE, Company
from st_pipeline_tests.onboarding import SyncedCompany

WIDTH = 80


@pytest.fixture
def acme(synced_company: Callable[..., SyncedCompany]) -> Iterator[Company]:
    """Synced once."""
    with synced_company(customers=6, invoices=6, seed=5).copied() as copy:
        yield Company(*copy)


@pytest.fixture
def engine(acme: Company) -> Engine:
    """The command works on its database."""
    return acme.engine


@pytest.fixture
def settings(acme: Company, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """And with its keys; it reads the simulator's address from the environment."""
    monkeypatch.setenv("ST_PIPELINE_PRODUCTION_API_URL", acme.source.url)
    return acme.settings


def texts(value: Any) -> Iterator[str]:
    """Every text in a record."""
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from texts(one)
        case list():
            for one in value:
                yield from texts(one)


def test_a_person_reads_what_became_of_it_where_it_was_seen_and_what_to_do(acme: Company, command: Command):
    customer = acme.customer()
    said = command("explain", "acme", "customers", str(customer))
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"customers {customer} of acme: present\n")
    facts = acme.explain("customers", customer).facts
    assert facts.written_by is not None
    assert facts.written_by.sync_id in said.out
    assert "Dagster run" not in said.out
    assert "members_stream" in said.out
    assert said.words.endswith("Next: nothing; to compare with ServiceTitan, add --ask.")


def test_every_state_fits_80_columns_and_shows_nothing_of_the_record(acme: Company, command: Command):
    present, outdated, deleted = (acme.customer(position) for position in range(3))
    invoice, contact = acme.source.ids("invoices")[0], acme.source.ids("customer_contacts")[0]
    records = [acme.source.record("customers", st_id) for st_id in (present, outdated, deleted)]
    records += [acme.source.record("invoices", invoice), acme.source.record("customer_contacts", contact)]
    rejected = acme.add("customers", present, **UNREADABLE)
    acme.source.patch("customers", outdated, UNREADABLE)
    acme.source.delete("customers", deleted)
    acme.source.fault("status", status=400, entity="locations")
    acme.sync()
    acme.execute("UPDATE servicetitan_sync_logs SET dagster_run_id = gen_random_uuid()")
    asked = [("customers", st_id) for st_id in (present, outdated, deleted, rejected, 1)]
    asked += [("members_stream", st_id) for st_id in (present, outdated, deleted, rejected, 1)]
    asked += [("invoices_stream", invoice), ("customer_contacts", contact), ("locations", 1)]
    secrets = {text for record in records for text in texts(record) if len(text) > 3 and not text[:4].isdigit()}
    verdicts = set()
    for entity, st_id in asked:
        said = command("explain", "acme", entity, str(st_id))
        assert max(map(len, said.out.splitlines())) <= WIDTH
        machine = command("explain", "acme", entity, str(st_id), "--json")
        verdicts.add(machine.json["verdict"])
        shown = said.all + machine.all
        assert [text for text in secrets if text in shown and text not in ("Residential", "Phone", "Email")] == []
    assert len(verdicts) == 5


def test_a_machine_reads_the_same(acme: Company, command: Command):
    customer = acme.customer()
    found = command("explain", "acme", "members_stream", str(customer), "--json").json
    facts = acme.explain("members_stream", customer).facts
    assert (found["tenant"], found["entity"], found["st_id"]) == ("acme", "members_stream", customer)
    assert (found["verdict"], found["reject"], found["asked"]) == ("present", None, None)
    assert found["written_by"]["sync_id"] == found["record"]["import_id"]
    assert found["source"]["entity"] == "customers"
    assert found["source"]["row"]["local_synced_at"].endswith("+00:00")
    assert found["cursor"]["last_polled_at"] == facts.cursor.last_polled_at.isoformat()  # type: ignore[union-attr]
    assert "continue_from" not in found["source"]["cursor"]


def test_servicetitan_is_asked_only_when_told_to(acme: Company, command: Command):
    customer = acme.customer()
    acme.source.requests(reset=True)
    command("explain", "acme", "customers", str(customer))
    assert acme.source.requests()["total"] == 0
    same = command("explain", "acme", "customers", str(customer), "--ask")
    assert (same.code, acme.source.requests()["total"]) == (0, 1)
    assert "nothing: ServiceTitan has the same version" in same.words
    new = acme.add("customers", customer)
    assert "a poll may miss it: a full sync" in command("explain", "acme", "customers", str(new), "--ask").words
    acme.source.patch("customers", new, {"active": True})
    assert "the next poll brings" in command("explain", "acme", "members_stream", str(new), "--ask").words
    acme.source.patch("customers", customer, {"active": False})
    found = command("explain", "acme", "customers", str(customer), "--ask", "--json").json
    assert found["asked"]["found"]
    acme.source.delete("customers", customer)
    gone = command("explain", "acme", "customers", str(customer), "--ask")
    assert "does not have it, in any state" in gone.words


def test_servicetitan_that_does_not_answer_is_exit_code_1(acme: Company, command: Command):
    acme.source.fault("status", status=500)
    said = command("explain", "acme", "customers", "1", "--ask")
    assert (said.code, said.out) == (1, "")
    assert "look up customers by id for tenant acme" in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("acm", "customers", "1"), "unknown tenant 'acm'"),
        (("acme", "widgets", "1"), "unknown entity 'widgets': take one of tag_types, "),
        (("acme", "customers", "INV-1"), "'INV-1' is not a valid id"),
        (("acme", "customers", "0"), "'0' is not a valid id"),
        (("acme", "customers", "²"), "is not a valid id"),
        (("acme", "customers", str(2**63)), "is not a valid id"),
        (("acme", "customer_contacts", "1", "--ask"), "cannot be asked for customer_contacts by id"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(command: Command, arguments: tuple[str, ...], reason: str):
    assert_refused(command("explain", *arguments), reason)


def test_explaining_pays_for_no_dataframe_and_no_client(variables: dict[str, str]):
    """Pandas alone costs 0.9 s; who asks about a record waits for it."""
    heavy = ("pandas", "pandera", "pyarrow", "dagster", "httpx")
    code = (
        "import sys; from st_pipeline.cli import run; code = run(['explain', 'acme', 'customers', '1', '--json']); "
        f"print(code, [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True)
    answer, *heavy_ones = done.stdout.decode().rpartition("\n0 ")
    assert json.loads(answer)["verdict"] == "absent"
    assert heavy_ones == ["\n0 ", "[]\n"]
