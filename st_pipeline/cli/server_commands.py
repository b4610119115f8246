"""`st-pipeline up`, `down`, `migrate`: the server and the database.

Here: the commands. Not here: the steps of the set-up (setup.py).
"""

import os
import sys
from pathlib import Path

import click

from st_pipeline.errors import ConfigurationError


@click.command()
@click.option("--database-only", is_flag=True, help="Stop after Postgres, migrations and .env; start no Dagster.")
def up(database_only: bool) -> None:
    """Start everything: Postgres, migrations, then the Dagster UI and daemon until Ctrl-C.

    Postgres goes on running afterwards; `st-pipeline down` stops it. Writes `.env`, so that plain `dagster dev` works
    from now on.
    """
    from st_pipeline.cli.setup import set_up, shown
    from st_pipeline.postgres.database import main_url

    settings = set_up()
    click.echo(f"{shown(main_url(settings))}: ready")
    if not database_only:
        run_dagster()


def run_dagster() -> None:
    """Become `dagster dev`: the UI, the daemon and one code server. Never returns. Raises ConfigurationError."""
    from st_pipeline.cli.ports import refuse_taken_port
    from st_pipeline.cli.setup import project_folder
    from st_pipeline.environment_file import read_file
    from st_pipeline.settings import load_settings

    settings = load_settings()
    refuse_taken_port(settings.dagster_host, settings.dagster_port, "ST_PIPELINE_DAGSTER_PORT")
    folder = project_folder()
    os.chdir(folder)
    click.echo(f"Dagster: http://{settings.dagster_host}:{settings.dagster_port} (Ctrl-C ends it)")
    sys.stdout.flush()
    dagster = str(Path(sys.executable).with_name("dagster"))
    arguments = dagster_arguments(dagster, settings.dagster_host, settings.dagster_port)
    os.execve(dagster, arguments, {**read_file(), **os.environ})  # noqa: S606 - our own program, no shell


def dagster_arguments(dagster: str, host: str, port: int) -> list[str]:
    """The command line of `dagster dev`."""
    return [dagster, "dev", "-w", "workspace.yaml", "-h", host, "-p", str(port), "--log-level", "warning"]


@click.command()
@click.option("--delete-data", is_flag=True, help="Delete the embedded server's data too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(delete_data: bool, yes: bool) -> None:
    """Stop the embedded Postgres and the simulator. Data stays unless you say otherwise."""
    from st_pipeline.cli.simulated import stop_simulator
    from st_pipeline.postgres import embedded
    from st_pipeline.postgres.database import embedded_folder
    from st_pipeline.settings import load_settings

    settings = load_settings()
    if stop_simulator(settings):
        click.echo("simulator: stopped")
    folder = embedded_folder(settings)
    if delete_data and embedded.status(folder) is not None:
        if not yes:
            click.confirm(f"Delete the embedded database in {settings.home} with everything in it?", abort=True)
        embedded.remove(folder)
        click.echo("Postgres: stopped, its data deleted")
    elif embedded.stop(folder):
        click.echo("Postgres: stopped")
    else:
        click.echo("Postgres: was not running")


@click.command()
@click.option("--to", "version", default="head", show_default=True, help="Version to go to; older ones drop data.")
@click.option("--yes", is_flag=True, help="Do not ask before going down.")
def migrate(version: str, yes: bool) -> None:
    """Bring the database to the version this code needs."""
    from st_pipeline.postgres import migrations
    from st_pipeline.postgres.database import main_url, open_engine
    from st_pipeline.settings import load_settings

    engine = open_engine(main_url(load_settings()))
    try:
        if version not in ("head", migrations.newest_version()) and not yes:
            if not sys.stdin.isatty():
                raise ConfigurationError(f"going to version {version} may drop tables: say --yes if you mean it")
            click.confirm(f"Going to version {version} may drop tables with their data. Go on?", abort=True)
        before, after = migrations.migrate(engine, version)
    finally:
        engine.dispose()
    click.echo(f"database {engine.url.database}: version {before or 'none'} -> {after or 'none'}")
