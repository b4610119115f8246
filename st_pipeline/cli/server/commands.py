"""`st-pipeline up`, `webserver`, `down`, `migrate`: the servers and the database.

Here: the commands. Not here: the steps of the set-up, the web server itself (web/).
"""

import os
import sys

import click

from st_pipeline.errors import ConfigurationError


@click.command(short_help="Start Postgres, migrate, then run the Dagster UI and daemon.")
@click.option("--database-only", is_flag=True, help="Stop after Postgres, migrations and .env; start no Dagster.")
def up(database_only: bool) -> None:
    """Start everything: Postgres, migrations, then the Dagster UI and daemon until Ctrl-C.

    Postgres keeps running afterwards; `st-pipeline down` stops it. Writes `.env`, so that Dagster's own commands work
    from now on.
    """
    from st_pipeline.cli.server.setup import set_up, shown, too_small
    from st_pipeline.postgres.database import main_url

    settings = set_up()
    click.echo(f"{shown(main_url(settings))}: ready")
    for warning in too_small(settings):
        click.echo(f"Warning: {warning}", err=True)
    if not database_only:
        run_dagster()


def run_dagster() -> None:
    """Become the web server, with the daemon and code server. Never returns. Raises ConfigurationError."""
    from st_pipeline.settings import load_settings

    settings = load_settings()
    _become_web_server(settings.dagster_host, settings.dagster_port, "--with-daemon")


@click.command(short_help="Serve the Dagster UI alone.")
@click.option("--host", help="Address to listen on.  [default: ST_PIPELINE_DAGSTER_HOST]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: ST_PIPELINE_DAGSTER_PORT]")
@click.option("--read-only", is_flag=True, help="Show everything, but launch and change nothing.")
def webserver(host: str | None, port: int | None, read_only: bool) -> None:
    """Serve the Dagster UI alone, until Ctrl-C: for a server where the daemon is a service of its own.

    It has no login. Browsers must use one of this server's names (ST_PIPELINE_DAGSTER_HOST_NAMES), and pages of other
    sites cannot send it commands. `dagster-webserver` itself checks neither.
    """
    from st_pipeline.settings import load_settings

    settings = load_settings()
    options = ["--read-only"] if read_only else []
    _become_web_server(host or settings.dagster_host, port or settings.dagster_port, *options)


def _become_web_server(host: str, port: int, *options: str) -> None:
    from st_pipeline.cli.server.ports import refuse_taken_port
    from st_pipeline.cli.server.setup import project_folder
    from st_pipeline.environment_file import read_file
    from st_pipeline.postgres.dagster_database import STORAGE_VARIABLE

    refuse_taken_port(host, port, "ST_PIPELINE_DAGSTER_PORT")
    folder = project_folder()
    environment = {**read_file(), **os.environ, "DAGSTER_HOME": str(folder)}
    if STORAGE_VARIABLE not in environment:
        raise ConfigurationError(f"{STORAGE_VARIABLE} is not set: run `st-pipeline up --database-only` first")
    os.chdir(folder)
    click.echo(f"Dagster: http://{host}:{port} (Ctrl-C ends it)")
    sys.stdout.flush()
    os.execve(sys.executable, web_server_arguments(host, port, *options), environment)  # noqa: S606 - ours, no shell


def web_server_arguments(host: str, port: int, *options: str) -> list[str]:
    """The command line of our web server."""
    return [sys.executable, "-m", "st_pipeline.web", "-h", host, "-p", str(port), *options]


@click.command(short_help="Stop the embedded Postgres, and the demo's servers.")
@click.option("--delete-data", is_flag=True, help="Delete the embedded server's data too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def down(delete_data: bool, yes: bool) -> None:
    """Stop the embedded Postgres, and the demo's Postgres and simulator. Data stays unless you say otherwise."""
    from st_pipeline.cli.demo.home import FOLDER
    from st_pipeline.cli.demo.simulated import RECORDS_FILE, stop_simulator
    from st_pipeline.embedded_postgres import embedded
    from st_pipeline.postgres.database import embedded_folder
    from st_pipeline.settings import load_settings

    settings = load_settings()
    deployments = [("", settings)]
    if FOLDER.is_dir():
        deployments.append(("the demo's ", settings.model_copy(update={"home": FOLDER.absolute()})))
    with_data = [str(one.home) for _, one in deployments if embedded.status(embedded_folder(one)) is not None]
    if delete_data and with_data and not yes:
        click.confirm(
            f"Delete the embedded database in {' and in '.join(with_data)} with everything in it?", abort=True
        )
    for whose, deployment in deployments:
        if stop_simulator(deployment):
            click.echo(f"{whose}simulator: stopped")
        folder = embedded_folder(deployment)
        if delete_data and str(deployment.home) in with_data:
            (deployment.home / RECORDS_FILE).unlink(missing_ok=True)
            embedded.remove(folder)
            click.echo(f"{whose}Postgres: stopped, its data deleted")
        elif embedded.stop(folder):
            click.echo(f"{whose}Postgres: stopped")
        elif not whose:
            click.echo("Postgres: not running")


@click.command()
@click.option("--to", "version", default="head", show_default=True, help="Version to migrate to; older ones drop data.")
@click.option("--yes", is_flag=True, help="Do not ask before migrating to an older version.")
def migrate(version: str, yes: bool) -> None:
    """Bring the database to the version that this code needs."""
    from st_pipeline.operations.table_comments import table_comments
    from st_pipeline.postgres import migrations
    from st_pipeline.postgres.database import main_engine
    from st_pipeline.postgres.schema_version import newest_version
    from st_pipeline.settings import load_settings

    with main_engine(load_settings()) as engine:
        if version not in ("head", newest_version()) and not yes:
            if not sys.stdin.isatty():
                raise ConfigurationError(f"migrating to version {version} may drop tables: add --yes to do it anyway")
            click.confirm(f"Migrating to version {version} may drop tables with their data. Continue?", abort=True)
        before, after = migrations.migrate(engine, version, comments=table_comments())
    click.echo(f"database {engine.url.database}: version {before or 'none'} -> {after or 'none'}")
