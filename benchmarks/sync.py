"""What a sync costs: CPU seconds of the client and of Postgres, and µs a row.

1. Customers and invoices of one simulated tenant, loaded by us and by a bare program (baseline.py), by turns, with and
   without the record as received. Exit code 1 when ours costs more than the bars allow.
2. Where the client's time goes, stage by stage (stages.py).
3. Whole syncs of everything: first load, nothing changed, 1 % changed (whole_syncs.py).

CPU seconds are what to compare; wall time depends on what else runs. Of each program's loads the cheapest counts: other
programs on the machine make CPU time dearer (cold caches, a shared core), never cheaper.

    make bench                              50,000 customers, 100,000 invoices of 5 KB; about 12 minutes
    .venv/bin/python benchmarks/sync.py --invoices 10000
"""

import subprocess
import sys

import click
import msgspec
import whole_syncs
from job import FOLDER, Figures, Job
from place import Place, made_place

CLIENT_BAR, POSTGRES_BAR = 2.0, 1.5
PROGRAMS = ("ours", "baseline")


@click.command()
@click.option("--invoices", default=100_000, show_default=True, help="And half as many customers.")
@click.option("--rounds", default=3, show_default=True, help="Loads by each program; the cheapest counts.")
@click.option("--whole/--no-whole", default=True, show_default=True, help="Measure whole syncs too.")
@click.option("--bars/--no-bars", default=True, show_default=True, help="Without, only what is measured is printed.")
def main(invoices: int, rounds: int, *, whole: bool, bars: bool) -> None:
    """Measure and print; exit code 1 when a bar is broken."""
    with made_place(invoices) as place:
        within = [compare(place, rounds, full_data=full_data) for full_data in (True, False)]
        run("stages", place.job("stages", full_data=True))
        if whole:
            whole_syncs.measure(place)
    print(f"\nverdict: {'within the bars' if all(within) else 'TOO DEAR, see above'}")
    sys.exit(0 if all(within) or not bars else 1)


def compare(place: Place, rounds: int, *, full_data: bool) -> bool:
    """Load by turns, print a line each and the ratios. Are they within the bars?"""
    print(f"\nfirst load of customers and invoices {'with' if full_data else 'without'} full_data, µs of CPU a row")
    print(f"{'':28}{'rows':>9}{'client':>9}{'Postgres':>10}{'imports, s':>12}")
    loads: dict[str, list[Figures]] = {program: [] for program in PROGRAMS}
    for _ in range(rounds):
        for program, figures in loads.items():
            answer = run(program, place.job(program, full_data=full_data))
            figures.append(msgspec.json.decode(answer, type=Figures))
            _print_load(program, figures[-1])
    ours, baseline = loads.values()
    assert place.fingerprint("ours") == place.fingerprint("baseline"), "the programs wrote different rows"
    client, postgres = (
        min(getattr(load, side) for load in ours) / min(getattr(load, side) for load in baseline)
        for side in ("client", "postgres")
    )
    print(f"ours / baseline: client {client:.2f} (bar {CLIENT_BAR}), Postgres {postgres:.2f} (bar {POSTGRES_BAR})")
    return bool(client <= CLIENT_BAR and postgres <= POSTGRES_BAR)


def _print_load(program: str, load: Figures) -> None:
    per_row = 1e6 / load.rows
    figures = f"{load.client * per_row:>9.1f}{load.postgres * per_row:>10.1f}{load.imports:>12.2f}"
    print(f"{program:28}{load.rows:>9,}{figures}", flush=True)
    if load.presence_client:
        client, postgres = load.client + load.presence_client, load.postgres + load.presence_postgres
        print(f"{'  not compared: with walk for':28}")
        print(f"{'  deletions, as a full sync':28}{'':9}{client * per_row:>9.1f}{postgres * per_row:>10.1f}")


def run(program: str, job: Job) -> bytes:
    """What a program of this folder answers to a job. Its imports and its memory are its own."""
    asked = msgspec.json.encode(job)
    answer = subprocess.run([sys.executable, FOLDER / f"{program}.py"], input=asked, stdout=subprocess.PIPE, check=True)
    if program == "stages":
        sys.stdout.write(answer.stdout.decode())
    return answer.stdout


if __name__ == "__main__":
    main()
