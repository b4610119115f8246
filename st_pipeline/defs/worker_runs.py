"""What a run of a worker is, whether it polls or syncs the night's plan.

Here: its number, and that two runs of one worker never work at the same time. Not here: the work (poll, nights).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Engine

from st_pipeline.defs.metadata import run_tags
from st_pipeline.defs.resources import Postgres, ServiceTitan
from st_pipeline.errors import PipelineError
from st_pipeline.logs import configure_logs
from st_pipeline.postgres.scheduled_work import only_one
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration


class WorkerOptions(dg.Config):
    """Which of the workers this run is. Two runs of one worker never work at the same time."""

    worker: int


@contextmanager
def turn_of_worker(
    context: dg.OpExecutionContext,
    postgres: Postgres,
    servicetitan: ServiceTitan,
    configuration: SyncConfiguration,
    work: str,
) -> Iterator[tuple[Engine, Settings, bool]]:
    """An engine, the settings, and whether the worker is free; False: another run of it is at work.

    `work`: the worker's name. An error of ours that ends the block fails the run: Failure.
    """
    context.instance.add_run_tags(context.run_id, run_tags(configuration, (), context.run_id))
    try:
        settings = servicetitan.settings()
        configure_logs(settings)
        with postgres.engine(context.run_id) as engine, only_one(engine, work) as is_free:
            yield engine, settings, is_free
    except PipelineError as error:
        raise dg.Failure(str(error)) from error
