"""What polls cost: many tenants of which few or none have changed, through Dagster as in production.

Here: rounds of polls at steps of five minutes, their CPU and wall time, the rows they write; exit code 1 above the
bounds. Not here: loads (sync.py, all_entities.py), nights (nights.py), the sync log's queries (log_queries.py).

Time does not wait: before each round every moment that decides about polls is moved five minutes into the past, so
thirteen rounds have the work of an hour in them: lists without a feed, tokens. CPU is that of Postgres and of every
process of `st-pipeline up`; what it costs while nothing runs is measured apart and counted for the rest of the five
minutes. The source is a process of its own (api_stub.py) and is not counted.

    make bench-polls                                          1,000 tenants, nothing changed: 13 rounds
    .venv/bin/python benchmarks/polls.py --latency-ms 200     the same, and every response takes 200 ms
    .venv/bin/python benchmarks/polls.py --changing-tenths 3  1 % of the records of 300 tenants change in each round
    .venv/bin/python benchmarks/polls.py --tenants 10000 --records 0
    .venv/bin/python benchmarks/polls.py --engine             without Dagster, in this process
"""

import logging
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from statistics import mean

import click
import structlog
from dagster_deployment import Deployment, running_dagster
from fleet import Fleet, made_fleet
from sqlalchemy import text

from st_pipeline.postgres.database import transaction
from st_pipeline.sync.poll_worker import PollWorker

STEP_SECONDS = 300
BUSY = "SELECT count(*) FROM tenant_polls WHERE due_at <= now() OR claimed_until IS NOT NULL"
WRITTEN = "SELECT sum(n_tup_ins) AS inserts, sum(n_tup_upd) AS updates FROM pg_stat_user_tables"

# The bounds of a quiet round, for each tenant.
MOST_CPU_MS = 40.0
MOST_INSERTS = 0.1
MOST_UPDATES = 3.0
BOUNDED_TENANTS = 1_000  # up to so many; above it, a round must fit between two ticks


@dataclass
class Round:
    """What a round cost. CPU in seconds."""

    wall_seconds: float
    program: float
    postgres: float
    source: float
    inserts: float
    updates: float
    requests: int

    def line(self, tenants: int) -> str:
        """A row of the table."""
        cpu = (self.program + self.postgres) / tenants * 1000
        return (
            f"{self.wall_seconds:>8.1f}{self.program:>10.1f}{self.postgres:>10.1f}{cpu:>14.1f}"
            f"{self.inserts / tenants:>10.2f}{self.updates / tenants:>10.2f}{self.requests / tenants:>10.1f}"
        )


HEADER = (
    f"{'wall s':>8}{'program':>10}{'Postgres':>10}{'ms a tenant':>14}{'inserts':>10}{'updates':>10}{'requests':>10}"
)


def engine_round(fleet: Fleet) -> None:
    """Poll what is due, in this process."""
    for poll in PollWorker(fleet.engine, fleet.settings, uuid.uuid4()).polls():
        assert poll.error is None, poll.error
        assert poll.result is None or poll.result.success, poll.result.errors


def measured(fleet: Fleet, work: Callable[[], None], program: Callable[[], float]) -> Round:
    """What the work costs."""
    source, writes = fleet.ask_source(), _written(fleet)
    started, program_before, postgres_before = time.monotonic(), program(), fleet.postgres_seconds()
    work()
    wall = time.monotonic() - started
    program_after, postgres_after = program(), fleet.postgres_seconds()
    with transaction(fleet.engine, "is everybody polled?") as connection:
        left = connection.execute(text(BUSY)).scalar_one()
    assert left == 0, f"{left} tenants were not polled"
    source_after, writes_after = fleet.ask_source(), _written(fleet)
    return Round(
        wall,
        program_after - program_before,
        postgres_after - postgres_before,
        source_after["cpu_seconds"] - source["cpu_seconds"],
        writes_after[0] - writes[0],
        writes_after[1] - writes[1],
        sum(source_after["requests"].values()) - sum(source["requests"].values()),
    )


def _written(fleet: Fleet) -> tuple[float, float]:
    """Rows inserted and updated so far, in all databases that the deployment uses."""
    inserts = updates = 0.0
    for engine in fleet.engines:
        time.sleep(1.1)  # a session reports its figures once a second, and when it ends
        with engine.connect() as connection:
            row = connection.execute(text(WRITTEN)).one()
        inserts, updates = inserts + float(row.inserts or 0), updates + float(row.updates or 0)
    return inserts, updates


def rounds(fleet: Fleet, number: int, deployment: Deployment | None) -> list[Round]:
    """The rounds, printed as they end, with what an idle deployment costs for the rest of the five minutes."""
    program = deployment.cpu_seconds if deployment else time.process_time
    work = (lambda: deployment.poll(fleet)) if deployment else (lambda: engine_round(fleet))
    idle = deployment.idle_cpu_per_second(fleet) if deployment else 0.0
    print(f"idle: {idle * STEP_SECONDS:.1f} CPU s in five minutes\n{HEADER}", flush=True)
    found: list[Round] = []
    for _ in range(number):
        fleet.ask_source("advance")
        fleet.let_time_pass(max(STEP_SECONDS - (found[-1].wall_seconds if found else 0.0), 0.0))
        one = measured(fleet, work, program)
        one.program += idle * max(STEP_SECONDS - one.wall_seconds, 0)
        found.append(one)
        print(one.line(fleet.tenants), flush=True)
    return found


@click.command()
@click.option("--tenants", default=1_000, show_default=True)
@click.option("--records", default=400, show_default=True, help="Of each tenant, about.")
@click.option("--rounds", "number", default=13, show_default=True)
@click.option("--latency-ms", default=0.0, show_default=True)
@click.option("--changing-tenths", default=0, show_default=True, help="Tenths of the tenants that change in a round.")
@click.option("--tls", is_flag=True, help="The source speaks HTTPS.")
@click.option("--engine", "engine_only", is_flag=True, help="Without Dagster, in this process.")
@click.option("--threads", type=int, help="ST_PIPELINE_POLL_THREADS")
@click.option("--most-seconds", type=float, help="The bound of a round's wall time.  [default: as documented]")
def main(
    tenants: int,
    records: int,
    number: int,
    latency_ms: float,
    changing_tenths: int,
    most_seconds: float | None,
    threads: int | None,
    *,
    tls: bool,
    engine_only: bool,
) -> None:
    """Measure, print, and exit with 1 above a bound."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    options = {} if threads is None else {"poll_threads": threads}
    with ExitStack() as stack:
        fleet = stack.enter_context(
            made_fleet(tenants, records, latency_ms=latency_ms, changing_tenths=changing_tenths, tls=tls, **options)
        )
        context: AbstractContextManager[Deployment | None] = nullcontext() if engine_only else running_dagster(fleet)
        deployment = stack.enter_context(context)
        measured(fleet, (lambda: deployment.poll(fleet)) if deployment else (lambda: engine_round(fleet)), lambda: 0.0)
        found = rounds(fleet, number, deployment)
    sys.exit(1 if _too_much(found, tenants, changing_tenths, latency_ms, most_seconds) else 0)


def _too_much(
    found: list[Round], tenants: int, changing_tenths: int, latency_ms: float, most_seconds: float | None
) -> bool:
    """Compare the mean round with the bounds, and print both."""
    cpu = mean((one.program + one.postgres) / tenants * 1000 for one in found)
    wall = mean(one.wall_seconds for one in found)
    if most_seconds is None:
        quiet = (60 if latency_ms == 0 else 120) + mean(one.source for one in found) / 2
        most_seconds = quiet if tenants <= BOUNDED_TENANTS and not changing_tenths else STEP_SECONDS
    figures = [("wall seconds of a round", wall, most_seconds)]
    if not changing_tenths and tenants <= BOUNDED_TENANTS:
        figures += [
            ("CPU ms a tenant", cpu, MOST_CPU_MS),
            ("rows inserted a tenant", mean(one.inserts for one in found) / tenants, MOST_INSERTS),
            ("rows updated a tenant", mean(one.updates for one in found) / tenants, MOST_UPDATES),
        ]
    for name, value, bound in figures:
        print(f"{name}: {value:.2f}, at most {bound:.1f}: {'ok' if value <= bound else 'TOO MUCH'}")
    return any(value > bound for _, value, bound in figures)


if __name__ == "__main__":
    main()
