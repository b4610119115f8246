"""`st-pipeline reconcile` over two companies, one of which lost a row that no sync noticed."""

from pathlib import Path

import pytest

from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation, widest

ENTITY = "customers"
READ = ("tag_types", ENTITY)


@pytest.fixture
def two(installation: Installation) -> tuple[Installation, int]:
    """Two companies, and the customer that is missing from the tables of `bolt`."""
    installation.add("acme", "bolt")
    installation.synced("acme", "bolt", only=READ)
    lost = min(installation.sources["bolt"].ids(ENTITY))
    installation.change(
        "DELETE FROM st_customers WHERE st_id = :id AND credential_id = :bolt",
        id=lost,
        bolt=installation.credential_id("bolt"),
    )
    return installation, lost


def test_only_the_company_that_lost_a_row_is_reported_and_its_repair_is_kept(
    two: tuple[Installation, int], command: Command, tmp_path: Path
):
    installation, lost = two
    said = command("reconcile", "--all", "--entity", ENTITY)
    assert said.code == 1, said.all
    assert "acme: equal" in said.out
    assert "bolt: differs" in said.out
    assert f"customers {lost}: missing here" in said.out
    assert widest(said.out) <= 80
    assert installation.rows("SELECT verdict FROM reconciliations ORDER BY id") == [("equal",), ("differs",)]

    repaired = command("reconcile", "bolt", "--entity", ENTITY, "--repair", "--json")
    assert repaired.code == 0, repaired.all
    (tenant,) = repaired.json["tenants"]
    (entity,) = tenant["entities"]
    assert (repaired.json["verdict"], entity["missing"], entity["repaired"], entity["left"]) == ("repaired", 1, 1, 0)
    assert repaired.json["requests"] == entity["requests"] > 0
    assert installation.differences("bolt", ENTITY) == []

    page = tmp_path / "report.html"
    last = command("reconcile", "--all", "--last", "--html", str(page), "--json")
    assert last.code == 0
    assert [one["verdict"] for one in last.json["tenants"]] == ["equal", "repaired"]
    assert last.json["tenants"][1]["entities"] == tenant["entities"]
    assert "fetched again" in page.read_text()


def test_values_are_shown_only_to_whom_asks_for_them_and_never_kept(two: tuple[Installation, int], command: Command):
    installation, lost = two
    installation.synced("bolt", only=READ, incremental_only=False)
    installation.change("UPDATE st_customers SET name = 'Nobody Known' WHERE st_id = :id", id=lost)
    asked = ("reconcile", "-c", "bolt", "--entity", ENTITY, "--deep")
    quiet, told = command(*asked, "--json"), command(*asked, "--show-values", "--json")
    assert "Nobody Known" not in quiet.all
    (difference,) = quiet.json["tenants"][0]["entities"][0]["differences"]
    assert difference == {"id": lost, "kind": "different", "fields": ["name"], "is_left": True}
    (difference,) = told.json["tenants"][0]["entities"][0]["differences"]
    assert difference["values"]["name"]["here"] == "Nobody Known"
    assert "name: here 'Nobody Known', there" in command(*asked, "--show-values").out
    assert "Nobody" not in str(installation.rows("SELECT document FROM reconciliation_entities"))
    assert "Nobody" not in str(installation.rows("SELECT details FROM servicetitan_sync_logs"))


def test_a_tenant_that_cannot_be_opened_is_incomplete_and_the_other_is_compared(
    two: tuple[Installation, int], command: Command
):
    installation, _ = two
    installation.change(
        "UPDATE servicetitan_credentials SET client_secret = client_secret || '\\x00', access_token = NULL "
        "WHERE id = :acme",
        acme=installation.credential_id("acme"),
    )
    said = command("reconcile", "--all", "--entity", ENTITY, "--json")
    assert [one["verdict"] for one in said.json["tenants"]] == ["incomplete", "differs"]
    assert "does not open" in said.json["tenants"][0]["error"] or "decrypt" in said.json["tenants"][0]["error"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "name the tenants to reconcile"),
        (("--all", "-c", "acme"), "not both"),
        (("--all", "--entity", "invoice"), "there is no such entity"),
        (("--all", "--from", "soon"), "--from is not a valid time"),
        (("--all", "--from", "2026-02-01", "--to", "2026-01-01"), "--from must be before --to"),
        (("--all", "--html", "/nowhere/report.html"), "its folder does not exist"),
    ],
)
def test_wrong_use_is_refused_before_anybody_is_asked(unconnected: Command, options: tuple[str, ...], reason: str):
    assert_refused(unconnected("reconcile", *options), reason)


def test_a_company_that_was_never_reconciled_has_no_last_result(installation: Installation, command: Command):
    installation.add("acme")
    assert_refused(command("reconcile", "--all", "--last"), "was ever reconciled")
