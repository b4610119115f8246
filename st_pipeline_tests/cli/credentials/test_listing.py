"""What is shown of credentials, tests of all of them, and end dates. Never a secret."""

from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline_tests.acme import Acme
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.tenants import planted


@pytest.mark.usefixtures("acme")
def test_an_end_date_is_stated_shown_warned_of_and_taken_away(acme_command: Command):
    soon, late = (str((datetime.now(UTC) + timedelta(days=days)).date()) for days in (10, 300))
    said = acme_command("credentials", "update", "acme", "--expires-on", late)
    assert (said.code, said.out) == (0, "tenant acme: end date updated\n")
    assert "Warning" not in acme_command("credentials", "list").out
    assert (
        "no credential is known to expire within 30 days" in acme_command("credentials", "list", "--expiring", "30").out
    )
    acme_command("credentials", "update", "acme", "--expires-on", soon)
    listed = acme_command("credentials", "list")
    assert listed.code == 0
    assert f"Warning: acme: its client secret ends in 10 days, on {soon}:" in listed.words
    assert "st-pipeline credentials rotate-secret acme" in listed.words
    assert [t["tenant"] for t in acme_command("credentials", "list", "--expiring", "10", "--json").json] == ["acme"]
    assert acme_command("credentials", "list", "--expiring", "9", "--json").json == []
    shown = acme_command("credentials", "show", "acme", "--json").json
    assert (shown["expires_on"], shown["expires_in_days"]) == (soon, 10)
    acme_command("credentials", "disable", "acme")
    assert "Warning" not in acme_command("credentials", "list").out
    acme_command("credentials", "update", "acme", "--expires-on", "none")
    assert acme_command("credentials", "show", "acme", "--json").json["expires_on"] is None
    past = acme_command("credentials", "update", "acme", "--expires-on", "2020-01-31")
    assert (past.code, "2020-01-31 is in the past" in past.err) == (2, True)
    wrong = acme_command("credentials", "update", "acme", "--expires-on", "2027-02-30")
    assert (wrong.code, "or none" in wrong.err) == (2, True)
    nothing = acme_command("credentials", "update", "acme")
    assert (nothing.code, "nothing to change" in nothing.err) == (2, True)


def test_show_tells_everything_but_secrets(acme: Acme, acme_command: Command):
    fresh = acme_command("credentials", "show", "acme")
    assert (fresh.code, "never synced" in fresh.out, "unknown: no token" in fresh.words) == (0, True, True)
    acme.sync(only=("tag_types", "business_units"))
    with acme.syncing(only=("tag_types",)) as sync:
        shown = acme_command("credentials", "show", "acme", "--json").json
        people = acme_command("credentials", "show", "acme")
        list(sync.entities())
    assert shown["lease"]["holder_name"].startswith("manual ")
    assert "tn.crm.customers:r" in shown["scopes"]
    assert shown["last_sync"]["status"] == "running"
    assert shown["cursors"]["begun"] == 2
    assert shown["client_id"].startswith("cid.…")
    assert max(map(len, people.out.splitlines())) <= 80
    for words in ("enabled", "2 lists and streams begun", "Acme (acme), Intacct id INT-acme", "tn.crm.customers:r"):
        assert words in people.words
    assert "no sync is running" in acme_command("credentials", "show", "acme").out
    assert acme_command("credentials", "show", "acne").code == 2
    secrets = (acme.source.client_secret, acme.source.client_id, acme.source.app_key)
    planted.assert_nothing_planted(acme.engine, people.all, str(shown), secrets=secrets)


def test_every_tenant_is_tested_in_one_go(acme: Acme, acme_command: Command):
    assert acme_command("credentials", "test").code == 2
    assert acme_command("credentials", "test", "acme", "--all").code == 2
    good = acme_command("credentials", "test", "--all")
    assert (good.code, "acme" in good.out, "complete" in good.out) == (0, True, True)
    planted.put_tenant(acme.engine, acme.settings, planted.new_credential(company="other", tenant_id=77))
    off = planted.put_tenant(acme.engine, acme.settings, planted.new_credential(company="off", tenant_id=78))
    acme.execute("UPDATE servicetitan_credentials SET enabled = false WHERE id = :id", id=off.credential_id)
    said = acme_command("credentials", "test", "--all")
    assert said.code == 1
    assert "other: ServiceTitan does not know this client id and secret" in said.words
    assert "off" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    other = planted.put_tenant(acme.engine, acme.settings, planted.new_credential(company="odd", tenant_id=79))
    acme.execute("UPDATE servicetitan_credentials SET client_id = '\\x00' WHERE id = :id", id=other.credential_id)
    machines = acme_command("credentials", "test", "--all", "--json")
    assert machines.code == 1
    assert {d["tenant"]: d["verdict"] for d in machines.json} == {
        "acme": "complete", "odd": "not tested", "other": "wrong client id or secret",
    }  # fmt: skip
    acme.execute("UPDATE servicetitan_credentials SET enabled = false")
    assert acme_command("credentials", "test", "--all").code == 0


def test_a_running_sync_warns_once_a_day_of_keys_that_end(acme: Acme, capfd: pytest.CaptureFixture[str]):
    acme.execute("UPDATE servicetitan_credentials SET expires_on = current_date + 5")
    for _ in range(2):
        acme.sync(only=("tag_types",))
        acme.source.revoke_tokens()
    acme.settings = acme.settings.model_copy(update={"expiry_warning_days": 4})
    acme.execute("UPDATE servicetitan_credentials SET expiry_warned_at = NULL")
    acme.sync(only=("tag_types",))
    said = capfd.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "credential expires" in line]
    assert len(lines) == 1
    assert "days=5" in lines[0]
    assert acme.value("SELECT sum(refreshes) FROM token_refreshes") == 3
    assert acme.source.client_secret not in said.out + said.err
