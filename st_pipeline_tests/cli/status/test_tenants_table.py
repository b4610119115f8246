"""`st-pipeline sync-status` over many tenants: one screen, the worst first, each cause once."""

import json

from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import Installation, widest
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

WELL = 45


def many(installation: Installation) -> None:
    """A paused tenant, a late one, and many that are well."""
    assert installation.settings is not None
    for number in range(WELL + 2):
        put_tenant(
            installation.engine, installation.settings, new_credential(company=f"c{number:02}", tenant_id=number + 1)
        )
    installation.change("UPDATE servicetitan_credentials SET connection_status = 'connected', last_sync_at = now()")
    installation.change(
        "INSERT INTO tenant_polls (credential_id, due_at, polled_at) "
        "SELECT id, now() + interval '4 minutes', now() FROM servicetitan_credentials"
    )
    installation.change(
        "UPDATE tenant_polls SET due_at = now() - interval '30 hours' WHERE credential_id = "
        "(SELECT credential_id FROM tenants WHERE partition_key = 'c30')"
    )


def test_a_desk_of_many_tenants_shows_the_worst_first_and_counts_the_rest(installation: Installation, command: Command):
    many(installation)
    command("tenants", "pause", "c20", "--because", "moves house")
    said = command("sync-status", "--limit", "10")
    lines = said.out.splitlines()
    assert said.code == 0
    assert widest(said.out) <= 80
    assert lines[0].split()[:2] == ["tenant", "state"]
    assert lines[1].split()[:2] == ["c30", "late"]
    assert "30 h" in lines[1]
    assert lines[2].split()[:3] == ["c20", "not", "synced"]
    assert f"and {WELL - 8} tenants more, all well" in said.words
    assert said.words.count("moves house") == 1
    assert "c20: paused: moves house -> st-pipeline tenants resume c20" in said.words
    assert "c30: its poll is due and nobody takes it [everything] -> st-pipeline doctor" in said.words
    told = command("sync-status", "--json").json["tenants"]
    assert [one["tenant"] for one in told[:2]] == ["c30", "c20"]
    assert len(told) == WELL + 2
    assert told[1]["causes"][0]["to_do"] == "st-pipeline tenants resume c20"
    found = [one for one in command("doctor", "--json").json if one["check"].startswith("tenant")]
    assert [(one["check"], one["finding"]) for one in found] == [("tenants", "47 of 47 connected")]
    one_line = command("sync-status", "--json-lines").out.splitlines()
    assert len(one_line) == 1
    assert len(json.loads(one_line[0])["tenants"]) == WELL + 2


def test_without_a_tenant_it_says_how_to_add_one(installation: Installation, command: Command):
    assert installation.settings is None or not installation.rows("SELECT 1 FROM tenants")
    assert "no tenant yet: add one with `st-pipeline credentials add`" in command("sync-status").words
