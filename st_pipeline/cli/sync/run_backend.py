"""Choosing a command's run backend: the running Dagster, otherwise processes of its own.

Here: the choice. Not here: the two backends (runs/).
"""

import os
from pathlib import Path

from sqlalchemy import Engine

from st_pipeline.cli.server.setup import project_folder, ready_storage
from st_pipeline.environment_file import read_file
from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.postgres.dagster_database import STORAGE_VARIABLE, dagster_url
from st_pipeline.postgres.database import read_url
from st_pipeline.runs.backend import RunBackend
from st_pipeline.settings import Settings

LOCAL_RUN = "st_pipeline.defs.local_run"  # by name: it imports Dagster (0.8 s), which only a process of its own needs


def choose_run_backend(settings: Settings, engine: Engine) -> RunBackend:
    """This project's running Dagster, if its daemon takes runs from the queue; otherwise processes of our own.

    Raises ConfigurationError: there is no dagster.yaml, the running Dagster cannot load our definitions, or Dagster's
    database belongs to another deployment.
    """
    from st_pipeline.runs.graphql import RunningDagster
    from st_pipeline.runs.local_processes import LocalProcesses

    home = project_folder()
    running = RunningDagster(dagster_address(settings))
    try:
        if running.is_up() and running.belongs_to(home) and running.has_loaded() and running.takes_from_its_queue():
            return running
    except ConfigurationError:
        raise
    except PipelineError:
        pass  # something else listens there, or Dagster is just stopping
    running.close()
    environment = dagster_environment(settings, engine, home)
    ready_storage(read_url(STORAGE_VARIABLE, environment[STORAGE_VARIABLE]), engine)
    return LocalProcesses(LOCAL_RUN, environment, Path.cwd(), settings.home)


def dagster_address(settings: Settings) -> str:
    """Where the UI is, or would be."""
    return f"http://{settings.dagster_host}:{settings.dagster_port}"


def dagster_environment(settings: Settings, engine: Engine, home: Path) -> dict[str, str]:
    """What `up` writes into `.env` for Dagster, and this process's own variables, which take precedence."""
    environment = {**read_file(), **os.environ, "DAGSTER_HOME": str(home)}
    if STORAGE_VARIABLE not in environment:
        environment[STORAGE_VARIABLE] = dagster_url(settings, engine).render_as_string(hide_password=False)
    return environment
