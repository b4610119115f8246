"""A run made in this process, in the instance that DAGSTER_HOME names.

Here: one run, from the partition to its end. Not here: the process around it (child_order.py), what a run does
(materialize.py).
"""

import contextlib
import os
import traceback

import dagster as dg

from st_pipeline.defs import assets, jobs, resources  # noqa: F401 - a server imports this once for all its processes
from st_pipeline.defs.metadata import asset_key
from st_pipeline.defs.partitions import register_tenants
from st_pipeline.errors import PipelineError
from st_pipeline.postgres.database import database_errors, main_url, open_engine
from st_pipeline.runs.backend import Phase, RunState, WantedRun
from st_pipeline.runs.graphql import LOCATION, REPOSITORY
from st_pipeline.settings import load_settings

# By this the UI knows whose job it was; a run from its own queue has it from the queue.
REPOSITORY_TAG = ".dagster/repository"


def make_run(wanted: WantedRun, run_id: str) -> RunState:
    """Make the run and say what became of it; raises nothing."""
    try:
        doing = f"note in Dagster's database how the sync of {wanted.tenant} goes"
        with database_errors(doing), dg.DagsterInstance.get() as instance:
            return _make(instance, wanted, run_id)
    except PipelineError as error:
        return RunState(Phase.FAILED, message=str(error))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the command that waits must hear of it
        with contextlib.suppress(OSError):  # the disk may be full
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}; the log of its process has the place"
        return RunState(Phase.FAILED, message=what)


def _make(instance: dg.DagsterInstance, wanted: WantedRun, run_id: str) -> RunState:
    from st_pipeline.defs.assembly import defs

    engine = open_engine(main_url(load_settings()))
    try:
        register_tenants(instance, engine)
    finally:
        engine.dispose()
    result = defs.resolve_job_def(wanted.job).execute_in_process(
        instance=instance,
        run_id=run_id,
        partition_key=wanted.tenant,
        asset_selection=[asset_key(entity) for entity in wanted.entities] or None,
        run_config=wanted.run_config,
        tags={**wanted.tags, REPOSITORY_TAG: f"{REPOSITORY}@{LOCATION}"},
        raise_on_error=False,
    )
    run = instance.get_run_by_id(run_id)
    return RunState(Phase.SUCCEEDED if result.success else Phase.FAILED, dict(run.tags) if run else {})


def note_crash(environment: dict[str, str], run_id: str, message: str) -> None:
    """Mark a run as failed whose process is gone: nobody else would. Raises DatabaseUnavailable."""
    os.environ.update({name: value for name, value in environment.items() if name not in os.environ})
    with database_errors(f"mark run {run_id} as failed"), dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, message)
