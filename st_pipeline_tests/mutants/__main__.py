"""`python -m st_pipeline_tests.mutants --count 40`: draw mutants, run the tests on each, print which survived.

Here: options, the order in which tests are asked, the tally. Not here: making mutants, running pytest.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom

import click

from st_pipeline_tests.mirror import own_tests
from st_pipeline_tests.mutants import coverage_map
from st_pipeline_tests.mutants.coverage_map import TESTS, CoverageMap
from st_pipeline_tests.mutants.project_copy import IN_PARALLEL, Outcome, ProjectCopy, copied
from st_pipeline_tests.mutants.python_mutants import Mutant, mutants_of
from st_pipeline_tests.mutants.targets import ACCEPTED, target_files

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".mutants" / "coverage_map.json"
# A mutant may loop for ever. Against what its tests took without it, on a machine that may be busy:
SECONDS_TO_START, TIMES_AS_LONG = 120, 5


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant. `killed_by` None: it survived."""

    mutant: Mutant
    killed_by: str | None
    stage: str
    seconds: float


@click.command()
@click.option("--count", default=40, show_default=True, help="Mutants to draw.")
@click.option("--seed", default=None, type=int, help="What is drawn; without, one that was not used before.")
@click.option("--only", default="", help="Draw from mutants whose names contain this.")
@click.option("--list", "list_only", is_flag=True, help="Print the mutants that would be drawn from.")
@click.option("--keep-map", is_flag=True, help="Use the map of which test runs what, although code has changed since.")
@click.option("--tests", "paths", multiple=True, default=(TESTS,), show_default=True, help="Tests to ask.")
@click.option("--one-process", is_flag=True, help="Never run tests in parallel.")
def main(
    count: int, seed: int | None, only: str, list_only: bool, keep_map: bool, paths: Sequence[str], one_process: bool
) -> None:
    """Break the project in small ways and check that a test fails each time. Exit code 1 when one does not."""
    mutants = [one for one in all_mutants() if only in one.name]
    if list_only:
        for one in mutants:
            click.echo(f"{one.path.relative_to(ROOT)}:{one.line}: {one.name}")
        return
    seed = SystemRandom().randrange(10**6) if seed is None else seed
    drawn = Random(seed).sample(mutants, min(count, len(mutants)))  # noqa: S311 - a draw, not a secret
    click.echo(f"seed {seed}: {len(drawn)} of {len(mutants)} mutants")
    with copied(ROOT) as copy:
        known = _coverage(copy, paths, keep_map=keep_map, in_parallel=not one_process)
        verdicts = []
        for number, mutant in enumerate(drawn, 1):
            verdicts.append(judge(copy, known, mutant, in_parallel=not one_process))
            _print_verdict(number, verdicts[-1])
    survivors = [verdict for verdict in verdicts if verdict.killed_by is None]
    click.echo(f"{len(drawn) - len(survivors)} killed, {len(survivors)} survived (seed {seed})")
    for verdict in survivors:
        click.echo(f"SURVIVED {verdict.mutant.path.relative_to(ROOT)}:{verdict.mutant.line}: {verdict.mutant.name}")
    sys.exit(1 if survivors else 0)


def all_mutants() -> list[Mutant]:
    """Of every module that is mutated, but for the accepted ones. Raises LookupError: an accepted one is not made."""
    made = [one for module, path in target_files(ROOT) for one in mutants_of(module, path, path.read_text("utf-8"))]
    unknown = ACCEPTED.keys() - {one.name for one in made}
    if unknown:
        raise LookupError(f"accepted mutants that are not made any more: {sorted(unknown)}")
    return [one for one in made if one.name not in ACCEPTED]


def _coverage(copy: ProjectCopy, paths: Sequence[str], *, keep_map: bool, in_parallel: bool) -> CoverageMap:
    known = coverage_map.load(KEPT)
    if known is None or not (keep_map or known.fingerprint == coverage_map.fingerprint(ROOT, paths)):
        click.echo("running all tests once, to see which of them runs what", err=True)
        known = coverage_map.make(copy, paths, KEPT, click.echo, in_parallel=in_parallel)
    return known


def judge(copy: ProjectCopy, known: CoverageMap, mutant: Mutant, *, in_parallel: bool) -> Verdict:
    """Ask the module's own tests, then those that run the function, then all others."""
    started = time.monotonic()
    with copy.with_text(mutant.path, mutant.text()):
        spared = [f"--deselect={test}" for test in known.failing]
        for stage, tests in _stages(known, mutant):
            options = IN_PARALLEL if in_parallel and stage == "all others" else ()
            usual_seconds = sum(seconds for test, seconds in known.tests.items() if test.startswith(tuple(tests)))
            limit_seconds = SECONDS_TO_START + TIMES_AS_LONG * usual_seconds
            try:
                outcome, said = copy.test(tests, limit_seconds=limit_seconds, options=("-x", *spared, *options))
            except RuntimeError:
                if copy.imports(mutant.module):
                    raise
                outcome, said = Outcome.FAILED, "it cannot be imported"
            if outcome is not Outcome.PASSED:
                return Verdict(mutant, said, stage, time.monotonic() - started)
    return Verdict(mutant, None, "all", time.monotonic() - started)


def _stages(known: CoverageMap, mutant: Mutant) -> Iterator[tuple[str, list[str]]]:
    own = [str(test.relative_to(ROOT)) for test in own_tests(ROOT, mutant.path)]
    if own:
        yield "its own tests", own
    others = [test for test in known.tests if not test.startswith(tuple(f"{file}::" for file in own))]
    near = [test for test in known.reaching_tests(mutant.module, mutant.function) if test in others]
    if near:
        yield "tests that run it", near
    far = sorted(set(others) - set(near))
    if far:
        yield "all others", far


def _print_verdict(number: int, verdict: Verdict) -> None:
    fate = "SURVIVED" if verdict.killed_by is None else f"killed by {verdict.stage}"
    click.echo(f"{number:>4} {fate}, {verdict.seconds:.0f} s: {verdict.mutant.name}")
    if verdict.killed_by is not None:
        click.echo(f"     {verdict.killed_by.splitlines()[0][:160] if verdict.killed_by else ''}", err=True)


if __name__ == "__main__":
    main()
