"""One Dagster run, executed in this process in the instance that DAGSTER_HOME names.

Here: the run, from registering its partition to its end. Not here: the process around it (runs/).
"""

import contextlib
import os
import traceback

import dagster as dg

from st_pipeline.defs import assets, jobs, resources  # noqa: F401 - a server imports this once for all its processes
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import register_tenants
from st_pipeline.errors import PipelineError
from st_pipeline.postgres.database import database_errors, main_engine
from st_pipeline.runs.backend import Phase, RunState
from st_pipeline.runs.graphql import LOCATION, REPOSITORY
from st_pipeline.runs.run_request import RunRequest
from st_pipeline.settings import load_settings
from st_pipeline.validation import schema  # noqa: F401 - the same: pandas and pandera, which a sync imports late

# The UI finds the run's job by it; a run from Dagster's own queue has it already.
REPOSITORY_TAG = ".dagster/repository"


def make_run(request: RunRequest, run_id: str) -> RunState:
    """Execute the run and return its state; raises nothing."""
    try:
        doing = f"record the sync of {request.tenant} in Dagster's database"
        with database_errors(doing), dg.DagsterInstance.get() as instance:
            return _make(instance, request, run_id)
    except PipelineError as error:
        return RunState(Phase.FAILED, message=str(error))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the command that waits must hear of it
        with contextlib.suppress(OSError):  # the disk may be full
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}; the log of its process has the traceback"
        return RunState(Phase.FAILED, message=what)


def _make(instance: dg.DagsterInstance, request: RunRequest, run_id: str) -> RunState:
    from st_pipeline.defs.assembly import defs

    with main_engine(load_settings()) as engine:
        register_tenants(instance, engine)
    result = defs.resolve_job_def(request.job).execute_in_process(
        instance=instance,
        run_id=run_id,
        partition_key=request.tenant,
        asset_selection=[asset_key(entity) for entity in request.entities] or None,
        run_config=request.run_config,
        tags={**request.tags, REPOSITORY_TAG: f"{REPOSITORY}@{LOCATION}"},
        raise_on_error=False,
    )
    run = instance.get_run_by_id(run_id)
    return RunState(Phase.SUCCEEDED if result.success else Phase.FAILED, dict(run.tags) if run else {})


def note_crash(environment: dict[str, str], run_id: str, message: str) -> None:
    """Mark a run as failed whose process is gone; nothing else would. Raises DatabaseUnavailable."""
    os.environ.update({name: value for name, value in environment.items() if name not in os.environ})
    with database_errors(f"mark run {run_id} as failed"), dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, message)
