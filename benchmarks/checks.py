"""What checks cost: a night in which every tenant's full sync ends with all of them, and the ticks of a day.

Here: CPU of this process and of Postgres, rows written; exit code 1 above the bounds. Not here: what Dagster's events
of checks cost (nights.py, polls.py), the syncs themselves.

    make bench-checks                                    1,000 tenants of 400 records
    .venv/bin/python benchmarks/checks.py --tenants 100 --records 20000
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click
import structlog
from fleet import Fleet, made_fleet
from sqlalchemy import text

from st_pipeline.checks.evaluate import after_sync, evaluate, every_tenant, time_driven
from st_pipeline.checks.registry import CHECKS
from st_pipeline.checks.spec import CheckedTenant, Status, Verdict

WRITTEN = "SELECT sum(n_tup_ins) AS inserts, sum(n_tup_upd) AS updates FROM pg_stat_user_tables"
TENANTS_AT_ONCE = 50
TICKS = 6
# The bounds, for each tenant.
MOST_CPU_MS_OF_A_NIGHT = 200.0  # 90 on an idle machine, 130 on a loaded one
MOST_CPU_MS_OF_A_TICK = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took, in seconds, and the rows it wrote."""

    wall: float
    program: float
    postgres: float
    inserts: float
    updates: float

    def line(self, what: str, tenants: int) -> str:
        """A row of the table."""
        cpu = (self.program + self.postgres) / tenants * 1000
        return (
            f"{what:<28}{self.wall:>8.1f}{self.program:>9.2f}{self.postgres:>10.2f}{cpu:>13.2f}"
            f"{self.inserts:>9.0f}{self.updates:>9.0f}"
        )


HEADER = f"{'':<28}{'wall s':>8}{'program':>9}{'Postgres':>10}{'ms a tenant':>13}{'inserts':>9}{'updates':>9}"


def cost(fleet: Fleet, work: Callable[[], object]) -> Cost:
    """What the work costs."""
    before = _written(fleet)
    started, program, postgres = time.monotonic(), time.process_time(), fleet.postgres_seconds()
    work()
    wall, program = time.monotonic() - started, time.process_time() - program
    postgres = fleet.postgres_seconds() - postgres
    after = _written(fleet)
    return Cost(wall, program, postgres, after[0] - before[0], after[1] - before[1])


def _written(fleet: Fleet) -> tuple[float, float]:
    fleet.engine.dispose()  # a session reports its figures when it ends
    with fleet.engine.connect() as connection:
        row = connection.execute(text(WRITTEN)).one()
    return float(row.inserts or 0), float(row.updates or 0)


def night(fleet: Fleet, tenants: list[CheckedTenant], now: datetime) -> list[Verdict]:
    """All checks of each tenant, one after the other, as full syncs end."""
    return [
        verdict
        for tenant in tenants
        for verdict in after_sync(fleet.engine, fleet.settings, tenant, (), is_full=True, now=now)
    ]


@click.command()
@click.option("--tenants", "number", default=1_000, show_default=True)
@click.option("--records", default=400, show_default=True, help="Of each tenant, about.")
def main(number: int, records: int) -> None:
    """Measure, print, and exit with 1 above a bound."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with made_fleet(number, records) as fleet:
        with fleet.engine.connect() as connection:
            tenants = every_tenant(connection)
        now = datetime.now(UTC)
        print(HEADER)
        first = cost(fleet, lambda: night(fleet, tenants, now))
        print(first.line("first night", number), flush=True)
        found: list[Verdict] = []
        again = cost(fleet, lambda: found.extend(night(fleet, tenants, now + timedelta(minutes=1))))
        print(again.line("night", number), flush=True)
        for check in CHECKS:
            one = cost(fleet, lambda name=check.name: _evaluated(fleet, tenants, name, now))  # type: ignore[misc]
            print(one.line(f"  {check.name}, {TENANTS_AT_ONCE} at once", number), flush=True)
        ticks = [
            cost(fleet, lambda at=at: time_driven(fleet.engine, fleet.settings, now + timedelta(minutes=at)))  # type: ignore[misc]
            for at in range(2, 2 + TICKS)
        ]
        quiet = min(ticks, key=lambda one: one.program + one.postgres)
        print(quiet.line("tick with nothing new", number))
        late = cost(fleet, lambda: time_driven(fleet.engine, fleet.settings, now + timedelta(hours=3)))
        print(late.line("tick in which all are late", number), flush=True)
        still = cost(fleet, lambda: time_driven(fleet.engine, fleet.settings, now + timedelta(hours=3, minutes=5)))
        print(still.line("tick in which all stay late", number), flush=True)
    for status in Status:
        print(f"{status.value}: {sum(one.status is status for one in found):,}")
    sys.exit(1 if _too_much(again, quiet, number) else 0)


def _evaluated(fleet: Fleet, tenants: list[CheckedTenant], name: str, now: datetime) -> None:
    for first in range(0, len(tenants), TENANTS_AT_ONCE):
        evaluate(fleet.engine, fleet.settings, tenants[first : first + TENANTS_AT_ONCE], only=[name], now=now)


def _too_much(of_a_night: Cost, of_a_tick: Cost, tenants: int) -> bool:
    """Compare with the bounds, and print both."""
    figures = [
        ("CPU ms a tenant and night", of_a_night, MOST_CPU_MS_OF_A_NIGHT),
        ("CPU ms a tenant and tick", of_a_tick, MOST_CPU_MS_OF_A_TICK),
    ]
    values = [(name, (one.program + one.postgres) / tenants * 1000, bound) for name, one, bound in figures]
    for name, value, bound in values:
        print(f"{name}: {value:.2f}, at most {bound:g}: {'ok' if value <= bound else 'TOO MUCH'}")
    return any(value > bound for _, value, bound in values)


if __name__ == "__main__":
    main()
