"""What Dagster is offered, word for word, and that offering it needs no settings, no database and no network.

A change of a name here is a change for whoever has a dashboard, an alert or a script on it.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import st_pipeline
from st_pipeline.defs.assets import build_assets
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.schedules import build_schedules
from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError

ROOT = Path(st_pipeline.__file__).parent
# 2.5 to 3 s of a core, half of it Dagster's own. Every code server and every run pays it.
LOADS_WITHIN_SECONDS = 15

LOAD = """
import json, sys, time
started = time.process_time()

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        sys.exit(f"loading the definitions calls {event}{arguments}")

sys.addaudithook(refuse)
import dagster as dg
from st_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs)
graph, jobs = defs.resolve_asset_graph(), defs.resolve_all_job_defs()
print(json.dumps({
    "seconds": time.process_time() - started,
    "assets": {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()},
    "partitions": sorted({graph.get(key).partitions_def.name for key in graph.get_all_asset_keys()}),
    "jobs": {job.name: [op.name for op in job.graph.nodes] for job in jobs},
    "executors": sorted({job.executor_def.name for job in jobs}),
    "schedules": {s.name: [s.job_name, s.cron_schedule, s.default_status.value] for s in defs.schedules},
    "sensors": {
        s.name: [s.job_name if s.targets else None, s.minimum_interval_seconds, s.default_status.value]
        for s in defs.sensors
    },
    "resources": {name: f"{type(r).__module__}.{type(r).__name__}" for name, r in defs.resources.items()},
}))
"""


def loaded(folder: Path, **environment: str) -> dict[str, Any]:
    """What a fresh interpreter loads in this folder with nothing but this environment."""
    assert list(folder.iterdir()) == []  # no .env
    said = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert list(folder.iterdir()) == []
    return dict(json.loads(said.stdout))


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The definitions as they load with no settings at all."""
    return loaded(tmp_path_factory.mktemp("empty"))


def test_the_definitions_are_these(offered: dict[str, Any]):
    assert {name: value for name, value in offered.items() if name != "seconds"} == {
        "assets": {
            "servicetitan/business_units": "reference",
            "servicetitan/technicians": "reference",
            "servicetitan/tag_types": "reference",
            "servicetitan/call_reasons": "reference",
            "servicetitan/campaigns": "reference",
            "servicetitan/custom_fields": "reference",
            "servicetitan/membership_types": "reference",
            "servicetitan/memberships": "customers",
            "servicetitan/customers": "customers",
            "servicetitan/customer_contacts": "customers",
            "servicetitan/locations": "customers",
            "servicetitan/location_contacts": "customers",
            "servicetitan/job_types": "reference",
            "servicetitan/jobs": "jobs",
            "servicetitan/appointments": "work",
            "servicetitan/estimates": "work",
            "servicetitan/invoices": "work",
            "servicetitan/payments": "work",
            "servicetitan/equipment": "work",
            "servicetitan/members_stream": "streams",
            "servicetitan/invoices_stream": "streams",
            "servicetitan/tenant": "tenants",
        },
        "partitions": ["tenants"],
        # One step, whatever the number of entities; and in the run's own process: a process a step costs 2.3 CPU s.
        "jobs": {
            "__ASSET_JOB": ["sync_tenants"],
            "incremental_sync": ["sync_tenants"],
            "full_sync": ["sync_tenants"],
            "incremental_poll": ["poll_tenants"],
            "changed_checks": ["show_changed_checks"],
            "reconciliation": ["reconcile_tenants"],
            "retention": ["delete_old_history"],
            "nightly_full_sync": ["sync_planned_tenants"],
        },
        "executors": ["in_process"],
        # Running without anybody switching them on.
        "schedules": {
            "poll_every_tenant": ["incremental_poll", "*/5 * * * *", "RUNNING"],
            "check_every_tenant": ["changed_checks", "*/5 * * * *", "RUNNING"],
            "reconcile_every_tenant": ["reconciliation", "*/5 * * * *", "RUNNING"],
            "retention_every_day": ["retention", "30 12 * * *", "RUNNING"],
            "full_sync_every_night": ["nightly_full_sync", "0 2 * * *", "RUNNING"],
            "rest_of_the_night": ["nightly_full_sync", "*/5 * * * *", "RUNNING"],
        },
        "sensors": {"tenants_from_credentials": ["full_sync", 30, "RUNNING"], "alerts": [None, 60, "RUNNING"]},
        # Dagster does not check their types: a wrong one would run until an attribute is missing.
        "resources": {
            "postgres": "st_pipeline.defs.resources.Postgres",
            "servicetitan": "st_pipeline.defs.resources.ServiceTitan",
        },
    }


def test_loading_is_quick(offered: dict[str, Any]):
    assert offered["seconds"] < LOADS_WITHIN_SECONDS


def test_loading_asks_no_database(tmp_path: Path):
    """192.0.2.1 is nobody's: whoever connected would wait for ever, and the hook would see it first."""
    assert loaded(tmp_path, DATABASE_URL="postgresql://nobody:secret@192.0.2.1/nowhere")["assets"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ST_PIPELINE_NIGHT_WORKERS", "many"),
        ("ST_PIPELINE_INCREMENTAL_CRON", "every five minutes"),
        ("ST_PIPELINE_FULL_CRON", "61 8 * * *"),
        ("ST_PIPELINE_TIME_ZONE", "America/Springfield"),
    ],
)
def test_a_wrong_setting_keeps_the_definitions_from_loading_with_one_line_that_names_it(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        build_schedules()
    assert "\n" not in str(caught.value)


def test_the_times_of_the_schedules_are_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_PIPELINE_INCREMENTAL_CRON", "*/15 * * * *")
    monkeypatch.setenv("ST_PIPELINE_FULL_CRON", "30 9 * * 0")
    assert [schedule.cron_schedule for schedule in build_schedules()][:2] == ["*/15 * * * *", "30 9 * * 0"]


def test_the_nightly_full_sync_is_at_two_in_the_time_zone_of_the_settings(monkeypatch: pytest.MonkeyPatch):
    assert [(one.cron_schedule, one.execution_timezone) for one in build_schedules()][:2] == [
        ("*/5 * * * *", "America/Chicago"), ("0 2 * * *", "America/Chicago"),
    ]  # fmt: skip
    monkeypatch.setenv("ST_PIPELINE_TIME_ZONE", "Europe/Berlin")
    assert {schedule.execution_timezone for schedule in build_schedules()} == {"Europe/Berlin"}


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


@pytest.mark.parametrize("name", ENTITIES)
def test_an_asset_tells_what_its_entity_is(name: str):
    spec = ENTITIES[name]
    (asset,) = [asset for asset in build_assets().specs if asset.key == asset_key(name)]
    assert asset.description == spec.description != ""
    assert asset.owners == ["team:data-platform"]
    assert asset.kinds == {"postgres", "table"}
    assert asset.skippable  # a run over a range reports each tenant itself
    assert {dependency.asset_key for dependency in asset.deps} == {asset_key(other) for other in spec.depends_on}
    assert asset.code_version == str(spec.version)
    assert asset.metadata["dagster/table_name"] == spec.table
    assert asset.metadata["scope"].split(", ") == list(spec.scopes)
    columns = asset.metadata["dagster/column_schema"].columns
    own = [(column.name, column.kind.value, column.comment) for column in spec.columns]
    shown = [(column.name, column.type, column.description) for column in columns]
    assert (shown[0][0], shown[1 : len(own) + 1]) == ("credential_id", own)


def test_a_backfill_takes_25_tenants_a_run_and_any_of_the_entities():
    assets = build_assets()
    assert assets.backfill_policy == dg.BackfillPolicy.multi_run(25)
    assert assets.can_subset


def test_a_sync_that_may_succeed_later_is_tried_again_in_minutes():
    policy = build_assets().op.retry_policy
    assert policy == dg.RetryPolicy(
        max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
    )
