import pytest
from sqlalchemy import Engine, text

from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation


def test_a_company_is_added_once_and_may_be_added_again(command: Command, engine: Engine):
    arguments = ("companies", "add", "acme-plumbing", "--name", "Acme Plumbing", "--intacct-id", "C-1")
    first, second = command(*arguments), command(*arguments)
    assert (first.code, first.out) == (0, "company acme-plumbing added\n")
    assert (second.code, second.out) == (0, "company acme-plumbing exists with these values; nothing changed\n")
    other = command("companies", "add", "acme-plumbing", "--name", "Other")
    assert other.code == 2
    assert other.err.startswith("Error: company acme-plumbing already exists with name 'Acme Plumbing'")
    with engine.connect() as connection:
        trail = connection.execute(text("SELECT action, result, details FROM audit_log ORDER BY id")).all()
    details = {"company": "acme-plumbing", "name": "Acme Plumbing", "intacct_id": "C-1", "trade": None}
    assert trail[0] == ("companies.add", "done", details)
    assert [(action, result) for action, result, _ in trail[1:]] == [("companies.add", "refused")]
    assert trail[1].details["reason"].startswith("company acme-plumbing already exists with")


def test_a_malformed_slug_is_refused_before_the_database_is_asked(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    said = command("companies", "add", "Acme Plumbing", "--name", "Acme")
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "'Acme Plumbing' is not a valid company slug" in said.err


def test_companies_are_listed_for_people_and_for_machines(command: Command):
    assert command("companies", "list").out == "no company yet: add one with `st-pipeline companies add`\n"
    assert command("companies", "list", "--json").json == []
    command("companies", "add", "acme", "--name", "Acme [bold] :smile: " + "long name " * 12 + "end", "--trade", "hvac")
    listed = command("companies", "list")
    assert "[bold] :smile:" in listed.out
    assert max(map(len, listed.out.splitlines())) <= 80
    (company,) = command("companies", "list", "--json").json
    assert (company["slug"], company["trade"], company["intacct_id"], company["enabled"]) == (
        "acme",
        "hvac",
        None,
        True,
    )


def test_a_company_is_updated_and_disabled(command: Command, engine: Engine):
    command("companies", "add", "acme", "--name", "Acme")
    assert command("companies", "update", "acme", "--trade", "hvac", "--disable").out == "company acme updated\n"
    assert command("companies", "update", "acme", "--disable").out == "company acme: nothing changed\n"
    assert command("companies", "list", "--json").json[0]["enabled"] is False
    assert command("companies", "update", "acne", "--disable").code == 2
    with engine.connect() as connection:
        trail = connection.execute(text("SELECT action, result FROM audit_log ORDER BY id")).all()
    assert trail == [("companies.add", "done"), ("companies.update", "done"), ("companies.update", "refused")]


def test_an_unmigrated_database_says_what_to_run(
    command: Command, empty_engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", empty_engine.url.render_as_string(hide_password=False))
    said = command("companies", "list")
    assert said.code == 2
    assert said.err.endswith("run `st-pipeline migrate`\n")


def test_a_database_that_is_away_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:planted-password@127.0.0.1:1/nowhere")
    said = command("companies", "list")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "planted-password" not in said.err


def test_a_company_is_removed_once_it_has_no_credentials(installation: Installation, command: Command):
    installation.add("acme")
    refused = command("companies", "remove", "acme")
    assert_refused(
        refused, "company acme still has credentials: remove them first with `st-pipeline credentials remove"
    )
    assert command("credentials", "remove", "acme", "--yes").code == 0
    said = command("companies", "remove", "acme")
    assert (said.code, said.out) == (0, "company acme removed\n")
    assert command("companies", "list", "--json").json == []
    assert installation.rows("SELECT result FROM audit_log WHERE action = 'companies.remove' ORDER BY id") == [
        ("refused",), ("done",)
    ]  # fmt: skip
    assert_refused(command("companies", "remove", "acme"), "unknown company 'acme'")
