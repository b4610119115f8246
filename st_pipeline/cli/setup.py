"""What `up`, `demo` and `dev` do before anything else: a server, its databases, migrations, keys, `.env`.

Here: the steps, each safe to repeat. Not here: the commands, and running Dagster.
"""

import os
from pathlib import Path

from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from st_pipeline.credentials.vault import generate_key
from st_pipeline.environment_file import read_file, write_values
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import embedded
from st_pipeline.postgres.database import (
    DAGSTER_DATABASE,
    DRIVER,
    MAIN_DATABASE,
    dagster_url,
    database_errors,
    embedded_folder,
    main_url,
    open_engine,
    transaction,
)
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings, load_settings

STORAGE_VARIABLE = "ST_PIPELINE_DAGSTER_STORAGE"
KEYS_VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"


def set_up() -> Settings:
    """Make everything ready and return the settings that hold from now on.

    Raises ConfigurationError and DatabaseUnavailable; what was done before stays and is not done again.
    """
    settings = load_settings()
    if settings.database_url is None:
        server = embedded.start(embedded_folder(settings))
        for name in (MAIN_DATABASE, DAGSTER_DATABASE):
            embedded.ensure_database(server, name)
    else:
        ensure_dagster_database(dagster_url(settings))
    engine = open_engine(main_url(settings))
    try:
        with database_errors(f"connect to {shown(main_url(settings))}"):
            migrate(engine)
        write_values(_values(settings, engine))
    finally:
        engine.dispose()
    return load_settings()


def _values(settings: Settings, engine: Engine) -> dict[str, str | None]:
    home = project_folder()
    values: dict[str, str | None] = {
        "DAGSTER_HOME": str(home),
        "ST_PIPELINE_HOME": str(settings.home),
        STORAGE_VARIABLE: dagster_url(settings).render_as_string(hide_password=False),
    }
    if settings.encryption_keys is None:
        values[KEYS_VARIABLE] = _first_key(engine)
    return values


def _first_key(engine: Engine) -> str:
    """A new key, unless there are secrets already that it could not open."""
    with transaction(engine, "look for stored credentials") as connection:
        stored = connection.execute(text("SELECT count(*) FROM servicetitan_credentials")).scalar_one()
    if stored:
        raise ConfigurationError(
            f"{KEYS_VARIABLE} is not set, but the database holds {stored} credentials encrypted with it: put the key "
            "back into .env or the environment. Without it they must be entered again"
        )
    return generate_key()


def ensure_dagster_database(url: URL) -> None:
    """Create Dagster's own database on a server of the user's when it is missing. Raises ConfigurationError."""
    engine = open_engine(url.set(drivername=DRIVER))
    try:
        engine.connect().close()
    except OperationalError:
        _create_database(url)
    finally:
        engine.dispose()


def _create_database(url: URL) -> None:
    admin = open_engine(url.set(drivername=DRIVER, database="postgres")).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with database_errors(f"connect to {shown(url)}"), admin.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{url.database}"')
    except ProgrammingError:
        raise ConfigurationError(
            f"database {url.database} for Dagster's own storage is missing and may not be created: create it, or set "
            "ST_PIPELINE_DAGSTER_DATABASE_URL"
        ) from None
    finally:
        admin.dispose()


def shown(url: URL) -> str:
    """The address as a person may see it."""
    return f"Postgres at {url.host}:{url.port or 5432}, database {url.database}"


def project_folder() -> Path:
    """The folder with dagster.yaml and workspace.yaml: DAGSTER_HOME when set, else the working folder.

    Raises ConfigurationError when the two files are not there.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or read_file().get("DAGSTER_HOME") or Path.cwd()).absolute()
    for name in ("dagster.yaml", "workspace.yaml"):
        if not (folder / name).exists():
            raise ConfigurationError(f"no {name} in {folder}: run this in the project's folder, or set DAGSTER_HOME")
    return folder
