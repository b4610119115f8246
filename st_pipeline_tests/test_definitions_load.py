"""What Dagster is offered, word for word, and that offering it needs no settings, no database and no network.

A change of a name here is a change for whoever has a dashboard, an alert or a script on it.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import st_pipeline
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.defs.schedules import build_schedules
from st_pipeline.definitions import defs
from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError

ROOT = Path(st_pipeline.__file__).parent
# Loading takes 2.5 s of a core here; Dagster itself is half of it. Code servers, runs and commands all pay it.
LOADS_WITHIN_SECONDS = 20

LOAD = """
import json, sys, time
started = time.process_time()
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"loading the definitions calls {event}{arguments}")
sys.addaudithook(refuse)
import dagster as dg
from st_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs)
print(json.dumps({
    "assets": sorted(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()),
    "seconds": time.process_time() - started,
}))
"""


@pytest.mark.parametrize(
    "environment",
    [{}, {"DATABASE_URL": "postgresql://nobody:secret@192.0.2.1/nowhere"}],
    ids=["an empty environment", "a database that cannot be reached"],
)
def test_the_definitions_load_in_a_fresh_interpreter_and_contact_nothing(environment: dict[str, str], tmp_path: Path):
    assert list(tmp_path.iterdir()) == []  # no .env
    loaded = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", LOAD],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    said = json.loads(loaded.stdout)
    assert said["assets"] == sorted(f"servicetitan/{name}" for name in ENTITIES)
    assert said["seconds"] < LOADS_WITHIN_SECONDS
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_keeps_the_definitions_from_loading_with_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_TENANTS_PER_RUN", "many")
    with pytest.raises(ConfigurationError, match="ST_PIPELINE_TENANTS_PER_RUN") as caught:
        build_schedules()
    assert "\n" not in str(caught.value)


def test_no_module_that_dagster_reads_postpones_its_annotations():
    """Dagster reads them at run time: with the future import a code location does not load."""
    modules = [*(ROOT / "defs").glob("*.py"), ROOT / "definitions.py"]
    assert len(modules) > 10
    postponing = [
        module.name
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert postponing == []


def test_the_definitions_are_these():
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()} == {
        "servicetitan/membership_types": "memberships",
        "servicetitan/memberships": "memberships",
        "servicetitan/customers": "crm",
        "servicetitan/customer_contacts": "crm",
        "servicetitan/locations": "crm",
        "servicetitan/invoices": "accounting",
    }
    assert {definition.name for definition in defs.assets or [] if isinstance(definition, dg.AssetsDefinition)} == set()
    jobs = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs == {"incremental_sync", "full_sync", "incremental_poll"}
    assert {(s.name, s.job_name, s.cron_schedule, s.execution_timezone) for s in defs.schedules or []} == {
        ("poll_every_tenant", "incremental_poll", "*/5 * * * *", None),
        ("full_sync_every_night", "full_sync", "0 8 * * *", None),
    }
    assert [(s.name, s.job_name, s.minimum_interval_seconds) for s in defs.sensors or []] == [
        ("tenants_from_credentials", "full_sync", 30)
    ]
    partitions = {graph.get(key).partitions_def for key in graph.get_all_asset_keys()}
    assert partitions == {dg.DynamicPartitionsDefinition(name="tenants")}


def test_resources_are_of_the_types_that_the_assets_ask_for():
    """Dagster does not check: a wrong one would run until an attribute is missing."""
    assert {name: type(resource) for name, resource in (defs.resources or {}).items()} == {
        "postgres": Postgres,
        "servicetitan": ServiceTitan,
    }


def test_everything_runs_in_the_process_of_its_run():
    """A process a step costs 2.3 CPU seconds each; the default executor would take one."""
    jobs = defs.resolve_all_job_defs()
    assert {job.name: job.executor_def.name for job in jobs} == {job.name: "in_process" for job in jobs}


def test_schedules_and_sensor_run_without_anybody_switching_them_on():
    assert {s.default_status for s in defs.schedules or []} == {dg.DefaultScheduleStatus.RUNNING}
    assert {s.default_status for s in defs.sensors or []} == {dg.DefaultSensorStatus.RUNNING}


def test_the_times_of_the_schedules_are_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_INCREMENTAL_CRON", "*/15 * * * *")
    monkeypatch.setenv("ST_PIPELINE_FULL_CRON", "30 9 * * 0")
    assert [s.cron_schedule for s in build_schedules()] == ["*/15 * * * *", "30 9 * * 0"]


@pytest.mark.parametrize("name", ENTITIES)
def test_an_asset_tells_what_its_entity_is(name: str):
    spec, asset = ENTITIES[name], defs.resolve_asset_graph().get(asset_key(name))
    assert asset.description == spec.description != ""
    assert asset.owners == ["team:data-platform"]
    assert asset.kinds == {"postgres", "table"}
    assert {key.path[-1] for key in asset.parent_keys} == set(spec.after)
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(25)
    assert asset.code_version == str(spec.version)
    metadata: dict[str, Any] = dict(asset.metadata)
    assert metadata["dagster/table_name"] == spec.table
    assert metadata["scope"] == spec.scope
    columns = metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [
        (column.name, column.kind.value) for column in spec.columns
    ]
    assert [column.name for column in columns if not column.constraints.nullable] == ["st_id"]
    assert all(column.description for column in columns)


def test_the_launchpad_offers_these_options():
    (assets,) = [a for a in defs.resolve_all_asset_specs() if a.key == asset_key("customers")]
    assert assets.skippable  # a range run reports each tenant itself
    job = defs.resolve_job_def("incremental_sync")
    fields = job.run_config_schema.config_type.fields["ops"].config_type.fields["sync_tenants"].config_type.fields
    assert {name: field.description != "" for name, field in fields["config"].config_type.fields.items()} == {
        "mode": True,
        "modified_from": True,
        "modified_to": True,
        "batch_size": True,
        "rewrite": True,
        "allow_deletions": True,
    }


def test_workspace_and_dagster_name_the_same_module():
    workspace = (ROOT.parent / "workspace.yaml").read_text()
    assert "module_name: st_pipeline.definitions" in workspace
    assert "location_name: st_pipeline" in workspace
    assert os.access(ROOT.parent / "dagster.yaml", os.R_OK)
