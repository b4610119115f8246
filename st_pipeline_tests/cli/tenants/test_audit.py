"""The audit trail as people and machines read it, and that nobody can rewrite it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from st_pipeline.tenants import audit
from st_pipeline_tests.cli.conftest import Command, assert_refused


@pytest.fixture
def trail(engine: Engine) -> None:
    """Some rows, one of them a week old."""
    with engine.begin() as connection:
        for action, tenant, result in (
            ("credentials.add", "acme", "done"), ("credentials.test", "acme", "refused"),
            ("token.refresh", "other", "done"), ("companies.add", None, "failed"),
        ):  # fmt: skip
            details = {"reason": "a [long] story " * 8, "replace": False, "outcome": None}
            audit.record(connection, action, tenant=tenant, credential_id=7, result=result, details=details)  # type: ignore[arg-type]
        connection.execute(
            text("INSERT INTO audit_log (at, actor, origin, action, tenant, result) "
                 "VALUES (now() - interval '7 days', 'ann', 'host-1', 'keys.rotate', 'acme', 'done')")
        )  # fmt: skip


@pytest.mark.usefixtures("trail")
def test_the_trail_is_listed_newest_first_and_filtered(command: Command):
    people = command("audit", "list")
    assert people.code == 0
    heads = [line for line in people.out.splitlines() if not line.startswith(" ")]
    assert [head.split()[3] for head in heads] == [
        "keys.rotate", "companies.add", "token.refresh", "credentials.test", "credentials.add",
    ]  # fmt: skip
    assert max(map(len, people.out.splitlines())) <= 80
    assert f"by {audit.actor()}@" in people.out
    assert "reason: a [long] story a [long] story" in people.words
    assert "replace: no" in people.words
    assert "outcome" not in people.out

    def actions(*options: str) -> list[str]:
        return [row["action"] for row in command("audit", "list", "--json", *options).json]

    assert actions("--tenant", "acme") == ["keys.rotate", "credentials.test", "credentials.add"]
    assert actions("--action", "credentials") == ["credentials.test", "credentials.add"]
    assert actions("--action", "credentials.add") == ["credentials.add"]
    assert actions("--action", "rejects") == []
    unknown = command("audit", "list", "--action", "cred")
    assert_refused(unknown, "unknown action 'cred': did you mean credentials or credentials.add or ")
    assert actions("--since", "6d", "--tenant", "acme") == ["credentials.test", "credentials.add"]
    week_ago = datetime.now(UTC) - timedelta(days=8)
    assert len(actions("--since", week_ago.strftime("%Y-%m-%d"))) == 5
    assert len(actions("--since", week_ago.isoformat(timespec="minutes"))) == 5
    assert actions("--since", "30m", "--action", "keys") == []
    assert actions("--limit", "1") == ["keys.rotate"]
    assert "--limit shows more" in command("audit", "list", "--limit", "4").err
    assert command("audit", "list", "--limit", "5").err == ""
    row = command("audit", "list", "--json", "--action", "credentials.add").json[0]
    assert (row["tenant"], row["credential_id"], row["result"], row["details"]["replace"]) == ("acme", 7, "done", False)
    assert row["at"].endswith("+00:00")
    assert command("audit", "list", "--tenant", "nobody").out == "no row of the audit trail matches\n"


@pytest.mark.parametrize("since", ["yesterday", "7w", "2027-02-30", "999999d"])
def test_a_moment_that_is_none_is_refused(command: Command, since: str):
    said = command("audit", "list", "--since", since)
    assert (said.code, said.out) == (2, "")


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    "rewriting", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log",
                  "DELETE FROM audit_log WHERE false"]
)  # fmt: skip
def test_the_owner_of_the_table_cannot_rewrite_the_trail(engine: Engine, rewriting: str):
    with engine.connect() as connection:
        with pytest.raises(Exception, match="audit_log is append-only"):
            connection.execute(text(rewriting))
        connection.rollback()
        assert connection.execute(text("SELECT count(*) FROM audit_log")).scalar_one() == 5
