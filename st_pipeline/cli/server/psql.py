"""`st-pipeline psql`: a shell on the tables, or their address for other programs.

Here: the command. Not here: which database that is (postgres/).
"""

import os

import click

from st_pipeline.cli.help_text import examples
from st_pipeline.errors import ConfigurationError


@click.command(
    short_help="Open psql on the database, or print its address.",
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "st-pipeline psql",
        "st-pipeline psql -c 'SELECT partition_key, last_sync_at FROM tenants'",
        "st-pipeline psql --address            for a program; contains the password",
    ),
)
@click.option("--address", is_flag=True, help="Print postgresql://… instead, with the password in it.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL ARGUMENTS]...")
def psql(*, address: bool, arguments: tuple[str, ...]) -> None:
    """Open psql on the tables, whether the server is the embedded one or DATABASE_URL's.

    Further arguments go to psql itself. It comes with the embedded Postgres; an installed one is preferred.
    """
    from st_pipeline.embedded_postgres.binaries import find_psql
    from st_pipeline.postgres.database import main_url
    from st_pipeline.settings import load_settings

    url = main_url(load_settings())
    if address:
        click.echo(url.set(drivername="postgresql").render_as_string(hide_password=False))
        return
    program = find_psql()
    if program is None:
        raise ConfigurationError("there is no psql on this machine: install Postgres's client programs")
    # Not in its arguments, which every user of the machine can read.
    named = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
    options = {f"PG{name.upper()}": value for name, value in url.query.items() if name in ("sslmode", "sslrootcert")}
    given = {name: str(value) for name, value in {**named, **options, "PGDATABASE": url.database}.items() if value}
    os.execve(program, [str(program), *arguments], {**os.environ, **given})  # noqa: S606 - found, no shell
