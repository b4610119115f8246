"""`st-pipeline logs`: one sync's story, by whichever id."""

import pytest

from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import Installation, widest

ODD = {"balance": "not a number"}


def test_a_sync_is_shown_by_each_of_its_ids(installation: Installation, command: Command):
    installation.add("acme", invoices=0)
    source = installation.sources["acme"]
    secret = source.patch("customers", source.ids("customers")[0], {**ODD, "name": "Nobody's Business"})["name"]
    source.fault("status", status=404, entity="memberships")
    result = installation.synced("acme", data_type="customers", incremental_only=False, batch_size=50)
    run = str(result.sync_id)
    installation.change("UPDATE servicetitan_sync_logs SET dagster_run_id = sync_id::text")  # as in a run

    said = command("logs", str(result.sync_log_id))
    assert said.code == 0
    assert widest(said.out) <= 80
    assert said.out.startswith(f"sync {result.sync_log_id} of acme: failed\n")
    assert "manual full sync of customers, batch_size 50" in said.words
    assert f"http://127.0.0.1:1/runs/{run}" in said.out
    assert "memberships: read the feed of memberships" in said.words
    assert "members_stream: members_stream of tenant acme: not tried, as memberships failed" in said.words
    assert ", 1 rejected" in said.words
    assert secret not in said.all
    assert command("logs", run).out == said.out

    (found,) = command("logs", run, "--json").json
    assert found["details"]["asked"]["batch_size"] == 50
    entities = {one["entity"]: one for one in found["entities"]}
    assert (entities["customers"]["status"], entities["customers"]["records_failed"]) == ("completed", 1)
    assert (entities["memberships"]["status"], entities["memberships"]["error_kind"]) == ("failed", "AddressUnknown")
    assert entities["members_stream"]["error_kind"] == "NotTried"
    assert found["dagster_run"].endswith(run)


def test_a_running_sync_is_shown_as_far_as_it_is(installation: Installation, command: Command):
    installation.add("acme")
    with installation.held("acme"):
        (log_id,) = installation.rows("SELECT id FROM servicetitan_sync_logs")[0]
        said = command("logs", str(log_id))
    assert said.out.startswith(f"sync {log_id} of acme: running\n")
    assert "none: a program started the sync" in said.out


@pytest.mark.parametrize("wanted", ["99", "9" * 30, "acme", "0e2d4b1c-1111-4222-8333-944455556666"])
@pytest.mark.usefixtures("installation")
def test_an_unknown_id_is_refused(command: Command, wanted: str):
    assert_refused(command("logs", wanted), f"no sync '{wanted}' in the log")
