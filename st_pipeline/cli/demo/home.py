"""The demo's own folder: environment file, database, Dagster and simulator, separate from everything real.

Here: entering it, and refusing if something real is configured. Not here: what `demo` and `dev` do in it.

It is a project folder like any other: `st-pipeline` commands run in it work on the demo's tenants.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from st_pipeline.cli.server.setup import project_folder
from st_pipeline.environment_file import read_file
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.dagster_database import STORAGE_VARIABLE
from st_pipeline.simulator.demo import APP_KEY

FOLDER = Path(".st-pipeline-demo")
LOCAL = ("http://127.0.0.1", "http://localhost")
DATABASES = ("DATABASE_URL", "ST_PIPELINE_DAGSTER_DATABASE_URL")
ADDRESSES = tuple(
    f"ST_PIPELINE_{environment}_{what}_URL" for environment in ("PRODUCTION", "INTEGRATION") for what in ("API", "AUTH")
)
# `up` writes them into every `.env`; exported, they would point the demo at that deployment's data.
WRITTEN_BY_UP = (STORAGE_VARIABLE, "ST_PIPELINE_ENCRYPTION_KEYS")


def enter() -> None:
    """Change to the demo's folder, which is created if missing; all settings are the demo's from now on.

    Raises ConfigurationError: something real is configured, or dagster.yaml is not in this folder.
    """
    refuse_anything_real(read_file(), os.environ)
    project, folder = project_folder(), FOLDER.absolute()
    folder.mkdir(exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copyfile(project / name, folder / name)
    os.chdir(folder)
    os.environ.update({"DAGSTER_HOME": str(folder), "ST_PIPELINE_HOME": str(folder)})


def refuse_anything_real(in_file: Mapping[str, str], exported: Mapping[str, str]) -> None:
    """Raise ConfigurationError that names what is configured for a real account or the user's own database."""
    for where, values in (("`.env` in this folder", in_file), ("the environment", exported)):
        real = [name for name in DATABASES if values.get(name)]
        real += [name for name in ADDRESSES if values.get(name) and not values[name].startswith(LOCAL)]
        real += [name for name in ("ST_PIPELINE_APP_KEY",) if values.get(name) and values[name] != APP_KEY]
        real += [name for name in WRITTEN_BY_UP if values is exported and values.get(name)]
        if real:
            raise ConfigurationError(
                f"{where} sets {', '.join(real)}: something real is configured here, and demo and dev are for made-up "
                "companies only. Run them in another checkout" + (", or unset it" if values is exported else "")
            )
