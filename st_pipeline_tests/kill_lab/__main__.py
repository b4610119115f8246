"""`python -m st_pipeline_tests.kill_lab --kills 1000`: many kills, and their tally.

Here: options and what is printed. Not here: the lab (lab.py).
"""

import sys
from collections import Counter
from random import SystemRandom

import click

from st_pipeline_tests.kill_lab.lab import Lab
from st_pipeline_tests.kill_lab.series import Tally, run_kills


@click.command()
@click.option("--kills", default=100, show_default=True, help="Syncs to interrupt.")
@click.option("--seed", default=None, type=int, help="What is drawn; without, one that was not used before.")
@click.option("--series", default=0, show_default=True, help="Series to begin with: that of a failure to repeat.")
def main(kills: int, seed: int | None, series: int) -> None:
    """Kill syncs with -9 and check that the next run mends everything. Exit code 1 when it once did not."""
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    click.echo(f"seed {seed}")
    with Lab() as lab:
        tally = run_kills(lab, seed, kills, series, tell=_print_progress)
    _print(tally)
    sys.exit(1 if tally.failures else 0)


def _print_progress(tally: Tally) -> None:
    total, failures = tally.kills.total(), len(tally.failures)
    click.echo(f"{total} killed, {failures} failures, {tally.seconds:.0f} s", err=True)


def _print(tally: Tally) -> None:
    total = tally.kills.total()
    click.echo(
        f"{total} syncs killed in {tally.rounds} rounds, {tally.seconds:.0f} s; {tally.missed} kills came too late"
    )
    kinds, places = Counter[str](), Counter[str]()
    for (kind, place), times in tally.kills.items():
        kinds[kind] += times
        places[place] += times
    for title, counts in (("killed", kinds), ("of", tally.modes), ("when", places)):
        for name, times in counts.most_common():
            click.echo(f"  {title:<8}{times:>6}  {name}")
    for failure in tally.failures:
        click.echo(f"FAILED: {failure}")
    click.echo(f"{len(tally.failures)} failures")


if __name__ == "__main__":
    main()
