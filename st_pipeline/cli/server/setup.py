"""What `up`, `demo` and `dev` set up first: a server, its databases, migrations, keys, `.env`.

Here: the steps, each safe to repeat. Not here: the commands, and running Dagster.
"""

import importlib.metadata
import os
from pathlib import Path

from sqlalchemy import URL, Engine, text

from st_pipeline.cli.server.capacity import connections_needed, what_does_not_fit
from st_pipeline.embedded_postgres import embedded
from st_pipeline.environment_file import read_file, write_values
from st_pipeline.errors import ConfigurationError
from st_pipeline.operations.table_comments import table_comments
from st_pipeline.postgres.dagster_database import (
    STORAGE_VARIABLE,
    claimed,
    dagster_url,
    dagster_version_of,
    ensure_database,
    save_dagster_version,
)
from st_pipeline.postgres.database import (
    MAIN_DATABASE,
    database_errors,
    embedded_folder,
    main_engine,
    main_url,
    transaction,
)
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings, load_settings
from st_pipeline.vault.encryption import generate_key

KEYS_VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"
LEAST_CONNECTIONS = 100


def set_up() -> Settings:
    """Set everything up and return the settings that apply from now on. Safe to repeat.

    Raises ConfigurationError and DatabaseUnavailable.
    """
    settings = load_settings()
    if settings.database_url is None:
        # The server that comes along is given as many connections as the settings may want.
        connections = max(LEAST_CONNECTIONS, connections_needed(settings) + 5)
        server = embedded.start(embedded_folder(settings), options={"max_connections": str(connections)})
        embedded.ensure_database(server, MAIN_DATABASE)
    with main_engine(settings) as engine:
        with database_errors(f"connect to {shown(main_url(settings))}"):
            migrate(engine, comments=table_comments())
        storage = dagster_url(settings, engine)
        ready_storage(storage, engine)
        write_values(_values(settings, engine, storage))
    return load_settings()


def too_small(settings: Settings) -> list[str]:
    """What the settings want and this machine's configuration does not give, for people."""
    asking = "see how many connections Postgres allows"
    with main_engine(settings) as engine, transaction(engine, asking) as connection:
        return [f"{what}. {fix}" for what, fix in what_does_not_fit(settings, project_folder(), connection)]


def _values(settings: Settings, engine: Engine, storage: URL) -> dict[str, str | None]:
    home = project_folder()
    values: dict[str, str | None] = {
        "DAGSTER_HOME": str(home),
        "ST_PIPELINE_HOME": str(settings.home),
        STORAGE_VARIABLE: storage.render_as_string(hide_password=False),
    }
    if settings.encryption_keys is None:
        values[KEYS_VARIABLE] = _first_key(engine)
    return values


def _first_key(engine: Engine) -> str:
    """A new key, unless secrets are stored that it could not decrypt."""
    with transaction(engine, "look for stored credentials") as connection:
        stored = connection.execute(text("SELECT count(*) FROM servicetitan_credentials")).scalar_one()
    if stored:
        raise ConfigurationError(
            f"{KEYS_VARIABLE} is not set, but the database holds {stored} credentials encrypted with it: put the key "
            "back into .env or the environment. Without it they must be entered again"
        )
    return generate_key()


def ready_storage(url: URL, engine: Engine) -> None:
    """Create Dagster's database, claim it for this deployment, and bring its tables to the installed Dagster.

    To be done before any Dagster process starts, as they would race for the tables. Raises ConfigurationError: the
    database belongs to another deployment, or must not be created.
    """
    ensure_database(url)
    installed = importlib.metadata.version("dagster")
    with claimed(url, engine) as connection:
        if dagster_version_of(connection) != installed:
            from st_pipeline.defs.storage import make_tables

            make_tables(url)
            save_dagster_version(connection, installed)


def shown(url: URL) -> str:
    """The address without its password."""
    return f"Postgres at {url.host}:{url.port or 5432}, database {url.database}"


def project_folder() -> Path:
    """The folder with dagster.yaml and workspace.yaml: DAGSTER_HOME if set, otherwise the working folder.

    Raises ConfigurationError when the two files are not there.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or read_file().get("DAGSTER_HOME") or Path.cwd()).absolute()
    for name in ("dagster.yaml", "workspace.yaml"):
        if not (folder / name).exists():
            raise ConfigurationError(f"no {name} in {folder}: run this in the project's folder, or set DAGSTER_HOME")
    return folder
