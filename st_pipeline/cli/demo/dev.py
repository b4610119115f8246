"""`st-pipeline dev`: the Dagster UI on simulated companies whose data keeps changing.

Here: the command. Not here: its steps.
"""

import click

FORGOTTEN = (
    "The last simulator was killed, and a new one starts from its seed: rows of simulated tenants are deleted and read "
    "again, of {} in all. Their runs stay."
)


@click.command(short_help="Open the Dagster UI on four simulated tenants.")
def dev() -> None:
    """Open the Dagster UI on four simulated tenants whose data keeps changing, until Ctrl-C.

    They are those of `st-pipeline demo`, with their runs, in a folder of their own (.st-pipeline-demo); it refuses to
    run if a real account or your own database is configured. Materialize a tenant, backfill several, watch records
    arrive. The five-minute poll is on. Postgres and the simulator keep running afterwards; `st-pipeline down` stops
    them.
    """
    from st_pipeline.cli import run
    from st_pipeline.cli.demo import home
    from st_pipeline.cli.demo.simulated import (
        forget_rows_of_an_earlier_simulator,
        onboard,
        point_at_simulator,
        start_simulator,
    )
    from st_pipeline.cli.server.commands import run_dagster
    from st_pipeline.cli.server.setup import set_up
    from st_pipeline.defs.partitions import register_tenants_at_home
    from st_pipeline.postgres.database import main_engine

    home.enter()
    settings = set_up()
    simulator, is_new = start_simulator(settings, live=True)
    point_at_simulator(simulator)
    with main_engine(settings) as engine:
        if is_new and (forgotten := forget_rows_of_an_earlier_simulator(engine)):
            click.echo(FORGOTTEN.format(forgotten))
        onboard(run, click.echo)
        register_tenants_at_home(engine)
    run_dagster()
