"""`python -m st_pipeline_tests.soak --tenants 1000 --rounds 60`: the soak, and its tally.

Here: options and what is printed. Not here: the soak (soak.py).
"""

import sys
from random import SystemRandom

import click

from st_pipeline_tests.soak.deployment import deployed
from st_pipeline_tests.soak.soak import Soak, Tally

LEAST_SHARE = 0.99


@click.command()
@click.option("--tenants", default=1000, show_default=True)
@click.option("--rounds", default=12, show_default=True, help="Of five minutes each, on a clock that does not wait.")
@click.option("--seed", default=None, type=int, help="What is drawn; without, one that was not used before.")
def main(tenants: int, rounds: int, seed: int | None) -> None:
    """Poll many tenants while everything goes wrong; exit code 1 when the tables differ from the source at the end."""
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    click.echo(f"seed {seed}")
    with deployed() as deployment:
        tally = Soak(deployment, seed, _print_progress).run(tenants, rounds)
    _print(tally)
    sys.exit(1 if tally.differences or tally.share_successful < LEAST_SHARE else 0)


def _print_progress(tally: Tally) -> None:
    click.echo(
        f"round {tally.rounds}: {tally.loads} loads, {tally.polls} polls, {tally.kills} kills, "
        f"{len(tally.failed_unplanned)} unplanned failures, {tally.rows[-1]} rows",
        err=True,
    )


def _print(tally: Tally) -> None:
    click.echo(
        f"{tally.rounds} rounds in {tally.seconds:.0f} s: {tally.loads} loads, {tally.polls} polls, "
        f"{tally.kills} workers killed; {tally.share_successful:.2%} of the syncs outside planted faults succeeded"
    )
    for name, times in tally.events.most_common():
        click.echo(f"  {times:>6}  {name}")
    half = len(tally.peaks_kb) // 2
    if half:
        before, after = max(tally.peaks_kb[:half]), max(tally.peaks_kb[half:])
        click.echo(
            f"largest memory of a worker: {before // 1024} MB in the first half, {after // 1024} MB in the second"
        )
    click.echo(f"operative rows: {tally.rows[0]} after the first round, {tally.rows[-1]} after the last")
    for tenant, message in tally.failed_unplanned.items():
        click.echo(f"failed: {tenant}: {message}")
    for one in tally.differences:
        click.echo(f"DIFFERENT: {one}")
    click.echo(f"{len(tally.differences)} differences")


if __name__ == "__main__":
    main()
