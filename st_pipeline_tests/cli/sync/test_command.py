"""`st-pipeline sync`: whom it takes, what each option does, what it answers. Every sync is a real Dagster run."""

import pytest

from st_pipeline.cli.selection_options import entities
from st_pipeline.cli.sync.request import SyncRequest
from st_pipeline.postgres.scheduled_work import only_one
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.data_types import SYNCED, synced_by
from st_pipeline.tenants.selection import Selection
from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation, widest

RUNS = "SELECT dagster_run_id FROM servicetitan_sync_logs ORDER BY id"
QUICK = ("--entity", "tag_types")


def test_what_is_due_is_synced_as_the_schedules_do(installation: Installation, command: Command):
    installation.add("acme", "birch", "cedar", "dune")
    installation.change("UPDATE servicetitan_credentials SET connection_status = 'error' WHERE id = :id",
                id=installation.credential_id("cedar"))  # fmt: skip
    command("tenants", "pause", "dune", "--because", "moves house")
    planned = command("sync", "--dry-run", "-d", "customers", "--json").json["tenants"]
    assert [one["tenant"] for one in planned if one["would_sync"]] == ["acme", "birch"]
    for source in installation.sources.values():
        assert source.requests(reset=True)["total"] == 0

    said = command("sync", "--sync-type", "customers", "--json-output", "-e", "production")
    assert said.code == 0, said.all
    answer = said.json
    assert (answer["total_credentials"], answer["successful_syncs"], answer["failed_syncs"]) == (2, 2, 0)
    assert answer["execution_time_seconds"] > 0
    assert {one["tenant"]: one["reason"] for one in answer["not_selected"]} == {
        "cedar": "suspended: ServiceTitan refuses its credentials",
        "dune": "paused: moves house",
    }
    for one, plan in zip(sorted(answer["tenants"], key=lambda one: one["tenant"]), planned[:2], strict=True):
        tenant = one["tenant"]
        assert (one["status"], one["message"], one["failed_entities"]) == ("completed", None, [])
        assert installation.sources[tenant].requests()["total"] >= plan["requests_at_least"] > len(plan["entities"])
        logged = (
            "SELECT sync_type, mode, status, data_type, records_processed FROM servicetitan_sync_logs WHERE id = :id"
        )
        ((*how, processed),) = installation.rows(logged, id=one["sync_log_id"])
        assert how == ["scheduled", "incremental", "completed", "customers"]
        assert processed == one["records_processed"] > 0
        assert installation.differences(tenant, "customers", "locations", "memberships") == []
        run = installation.run_of(one["dagster_run_id"])
        assert (run.job_name, run.status.value) == ("incremental_sync", "SUCCESS")
        assert run.tags["st_pipeline/request"] == answer["request_id"]
        assert run.tags["dagster/partition"] == tenant
    assert answer["total_records_processed"] == sum(one["records_processed"] for one in answer["tenants"])
    assert set(installation.last_asked()["entities"]) == set(synced_by("customers"))

    again = command("process-scheduled-syncs", "-d", "customers")
    assert (again.code, installation.value("SELECT count(*) FROM servicetitan_sync_logs")) == (
        0,
        2,
    )  # nothing new, no row
    assert "2 tenants: 2 synced, 0 failed, 0 skipped; 0 records" in again.words
    assert widest(again.out) <= 80


def test_tenants_that_are_named_are_synced(installation: Installation, command: Command):
    """By each kind of name, with every option about how in as few runs as that takes."""
    installation.add("acme", "acme@integration", "birch", "cedar", "dune")
    command("tenants", "pause", "cedar")  # a sync by a person still works
    named = ("--tenant", "acme@integration", "--company-id", "INT-birch", "-c", "cedar")
    by_number = ("--credential-id", str(installation.credential_id("acme")))
    how = ("--mode", "full", "--rewrite", "--allow-deletions", "--batch-size", "7")
    said = command("sync", *named, *by_number, *QUICK, "--entity", "job_types", *how, "--json", "--max-concurrent", "4")
    assert said.code == 0, said.all
    assert {one["tenant"] for one in said.json["tenants"]} == {"acme", "acme@integration", "birch", "cedar"}
    logged = installation.rows(
        "SELECT DISTINCT sync_type, mode, data_type, details->'asked' FROM servicetitan_sync_logs"
    )
    asked = {"entities": ["tag_types", "job_types"], "rewrite": True, "allow_deletions": True, "batch_size": 7}
    assert logged == [("manual", "full", "only tag_types, job_types", asked)]
    assert installation.run_of(said.json["tenants"][0]["dagster_run_id"]).job_name == "full_sync"

    window = ("--modified-from", "2020-01-01", "--modified-to", "2035-01-01T00:00:00+02:00")
    said = command("sync", "-c", "acme", "-e", "integration", "-d", "both", "--entity", "customers", *window)
    assert said.code == 0, said.all
    assert said.out.startswith("acme@integration: completed, ")
    assert installation.last_asked() == {
        "entities": ["customers"],
        "modified_from": "2020-01-01T00:00:00+00:00",
        "modified_to": "2035-01-01T00:00:00+02:00",
    }
    assert installation.differences("acme@integration", "customers") == []
    assert installation.value("SELECT mode FROM servicetitan_sync_logs ORDER BY id DESC") == "window"


def test_a_dry_run_says_which_tenants_why_and_from_where_and_contacts_nobody(
    installation: Installation, command: Command
):
    installation.add("acme", "birch")
    installation.synced("acme")
    installation.sources["acme"].requests(reset=True)
    command("tenants", "schedule", "acme", "--every", "1440")
    said = command("sync", "--dry-run")
    assert said.code == 0
    assert widest(said.out) <= 80
    assert said.out.startswith("acme: skipped: not due before ")
    assert "birch: due: never synced, at least " in said.out
    command("tenants", "schedule", "acme", "--every", "default")
    installation.change("UPDATE tenant_polls SET due_at = now()")
    plans = {one["tenant"]: one for one in command("sync", "--dry-run", "--json").json["tenants"]}
    entities = {one["entity"]: one for one in plans["acme"]["entities"]}
    assert entities["customers"]["from"].startswith("a feed token of 20")
    assert entities["call_reasons"] == {
        "entity": "call_reasons", "mode": "incremental", "from": "skipped: polled recently", "requests": 0,
    }  # fmt: skip
    assert {one["from"] for one in plans["birch"]["entities"]} == {"the beginning"}
    assert plans["birch"]["requests_at_least"] > plans["acme"]["requests_at_least"] > 0
    full = command("sync", "--dry-run", "-c", "acme", "--force-full-sync", "--json").json["tenants"]
    assert (full[0]["reason"], full[0]["entities"][0]["mode"]) == ("named", "full")
    assert installation.sources["acme"].requests()["total"] + installation.sources["birch"].requests()["total"] == 0
    assert installation.value("SELECT count(*) FROM servicetitan_sync_logs") == 1


def test_what_is_due_is_claimed_and_then_due_at_its_next_time(installation: Installation, command: Command):
    """By the statement by which workers claim, so that a crontab and Dagster do not poll a tenant twice."""
    installation.add("acme", "birch", customers=0, invoices=0)
    installation.synced("acme", "birch")
    installation.change(
        "INSERT INTO tenant_polls (credential_id, due_at) SELECT id, now() FROM servicetitan_credentials"
    )
    taken = "UPDATE tenant_polls SET claimed_by = gen_random_uuid(), claimed_until = now() + interval '1 hour' "
    installation.change(f"{taken} WHERE credential_id = :id", id=installation.credential_id("birch"))
    said = command("sync", "--json").json
    assert [one["tenant"] for one in said["tenants"]] == ["acme"]
    assert {one["tenant"]: one["reason"] for one in said["not_selected"]} == {"birch": "being polled"}
    acme = "SELECT due_at > now(), claimed_by, polled_at IS NOT NULL FROM tenant_polls WHERE credential_id = :id"
    assert installation.rows(acme, id=installation.credential_id("acme")) == [(True, None, True)]
    assert command("sync").out.startswith("acme: skipped: not due before ")


def test_a_busy_tenant_is_skipped_by_what_is_due_and_named_in_vain(installation: Installation, command: Command):
    """Two copies of a line of a crontab do no harm; a person hears who has the tenant."""
    installation.add("acme")
    with installation.held("acme"):
        due = command("sync", *QUICK)
        named = command("sync", "acme", *QUICK, "--json")
    assert (due.code, due.words.partition(" manual")[0]) == (0, "acme: skipped: busy with another sync,")
    assert "1 tenant: 0 synced, 0 failed, 1 skipped" in due.words
    assert (named.code, named.json["failed_syncs"]) == (1, 1)
    assert "the tenant is busy with another run" in named.json["tenants"][0]["message"]


def test_a_second_command_that_does_what_is_due_ends_at_once(installation: Installation, command: Command):
    """A crontab starts the next although the last has not ended; more and more of them would run."""
    installation.add("acme")
    line = ("sync", "-d", "customers", "--mode", "full")
    first = SyncRequest(Selection(), SyncConfiguration(data_type="customers", incremental_only=False)).work
    with only_one(installation.engine, first):
        second, for_machines = command(*line), command(*line, "--json")
        assert (second.code, "another `st-pipeline sync` is doing the same" in second.words) == (0, True)
        assert (for_machines.code, for_machines.json["already_running"]) == (0, True)
        assert for_machines.json["total_credentials"] == 0
        assert installation.value("SELECT count(*) FROM servicetitan_sync_logs") == 0
        assert command(*line, "--dry-run", "--json").json["tenants"][0]["would_sync"]
        named = command("sync", "-c", "acme", *QUICK, "--json")
        assert (named.code, named.json["successful_syncs"]) == (0, 1)
    done = command("sync", *QUICK, "--json").json
    assert (done["already_running"], done["successful_syncs"]) == (False, 1)


def test_a_disabled_tenant_is_skipped_and_named_as_such(installation: Installation, command: Command):
    installation.add("acme", "acme@integration")
    installation.change("UPDATE servicetitan_credentials SET enabled = false")
    said = command("sync", "-c", "acme")
    assert (said.code, said.out) == (
        0, "acme: skipped: disabled\nacme@integration: skipped: disabled\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--tenant", "acm"), "unknown tenant 'acm': did you mean acme"),
        (("acm",), "unknown tenant 'acm': did you mean acme"),
        (("-c", "birch"), "unknown company 'birch'"),
        (("--company-id", "INT-9"), "unknown Intacct id 'INT-9'"),
        (("--credential-id", "99"), "unknown credential id '99'"),
        (("-c", "acme", "-e", "integration"), "none of the named tenants is in environment integration"),
        (("--entity", "widgets"), "unknown entity 'widgets': take one of tag_types, "),
        (
            ("-d", "invoices", "--entity", "customers"),
            "entity customers is not part of data type invoices, which means invoices, payments",
        ),
        (("--mode", "window"), "--mode window needs --modified-from or --modified-to"),
        (("--mode", "full", "--modified-from", "2026-01-01"), "no other mode takes them; the mode is full"),
        (("--force-full-sync", "--mode", "incremental"), "--force-full-sync means --mode full"),
        (("--modified-from", "yesterday"), "--modified-from is not a valid time"),
        (("--modified-from", "2026-01-01T00:00:00"), "has no zone"),
        (("--modified-from", "2026-02-01", "--modified-to", "2026-01-01"), "ends (2026-01-01T00:00:00+00:00) before"),
        (("--allow-deletions",), "--allow-deletions is for full syncs"),
        (("--no-wait",), "--no-wait needs a running Dagster"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    installation: Installation, command: Command, arguments: tuple[str, ...], reason: str
):
    installation.add("acme")
    assert_refused(command("sync", *arguments), reason)
    assert installation.value("SELECT count(*) FROM servicetitan_sync_logs") == 0


@pytest.mark.parametrize("option", ["--max-concurrent", "--batch-size", "--timeout"])
def test_numbers_that_mean_nothing_are_refused(unconnected: Command, option: str):
    assert unconnected("sync", option, "0").code == 2


@pytest.mark.usefixtures("installation")
def test_no_tenant_to_sync_is_not_a_failure(command: Command):
    said = command("sync")
    assert (said.code, said.out) == (0, "no tenant to sync: add one with `st-pipeline credentials add`\n")


def test_a_project_without_dagster_yaml_is_named(
    installation: Installation, command: Command, monkeypatch: pytest.MonkeyPatch
):
    installation.add("acme")
    monkeypatch.setenv("DAGSTER_HOME", str(installation.home / "elsewhere"))
    assert_refused(command("sync", "-c", "acme"), "no dagster.yaml in")


def test_every_entity_can_be_named():
    """What completion offers is what the option takes."""
    assert [item.value for item in entities(None, None, "")] == list(SYNCED)  # type: ignore[arg-type]
