"""`st-pipeline retention`: our tables and Dagster's, with what its runs wrote."""

import os
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import make_url, text

from st_pipeline.defs.storage import make_tables
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import Installation
from st_pipeline_tests.postgres.test_sync_figures import put_sync
from st_pipeline_tests.tenants import planted


def put_old_syncs(installation: Installation) -> None:
    """Two of them, of which a tenant keeps the newer."""
    tenant = planted.put_tenant(installation.engine, installation.settings)
    with installation.engine.begin() as connection:
        for days in (40, 35):
            put_sync(connection, tenant.credential_id, datetime.now(UTC) - timedelta(days=days))


@pytest.mark.usefixtures("dagster_storage")
def test_old_syncs_and_runs_go_with_what_the_runs_wrote(installation: Installation, command: Command):
    storage = make_url(os.environ["ST_PIPELINE_DAGSTER_STORAGE"])
    make_tables(storage)
    put_old_syncs(installation)
    with dg.DagsterInstance.get() as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.SUCCESS)
    written = installation.home / "storage" / run.run_id / "compute_logs"
    written.mkdir(parents=True)
    there = open_engine(storage.set(drivername=DRIVER))
    with there.begin() as connection:
        connection.execute(
            text("UPDATE runs SET end_time = extract(epoch FROM now()) - 15 * 86400 WHERE run_id = :run"),
            {"run": run.run_id},
        )
    said = command("retention", "--json")
    assert said.code == 0
    assert (said.json["deleted"]["sync_log"], said.json["complete"], said.json["skipped"]) == (1, True, [])
    with there.connect() as connection:
        held = text("SELECT count(*) FROM runs WHERE run_id = :run")
        assert connection.execute(held, {"run": run.run_id}).scalar_one() == 0
    there.dispose()
    assert not written.parent.exists()
    assert command("retention").out == "deleted: nothing is old enough\n"


def test_without_dagster_s_tables_only_ours_are_shortened(
    installation: Installation, command: Command, monkeypatch: pytest.MonkeyPatch
):
    put_old_syncs(installation)
    nowhere = make_url(os.environ["ST_PIPELINE_DAGSTER_STORAGE"]).set(database="made_up")
    monkeypatch.setenv("ST_PIPELINE_DAGSTER_STORAGE", nowhere.render_as_string(hide_password=False))
    assert command("retention", "--minutes", "1").out == "deleted: 1 sync log\n"
